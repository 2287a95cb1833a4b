#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# setup-packages.sh GROUP...
#
# Installs the Debian packages that the groups need and the machine lacks.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

# shellcheck disable=SC1091 # the machine's
. /etc/os-release
release=${ID:-unknown}-${VERSION_ID:-unknown}

wanted=()
for group; do
	case $group in
	source) wanted+=(xz-utils debian-archive-keyring) ;;
	build) wanted+=(make gcc libc6-dev flex bison bc libelf-dev libssl-dev kmod pahole) ;;
	rust)
		if [[ $release == debian-12 ]]; then
			# Its bindgen is too old: setup-program.sh brings one.
			wanted+=(rustc-web rust-web-src)
		else
			wanted+=(rustc rust-src bindgen)
		fi
		;;
	llvm-*) wanted+=("clang-${group#*-}" "lld-${group#*-}" "llvm-${group#*-}" "libclang1-${group#*-}") ;;
	guest) wanted+=(qemu-system-x86 busybox-static cpio util-linux) ;;
	tests) wanted+=(gcc libc6-dev nanomsg-utils libnanomsg-dev nng-utils libnng-dev liburing-dev iproute2) ;;
	capture) wanted+=(tshark) ;;
	bench) wanted+=(gcc libc6-dev libzmq3-dev libnanomsg-dev libnng-dev liburing-dev python3) ;;
	pictures) wanted+=(python3-matplotlib) ;;
	python) wanted+=(python3 python3-venv ca-certificates) ;;
	go) wanted+=(golang-go) ;;
	node) wanted+=(nodejs gcc libc6-dev) ;;
	cargo)
		# Of one version with rustc.
		wanted+=(gcc libc6-dev ca-certificates)
		if [[ $release == debian-12 ]]; then
			wanted+=(rustc-web cargo-web)
		else
			wanted+=(rustc cargo)
		fi
		;;
	system) wanted+=(debootstrap e2fsprogs debian-archive-keyring) ;;
	deb) wanted+=(build-essential debhelper dh-dkms lintian) ;;
	lint)
		wanted+=(g++ clang mandoc shellcheck)
		if [[ $release == debian-12 ]]; then
			wanted+=(rustfmt-web rust-web-clippy)
		else
			wanted+=(rustfmt rust-clippy)
		fi
		;;
	*) die "no package group '$group'" ;;
	esac
done

command -v dpkg-query >/dev/null || die "only Debian 12 and 13 are supported, this is $release"
installed=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n')
missing=()
for package in "${wanted[@]}"; do
	grep -qx "installed $package" <<<"$installed" || missing+=("$package")
done
((${#missing[@]})) || exit 0

[[ $release == debian-1[23] ]] ||
	die "only Debian 12 and 13 are supported, this is $release; it lacks ${missing[*]}"
as_root=()
if ((EUID)); then
	command -v sudo >/dev/null || die "neither root nor sudo here; as root: apt-get install ${missing[*]}"
	as_root=(sudo)
fi

lock packages
say "installing ${missing[*]}"
apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=600)
reached=y
"${apt[@]}" update >&2 || reached=
for package in "${missing[@]}"; do
	[[ -z $(apt-cache show "$package" 2>/dev/null) ]] || continue
	[[ -n $reached ]] || die "no network: 'apt-get update' failed, and $package is missing"
	die "the mirror has no package $package; look at the sources in /etc/apt"
done
if ! "${apt[@]}" install -y --no-install-recommends -o Dpkg::Use-Pty=0 "${missing[@]}" >&2; then
	[[ -n $reached ]] || die "no network: 'apt-get update' failed, and these are missing: ${missing[*]}"
	die "apt-get could not install ${missing[*]}; its complaint is above"
fi
