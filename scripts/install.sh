#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# install.sh install|uninstall [RELEASE]
#
# Builds sp.ko for a kernel of this machine, by default the running one, and puts it
# where modprobe finds it; or takes it away.
set -euo pipefail
scripts=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=scripts/lib.sh
. "$scripts/lib.sh"
top=$(dirname "$scripts")

action=$1 release=${2:-$(uname -r)}
((!EUID)) || die "this is for root: sudo make $action"
modules=/lib/modules/$release
installed=$modules/updates/sp.ko

if [[ $action == uninstall ]]; then
	[[ ! -e /sys/module/sp || $release != "$(uname -r)" ]] || rmmod sp ||
		die 'sockets are open or still delivering, see /proc/net/sp; close them first'
	rm -f "$installed"
	[[ ! -d $modules ]] || depmod "$release"
	rm -rf "/var/cache/pf-sp/$release" "/var/cache/pf-sp/$release.unfit"
	exit
fi

! is_too_old "$release" || die "Linux $release is too old: PF_SP needs $oldest"
[[ ! -e $modules/updates/dkms/sp.ko && ! -e $modules/updates/dkms/sp.ko.xz ]] ||
	die 'DKMS has installed it for this kernel: apt-get remove pf-sp-dkms first'

# Debian's packages, where it has them.
if command -v apt-get >/dev/null; then
	"$scripts/setup-packages.sh" build rust source
	export RUSTC=${RUSTC:-/usr/bin/rustc}
	BINDGEN=${BINDGEN:-$("$scripts/setup-program.sh" bindgen)}
	export BINDGEN
	packages=("linux-headers-$release")
	[[ -n ${KSRC:-} ]] || packages+=("linux-source-$(cut -d . -f 1-2 <<<"$release")")
	for package in "${packages[@]}"; do
		# What apt does not know, prepare-installed.sh may find.
		if [[ -n $(apt-cache show "$package" 2>/dev/null) ]]; then
			DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0 install -y --no-install-recommends "$package" >&2 ||
				die "apt-get could not install $package; its complaint is above"
		fi
	done
fi
tree=$("$scripts/prepare-installed.sh" "$release")

say "building sp.ko for $release"
# Not in the user's tree, which root is only to read.
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
make -s -C "$tree" M="$top" MO="$out" RUSTC="${RUSTC:-rustc}" BINDGEN="${BINDGEN:-bindgen}" modules 2>&1 |
	sed '/^Skipping BTF generation/d' >&2 || die "sp.ko does not build for $release"
strip -g "$out/sp.ko"
install -D -m 644 "$out/sp.ko" "$installed"
depmod "$release"
say "installed $installed"

if mokutil --sb-state 2>/dev/null | grep -q enabled; then
	say 'Secure Boot is on, and the kernel takes signed modules alone: the package that "make deb" makes has DKMS sign it'
fi
if [[ -e /sys/module/sp && $release == "$(uname -r)" ]]; then
	say 'another sp is loaded and stays until "rmmod sp", or until the machine is started anew'
fi
