#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# mkinitramfs.sh OUT SRC:DST...
#
# Packs busybox, guest-init.sh and each SRC (at DST, mode kept) into the cpio
# archive OUT. A dynamic program brings the shared libraries it needs.
set -euo pipefail

scripts=$(cd "$(dirname "$0")" && pwd)
out=$1
shift

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT

# put SRC DST
put() {
	mkdir -p "$root/$(dirname "$2")"
	cp -rL --preserve=mode "$1" "$root/$2"
}

# The libraries of a program, its loader included; nothing if it is static, a
# script or data.
libraries() {
	ldd "$1" 2>/dev/null | sed -nE 's/^.*(=> |\t)(\/[^ ]+) \(0x[0-9a-f]+\)$/\2/p' || true
}

mkdir -p "$root"/{bin,dev,etc,proc,sys,tmp,run,root,usr/bin,usr/sbin}
put "$(command -v busybox)" bin/busybox
put "$scripts/guest-init.sh" init
ln -s busybox "$root/bin/sh"
ln -s bin "$root/sbin"
printf '%s\n' root:x:0:0::/root:/bin/sh nobody:x:65534:65534::/tmp:/bin/sh >"$root/etc/passwd"
printf '%s\n' root:x:0: nogroup:x:65534: >"$root/etc/group"
printf '%s\n' '127.0.0.1 localhost' '::1 localhost' >"$root/etc/hosts"

for file; do
	src=${file%%:*} dst=${file#*:}
	put "$src" "$dst"
	while read -r program; do
		while read -r library; do
			[[ -e $root$library ]] || put "$library" "$library"
		done < <(libraries "$program")
	done < <(find -L "$src" -type f -perm /111)
done

cd "$root"
find . -print0 | cpio --quiet -0 -o -H newc -R 0:0 >"$out"
