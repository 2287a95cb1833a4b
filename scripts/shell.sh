#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# A shell in a guest, with the module loaded and the programs on PATH.
set -euo pipefail
scripts=$(cd "$(dirname "$0")" && pwd)
top=$(dirname "$scripts")

"$scripts/setup-packages.sh" source build rust guest tests
make -s -C "$top/userspace" O="$top/build/userspace" >&2
files=(--file "$top/build/userspace:/root/bin")
for program in ip ss tc nanocat; do
	files+=(--file "$(PATH=$PATH:/usr/sbin:/sbin command -v "$program"):/usr/bin/$program")
done
exec "$scripts/vm.sh" --tty --timeout 0 "${files[@]}" -- sh -l
