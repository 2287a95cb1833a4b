#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# A shell in a guest, with the module loaded and the programs on PATH.
set -euo pipefail
scripts=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=scripts/lib.sh
. "$scripts/lib.sh"
top=$(dirname "$scripts")

"$scripts/setup-packages.sh" source build rust guest tests
make -s -C "$top/userspace" O="$top/build/userspace" >&2
find_programs
exec "$scripts/vm.sh" --tty --timeout 0 --modules --file "$top/build/userspace:/root/bin" "${programs[@]}" -- sh -l
