#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# prepare-installed.sh [--module] [RELEASE]
#
# Makes /var/cache/pf-sp/RELEASE a tree to build sp.ko in, for a kernel of this
# machine, by default the running one, and prints it: a link to the kernel's headers
# if they have all that Rust needs, or else prepare-kernel.sh's. KSRC= names the
# kernel's source, a tree or tarball. --module also builds sp.ko, where it is called,
# for DKMS, that does it again: where it does not build, DKMS is not to fail, which
# would stop apt, but to pass over that kernel. Exit status 77: not for this kernel;
# why is also in RELEASE.unfit there.
set -euo pipefail
scripts=$(cd "$(dirname "$0")" && pwd)
# Not the cache of who develops here: what is in this one, DKMS looks for.
export SP_CACHE=/var/cache/pf-sp
# shellcheck source=scripts/lib.sh
. "$scripts/lib.sh"

module=
[[ ${1:-} != --module ]] || { module=y; shift; }
release=${1:-$(uname -r)}
[[ $release == [0-9]* && $release != */* ]] || die "'$release' is no release of a kernel"
tree=$cache/$release
mkdir -p "$cache" || die "cannot write to $cache; this is for root"
# One at a time, for any kernel.
lock prepare
rm -f "$tree.unfit"
unfit() {
	say "$*" 2>&1 | tee "$tree.unfit" >&2
	exit 77
}

finish() {
	if [[ -n $module ]] && ! make -C "$tree" M="$PWD" modules >&2; then
		unfit "the module did not build for Linux $release, see DKMS's log: a newer version of it may, or dkms autoinstall later"
	fi
	echo "$tree"
	exit
}

# Those of kernels that are no longer here.
for old in "$cache"/[0-9]*; do
	old=$(basename "$old" .unfit)
	[[ -d /lib/modules/$old ]] || rm -rf "${cache:?}/$old" "${cache:?}/$old.unfit"
done

! is_too_old "$release" ||
	unfit "Linux $release is too old: PF_SP needs $oldest"
headers=$(realpath -e "/lib/modules/$release/build" 2>/dev/null) ||
	unfit "the headers of Linux $release are missing: on Debian, apt-get install linux-headers-$release"
configured() {
	sed -n "s/^CONFIG_$1=\"*\([^\"]*\)\"*$/\1/p" "$headers/.config"
}

rustc=${RUSTC:-/usr/bin/rustc} bindgen=${BINDGEN:-/usr/bin/bindgen}
for program in "$rustc" "$bindgen"; do
	[[ -x $(command -v "$program") ]] || unfit "$program is missing: on Debian 13, apt-get install rustc rust-src bindgen"
done
# The crates are of one compiler alone.
if [[ -f $headers/rust/libkernel.rmeta && $(configured RUSTC_VERSION_TEXT) == "$("$rustc" --version)" ]]; then
	say "the headers of $release have all that Rust needs"
	rm -rf "$tree"
	ln -s "$headers" "$tree"
	finish
fi

# With what it was made: any other makes it anew.
made_with=$({ echo "$rustc $bindgen ${CC:-gcc} ${KSRC:-}"; "$rustc" --version; "$bindgen" --version; ${CC:-gcc} --version; cat "$headers/.config" "$headers/Module.symvers" "$scripts/prepare-kernel.sh"; } | sha256sum)
if [[ -f $tree/made-with && $(<"$tree/made-with") == "$made_with" && -e $tree/tree/Makefile ]]; then
	finish
fi

source=${KSRC:-}
if [[ -z $source ]]; then
	package=linux-source-$(cut -d . -f 1-2 <<<"$release")
	for source in "/usr/src/$package.tar.xz" "/lib/modules/$release/source/Kconfig" ''; do
		[[ ! -r $source ]] || break
	done
	source=${source%/Kconfig}
	[[ -n $source ]] ||
		unfit "the source of Linux $release is missing: on Debian, apt-get install $package; or name it with KSRC="
	# The same upstream version may be patched otherwise.
	ours=$(dpkg-query -W -f '${Version}' "linux-headers-$release" 2>/dev/null || true)
	theirs=$(dpkg-query -W -f '${Version}' "$package" 2>/dev/null || true)
	[[ $source != /usr/src/* || -z $ours || $ours == "$theirs" ]] ||
		unfit "the source is of Linux $theirs, the kernel $ours: upgrade both, or name the kernel's own with KSRC="
fi
status=0
RUSTC=$rustc BINDGEN=$bindgen "$scripts/prepare-kernel.sh" "$headers" "$source" "$tree" 2>"$cache/log" || status=$?
cat "$cache/log" >&2
# Where DKMS failed, apt would.
((!status)) || unfit "$(tail -n 1 "$cache/log")"
echo "$made_with" >"$tree/made-with"
finish
