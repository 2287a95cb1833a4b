#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Shows the sockets at work: boots a guest in which separate programs talk.
set -euo pipefail
scripts=$(cd "$(dirname "$0")" && pwd)
top=$(dirname "$scripts")

"$scripts/setup-packages.sh" source build rust guest
make -s -C "$top/userspace" O="$top/build/userspace" >&2
"$scripts/vm.sh" --file "$top/build/userspace:/root/bin" \
	--file "$scripts/guest-demo.sh" -- /root/guest-demo.sh
