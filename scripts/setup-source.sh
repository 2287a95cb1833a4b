#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Prints the path of a Linux source tree: KSRC, a tree or a tarball, or else the
# source of the stock kernel.
set -euo pipefail
scripts=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=scripts/lib.sh
. "$scripts/lib.sh"

# unpack TARBALL NAME: $cache/NAME, whole or not at all.
unpack() {
	say "unpacking ${1##*/}"
	rm -rf "$cache/$2.part"
	mkdir "$cache/$2.part"
	tar -xf "$1" -C "$cache/$2.part" --strip-components=1 || die "cannot unpack $1"
	mv -T "$cache/$2.part" "$cache/$2"
}

if [[ -d ${KSRC:-} ]]; then
	[[ -f $KSRC/Kconfig && -d $KSRC/rust ]] || die "KSRC=$KSRC is not a Linux tree with Rust"
	realpath "$KSRC"
	exit
fi

# Debian's is that of the stock kernel.
tarball=${KSRC:-}
if [[ -n $tarball ]]; then
	[[ -r $tarball ]] || die "KSRC=$tarball: no such tree or tarball"
	tree=linux-source-$(sha256sum "$tarball" | cut -c1-12)
else
	kernel=$("$scripts/setup-stock.sh")
	tarball=$kernel/linux.tar.xz
	tree=linux-source-$(basename "$kernel")
fi
lock source
if [[ ! -d $cache/$tree ]]; then
	need_space 3000
	unpack "$tarball" "$tree"
fi
echo "$cache/$tree"
