#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Prints the path of a Linux source tree: KSRC, a tree or a tarball, or else
# Debian's linux-source package, which is downloaded if it is not in the cache.
set -euo pipefail
scripts=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=scripts/lib.sh
. "$scripts/lib.sh"
# shellcheck source=scripts/apt.sh
. "$scripts/apt.sh"

# Versions that the module was built and tested with, best first.
known_good=(7.3)

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

lock source
if [[ -n ${KSRC:-} ]]; then
	[[ -r $KSRC ]] || die "KSRC=$KSRC: no such tree or tarball"
	tree=linux-source-$(sha256sum "$KSRC" | cut -c1-12)
	if [[ ! -d $cache/$tree ]]; then
		need_space 3000
		unpack "$KSRC" "$tree"
	fi
	echo "$cache/$tree"
	exit
fi

for version in "${known_good[@]}"; do
	for tree in "$cache/linux-source-$version"_*; do
		[[ $tree == *.part || ! -d $tree ]] || { echo "$tree"; exit; }
	done
done

"$scripts/setup-packages.sh" source
need_space 3000
private_apt source
find_package trixie-backports "${known_good[@]/#/linux-source-}" ||
	die "$why; name a kernel tree or tarball with KSRC="
read -r version megabytes < <(apt-cache "${private[@]}" show --no-all-versions "$package" |
	awk '/^Version:/ { v = $2 } /^Size:/ { s = $2 } END { print v, int(s / 1000000) }')
watch downloaded "$megabytes MB" 'kernel source' \
	env -C "$apt/archives" apt-get "${private[@]}" download "$package" ||
	die "could not download $package; try again, or name a kernel tree or tarball with KSRC="
dpkg-deb --fsys-tarfile "$apt/archives/$package"_*.deb |
	tar -xO --wildcards '*.tar.xz' >"$apt/$package.tar.xz"
# Debian's versions may hold characters that make does not like in a path.
tree=${package}_${version//[^0-9A-Za-z.+-]/-}
unpack "$apt/$package.tar.xz" "$tree"
rm -rf "$apt"
echo "$cache/$tree"
