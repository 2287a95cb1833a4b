#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Prints the path of a rustc of the oldest version that the kernel takes:
# the machine's, or else Debian 13's, which lives in the cache.
set -euo pipefail
scripts=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=scripts/lib.sh
. "$scripts/lib.sh"
# shellcheck source=scripts/apt.sh
. "$scripts/apt.sh"

oldest=1.85

case $(/usr/bin/rustc --version 2>/dev/null) in
"rustc $oldest."*)
	echo /usr/bin/rustc
	exit
	;;
esac

root=$cache/rustc-$oldest
[[ ! -d $root ]] || { echo "$root/rustc"; exit; }
lock rustc
[[ ! -d $root ]] || { echo "$root/rustc"; exit; }

"$scripts/setup-packages.sh" source
need_space 800
rm -rf "$cache/apt-rustc"
private_apt rustc
find_package trixie "libstd-rust-$oldest" || die "$why"
# All that it loads, down to the C library; not what else it depends on, a
# compiler and linker for C, of which the machine has one.
mapfile -t packages < <(apt-get "${private[@]}" -s --no-install-recommends install "$package" libstd-rust-dev rust-src |
	awk '/^Inst/ { print $2 }')
watch downloaded '145 MB' "rustc $oldest" \
	env -C "$apt/archives" apt-get "${private[@]}" download rustc "${packages[@]}" ||
	die "could not download rustc $oldest; try again"

say "unpacking rustc $oldest"
rm -rf "$root.part"
mkdir "$root.part"
for deb in "$apt"/archives/*.deb; do
	# Of its own source it needs the library, the smallest part.
	dpkg-deb --fsys-tarfile "$deb" |
		tar -x -C "$root.part" --no-wildcards-match-slash --exclude='./usr/src/*/compiler' --exclude='./usr/src/*/src' ||
		die "cannot unpack ${deb##*/}"
done
# Only this program gets these libraries, not what it starts.
lib=$root/usr/lib/x86_64-linux-gnu
cat >"$root.part/rustc" <<END
#!/bin/sh
exec '$lib/ld-linux-x86-64.so.2' --library-path '$lib' '$root/usr/bin/rustc' "\$@"
END
chmod +x "$root.part/rustc"
mv -T "$root.part" "$root"
rm -rf "$apt"
echo "$root/rustc"
