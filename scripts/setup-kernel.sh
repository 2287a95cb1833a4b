#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# setup-kernel.sh stock|oldest|debug|norust|SUITE/RELEASE
#
# Prints a build tree for modules, with the kernel's image and the headers of its
# selftests, which is made if the cache has none for these compilers. "stock" is
# Debian's kernel, as a user may have it, SUITE/RELEASE a certain one of Debian's, and
# "oldest" is the oldest of those, with the oldest rustc that will do. "debug" is
# compiled from the same source, with every checker on, and "norust" without Rust.
set -euo pipefail
scripts=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=scripts/lib.sh
. "$scripts/lib.sh"
tests=$scripts/../tests

flavour=$1
tools=$("$scripts/setup-toolchain.sh" "$flavour")
mapfile -t toolchain <<<"$tools"

# Whatever the outcome depends on, beside the kernel: compilers, and how it is made.
versions() {
	local tool
	for tool in "${toolchain[@]}"; do
		case $tool in
		LLVM=-*) "clang${tool#LLVM=}" --version | head -n 1 ;;
		LLVM=*) "${tool#LLVM=}clang" --version | head -n 1 ;;
		RUSTC=* | BINDGEN=*) "${tool#*=}" --version ;;
		esac
	done
	gcc --version | head -n 1
}
key() {
	{ cat "$@"; versions; } | sha256sum | cut -c1-12
}

# Debian's kernels.
case $flavour in
stock | oldest | */*)
	which=()
	case $flavour in
	oldest) which=(trixie-backports oldest) ;;
	*/*) which=("${flavour%/*}" "${flavour#*/}") ;;
	esac
	stock=$("$scripts/setup-stock.sh" "${which[@]}")
	build=$stock/build-$(key "$scripts/prepare-kernel.sh")
	lock "kernel-$(basename "$stock")-$(basename "$build")"
	if [[ ! -d $build ]]; then
		need_space 1000
		env "${toolchain[@]}" "$scripts/prepare-kernel.sh" "$stock/headers" "$stock/linux.tar.xz" "$build"
	fi
	mkdir -p "$build/arch/x86/boot"
	ln -sfn "$stock/vmlinuz" "$build/arch/x86/boot/bzImage"
	echo "$build"
	exit
	;;
esac

# Ours.
fragments=("$tests/config.base") kasan=()
case $flavour in
debug)
	objects=1100
	fragments+=("$tests/config.debug")
	# A stack trace is taken of each allocation. What that calls at each of its steps is
	# not checked itself, which would be a third of what a message costs.
	kasan=(unwind_frame stacktrace extable tree_lookup smp_processor_id debugobjects)
	kasan=("${kasan[@]/#/KASAN_SANITIZE_}")
	kasan=("${kasan[@]/%/.o=n}")
	;;
norust) objects=1050 ;;
*) die "no kernel '$flavour': stock, oldest, debug, norust or SUITE/RELEASE" ;;
esac

# A kernel's build must not see the flags of the make that called us.
unset MAKEFLAGS MFLAGS MAKELEVEL

source=$("$scripts/setup-source.sh")
build=$cache/kernel-$flavour-$({ basename "$source"; grep -h '^CONFIG_' "${fragments[@]}"; echo "${kasan[@]}"; } | key -)
tree=$build
[[ $flavour != norust ]] || tree=$build/prepared
[[ ! -f $build/complete ]] || { echo "$tree"; exit; }

lock "kernel-$flavour"
[[ ! -f $build/complete ]] || { echo "$tree"; exit; }
need_space 2500

kmake() {
	make -C "$source" O="$build" "${toolchain[@]}" "${kasan[@]}" "$@"
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
	make -C "$source" O="$build" "${toolchain[@]}" "${kasan[@]}" -j"$(nproc)" bzImage modules ||
	die "the kernel does not build; if the disk is full or it was interrupted, run this again"

# As for any kernel that was built without.
if [[ $flavour == norust ]]; then
	rm -rf "$build/prepared"
	env "${toolchain[@]}" "$scripts/prepare-kernel.sh" "$build" "$source" "$build/prepared"
	mkdir -p "$build/prepared/arch/x86/boot"
	ln -s "$build/arch/x86/boot/bzImage" "$build/prepared/arch/x86/boot/bzImage"
fi

# Modules are built with headers, metadata and host programs; the objects have
# done their work.
find "$build" -name '*.[oa]' ! -path '*/scripts/*' ! -path '*/tools/*' -delete
rm -f "$build"/vmlinux* "$build"/arch/x86/boot/compressed/vmlinux*
touch "$build/complete"
echo "$tree"
