#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Prints the path of a Linux source tree: KSRC, a tree or a tarball, or else
# Debian's linux-source package, which is downloaded if it is not in the cache.
set -euo pipefail
scripts=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=scripts/lib.sh
. "$scripts/lib.sh"

# Versions that the module was built and tested with, best first.
known_good=(7.3)

# An apt with sources and state of its own: the machine's stay as they are.
apt=$cache/apt
private=(-qq -o Dir::Etc::SourceList="$apt/sources.list" -o Dir::Etc::SourceParts=/dev/null
	-o Dir::State::Lists="$apt/lists" -o Dir::Cache="$apt"
	-o APT::Sandbox::User="$(id -un)" -o Acquire::Languages=none
	-o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false)

# unpack TARBALL NAME: $cache/NAME, whole or not at all.
unpack() {
	say "unpacking ${1##*/}"
	rm -rf "$cache/$2.part"
	mkdir "$cache/$2.part"
	tar -xf "$1" -C "$cache/$2.part" --strip-components=1 || die "cannot unpack $1"
	mv -T "$cache/$2.part" "$cache/$2"
}

# The mirrors that the machine gets this Debian from; apt knows every format.
mirrors() {
	# shellcheck disable=SC1091 # the machine's
	. /etc/os-release
	# shellcheck disable=SC2016 # apt's variables
	apt-get indextargets --format '$(RELEASE) $(REPO_URI)' 'Identifier: Packages' |
		sed -nE "s/^($VERSION_CODENAME|stable|oldstable) //p" | sort -u
}

# Points the private apt at the first mirror that has a version we know, and
# sets `package`.
find_package() {
	local mirror version reached=
	for mirror in $(mirrors); do
		echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror trixie-backports main" \
			>"$apt/sources.list"
		apt-get "${private[@]}" update >&2 || continue
		reached=y
		for version in "${known_good[@]}"; do
			package=linux-source-$version
			[[ -z $(apt-cache "${private[@]}" show "$package" 2>/dev/null) ]] || return 0
		done
	done
	[[ -n $reached ]] || die "no network: no mirror of this machine answers; name a kernel tree or tarball with KSRC="
	die "the mirror has none of linux-source ${known_good[*]} any more; name a kernel tree or tarball with KSRC="
}

# The megabytes that apt has so far.
downloaded() {
	du -s --block-size=MB --apparent-size "$apt/archives" | cut -dM -f1
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
mkdir -p "$apt/lists/partial" "$apt/archives/partial"
find_package
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
