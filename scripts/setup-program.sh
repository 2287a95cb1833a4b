#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# setup-program.sh rustc|bindgen
#
# Prints the path of the program as Debian 13 has it: the machine's, or else a copy
# in the cache, with all that it loads, for a machine whose own is older or newer.
# 13's rustc is of the oldest version that the kernel takes.
set -euo pipefail
scripts=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=scripts/lib.sh
. "$scripts/lib.sh"
# shellcheck source=scripts/apt.sh
. "$scripts/apt.sh"

# What else belongs to it; and what it depends on but has no use for here.
program=$1
case $program in
rustc) version=1.85 with=(libstd-rust-dev rust-src) megabytes=145 mib=800 ;;
bindgen) version=0.71 with=(libclang1-19) megabytes=50 mib=400 ;;
*) die "no program '$program': rustc or bindgen" ;;
esac

case $("/usr/bin/$program" --version 2>/dev/null) in
"$program $version."*)
	echo "/usr/bin/$program"
	exit
	;;
esac

root=$cache/$program-$version
[[ ! -d $root ]] || { echo "$root/$program"; exit; }
lock "$program"
[[ ! -d $root ]] || { echo "$root/$program"; exit; }

"$scripts/setup-packages.sh" source
need_space "$mib"
private_apt "$program"
use_suite trixie "${with[0]}" || die "$why"
# All that it loads, down to the C library; not what else it depends on, a
# compiler and linker for C, of which the machine has one.
packages=$(apt-get "${private[@]}" -s --no-install-recommends install "${with[@]}" | awk '/^Inst/ { print $2 }')
mapfile -t packages <<<"$packages"
watch downloaded "$megabytes MB" "$program $version" \
	env -C "$apt/archives" apt-get "${private[@]}" download "$program" "${packages[@]}" ||
	die "could not download $program $version; try again"

found=$(dpkg-deb -f "$apt/archives/$program"_*.deb Version)
[[ $found == "$version."* ]] || die "Debian 13 has $program $found, which is not $version"
say "unpacking $program $version"
rm -rf "$root.part"
mkdir "$root.part"
for deb in "$apt"/archives/*.deb; do
	# Of rustc's own source it needs the library, the smallest part.
	dpkg-deb --fsys-tarfile "$deb" |
		tar -x -C "$root.part" --no-wildcards-match-slash --exclude='./usr/src/*/compiler' --exclude='./usr/src/*/src' ||
		die "cannot unpack ${deb##*/}"
done
# Only this program gets these libraries, not what it starts. bindgen loads any
# libclang it finds, and misreads a newer one's answers: it is told of this one.
lib=$root/usr/lib/x86_64-linux-gnu
cat >"$root.part/$program" <<END
#!/bin/sh
export LIBCLANG_PATH='$root/usr/lib/llvm-19/lib'
exec '$lib/ld-linux-x86-64.so.2' --library-path '$lib' '$root/usr/bin/$program' "\$@"
END
chmod +x "$root.part/$program"
mv -T "$root.part" "$root"
"$root/$program" --version >&2 || {
	rm -rf "$root"
	die "$program $version of Debian 13 does not run here"
}
rm -rf "$apt"
echo "$root/$program"
