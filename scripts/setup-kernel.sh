#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# setup-kernel.sh release|debug|oldest
#
# Prints the build directory of a test kernel, which it builds if the cache has
# none for this configuration and toolchain. "oldest" is the release kernel with
# the oldest rustc; it is not built whole, only what modules are built against.
set -euo pipefail
scripts=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=scripts/lib.sh
. "$scripts/lib.sh"
tests=$scripts/../tests

flavour=$1
fragments=("$tests/config.release")
targets=(bzImage modules)
case $flavour in
release) objects=1070 ;;
debug)
	objects=1100
	fragments+=("$tests/config.debug")
	;;
oldest)
	objects=44
	targets=(modules_prepare)
	;;
*) die "no kernel '$flavour': release, debug or oldest" ;;
esac

# A kernel's build must not see the flags of the make that called us.
unset MAKEFLAGS MFLAGS MAKELEVEL

"$scripts/setup-packages.sh" source build rust
tools=$("$scripts/setup-toolchain.sh" "$flavour")
mapfile -t toolchain <<<"$tools"
source=$("$scripts/setup-source.sh")

# Whatever the outcome depends on: source, configuration, compilers.
versions() {
	local tool
	for tool in "${toolchain[@]}"; do
		case $tool in
		LLVM=-*) "clang${tool#LLVM=}" --version | head -n 1 ;;
		LLVM=*) "${tool#LLVM=}clang" --version | head -n 1 ;;
		RUSTC=* | BINDGEN=*) "${tool#*=}" --version ;;
		esac
	done
}
key=$({ basename "$source"; grep -h '^CONFIG_' "${fragments[@]}"; versions; } | sha256sum | cut -c1-12)
build=$cache/kernel-$flavour-$key
[[ ! -f $build/complete ]] || { echo "$build"; exit; }

lock "kernel-$flavour"
[[ ! -f $build/complete ]] || { echo "$build"; exit; }
need_space 2500
[[ $flavour != oldest ]] || release=$("$scripts/setup-kernel.sh" release)

kmake() {
	make -C "$source" O="$build" "${toolchain[@]}" "$@"
}

# Built in place, because kbuild notes its directory's path; an interrupted
# build goes on where it was.
mkdir -p "$build"
cat "${fragments[@]}" >"$build/fragment"
KCONFIG_ALLCONFIG=$build/fragment kmake allnoconfig >"$build/config.log" 2>&1 || {
	tail -n 30 "$build/config.log" >&2
	die 'the kernel cannot be configured; its complaint is above'
}
if lost=$(grep '^CONFIG_' "$build/fragment" | grep -vxFf "$build/.config"); then
	die "this kernel does not take ${lost//$'\n'/, }"
fi

compiled() {
	grep -cE '^  (CC|AS|RUSTC)' "$1"
}
watch compiled "$objects objects" "kernel $flavour" \
	make -C "$source" O="$build" "${toolchain[@]}" -j"$(nproc)" "${targets[@]}" ||
	die "the kernel does not build; if the disk is full or it was interrupted, run this again"

# A module may use what the release kernel exports, Rust's part by the names
# that this compiler gives.
if [[ $flavour == oldest ]]; then
	{
		grep -vE $'\t(_R|rust_)' "$release/Module.symvers"
		sed -En 's/^EXPORT_SYMBOL_RUST_GPL\((.*)\);/0x00000000\t\1\tvmlinux\tEXPORT_SYMBOL_GPL\t/p' \
			"$build"/rust/exports_*_generated.h
	} >"$build/Module.symvers"
fi

# Modules are built with headers, metadata and host programs; the objects have
# done their work.
find "$build" -name '*.[oa]' ! -path '*/scripts/*' ! -path '*/tools/*' -delete
rm -f "$build"/vmlinux* "$build"/arch/x86/boot/compressed/vmlinux*
touch "$build/complete"
echo "$build"
