#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# setup-stock.sh [SUITE [RELEASE|oldest|list]]
#
# Prints a folder of the cache with a kernel as Debian ships it, which is downloaded
# if it is not there: vmlinuz, headers/ (configuration and symbols) and linux.tar.xz,
# its source. "list" prints which there are. By default it is trixie-backports', for
# any PC: of the newest version that the module was tested with, else the newest.
set -euo pipefail
scripts=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=scripts/lib.sh
. "$scripts/lib.sh"
# shellcheck source=scripts/apt.sh
. "$scripts/apt.sh"

# Best first; older ones cannot have the module.
known_good=(7.3 7.2)

suite=${1:-trixie-backports} release=${2:-}
[[ $release != oldest || ! -L $cache/stock-$suite/oldest ]] || release=$(readlink "$cache/stock-$suite/oldest")

# What an earlier run chose.
if [[ -n $release ]]; then
	earlier=("$release")
else
	earlier=("${known_good[@]/%/.*[0-9]-amd64}" '*[0-9]-amd64')
fi
for version in "${earlier[@]}"; do
	for kernel in "$cache/stock-$suite/"$version; do
		[[ ! -f $kernel/complete ]] || { echo "$kernel"; exit; }
	done
done

lock stock
"$scripts/setup-packages.sh" source
private_apt stock
use_suite "$suite" 'linux-source-[0-9.]+' || die "$why"

# Releases that the mirror has the very source of, newest last.
releases() {
	local source version
	while read -r source version; do
		packages "linux-headers-${source#linux-source-}[.].*-amd64" |
			awk -v version="$version" '$2 == version { sub("linux-headers-", "", $1); print $1 }'
	done < <(packages 'linux-source-[0-9.]+') | sort -V |
		awk -v oldest="${known_good[-1]}" '{ split($0, a, "."); split(oldest, b, ".") }
			a[1] > b[1] || (a[1] == b[1] && a[2] >= b[2])'
}
mapfile -t found < <(releases)
((${#found[@]})) || die "$suite has no kernel with its source from ${known_good[-1]} on"
case $release in
list)
	printf '%s\n' "${found[@]}"
	rm -rf "$apt"
	exit
	;;
oldest)
	release=$(printf '%s\n' "${found[@]}" | grep -m 1 -E '[0-9]-amd64$')
	mkdir -p "$cache/stock-$suite"
	ln -sfn "$release" "$cache/stock-$suite/oldest"
	;;
'')
	mapfile -t found < <(printf '%s\n' "${found[@]}" | grep -E '[0-9]-amd64$')
	for version in "${known_good[@]}"; do
		release=$(printf '%s\n' "${found[@]}" | grep -F "$version." | tail -n 1) && break
	done
	if [[ -z $release ]]; then
		release=${found[-1]-}
		say "the module was tested with Linux ${known_good[*]}, which $suite has no more: trying $release"
	fi
	;;
esac
[[ " ${found[*]} " == *" $release "* ]] || die "$suite has no kernel $release with its source"

kernel=$cache/stock-$suite/$release
[[ ! -f $kernel/complete ]] || { echo "$kernel"; exit; }
need_space 600
rm -rf "$kernel"
mkdir -p "$kernel"
# The image alone, or else with its modules.
image=linux-binary-$release
[[ -n $(packages "${image//+/[+]}") ]] || image=linux-image-$release
wanted=("linux-source-$(cut -d . -f 1-2 <<<"$release")" "linux-headers-$release" "$image")
megabytes=$(apt-cache "${private[@]}" show --no-all-versions "${wanted[@]}" | awk '/^Size:/ { sum += $2 } END { print int(sum / 1000000) }')
watch downloaded "$megabytes MB" "Linux $release" \
	env -C "$apt/archives" apt-get "${private[@]}" download "${wanted[@]}" ||
	die "could not download Linux $release; try again"

# unpack PACKAGE PATTERN: to standard output.
unpack() {
	dpkg-deb --fsys-tarfile "$apt/archives/$1"_*.deb | tar -xO --wildcards "$2"
}
unpack "${wanted[0]}" '*.tar.xz' >"$kernel/linux.tar.xz"
mkdir "$kernel/headers"
dpkg-deb --fsys-tarfile "$apt/archives/linux-headers-$release"_*.deb |
	tar -x -C "$kernel/headers" --strip-components=4 \
		"./usr/src/linux-headers-$release"/{.config,Module.symvers,include/config/kernel.release}
unpack "$image" '*/vmlinuz*' >"$kernel/vmlinuz"
rm -rf "$apt"
touch "$kernel/complete"
echo "$kernel"
