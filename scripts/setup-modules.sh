#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# setup-modules.sh BUILD
#
# Prints a folder with the kernel's own modules that guests want: of the network card,
# and what tests and ss need. Empty if BUILD, a build tree, is of a kernel without.
set -euo pipefail
scripts=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=scripts/lib.sh
. "$scripts/lib.sh"
# shellcheck source=scripts/apt.sh
. "$scripts/apt.sh"

wanted=(virtio_net net_failover failover veth dummy sch_netem inet_diag tcp_diag)

modules=$1/guest-modules
[[ ! -d $modules ]] || { echo "$modules"; exit; }
lock modules
[[ ! -d $modules ]] || { echo "$modules"; exit; }
rm -rf "$modules.part"
mkdir -p "$modules.part"

kernel=$(dirname "$1")
release=$(basename "$kernel")
suite=$(basename "$(dirname "$kernel")")
if [[ $suite == stock-* ]]; then
	private_apt modules
	use_suite "${suite#stock-}" "linux-image-${release//+/[+]}" || die "$why"
	package=linux-modules-$release
	[[ -n $(packages "${package//+/[+]}") ]] || package=linux-image-$release
	watch downloaded '110 MB' "modules of $release" \
		env -C "$apt/archives" apt-get "${private[@]}" download "$package" ||
		die "could not download $package; try again"
	patterns=("${wanted[@]/#/*/}")
	patterns=("${patterns[@]/%/.ko*}")
	# A kernel may have some of them built in.
	dpkg-deb --fsys-tarfile "$apt/archives/$package"_*.deb |
		tar -x -C "$modules.part" --wildcards --transform 's,.*/,,' "${patterns[@]}" 2>"$apt/log" ||
		grep -q 'Not found in archive' "$apt/log" || die "cannot unpack $package: $(tail -n 1 "$apt/log")"
	find "$modules.part" -name '*.xz' -exec unxz {} +
	rm -rf "$apt"
fi
mv -T "$modules.part" "$modules"
echo "$modules"
