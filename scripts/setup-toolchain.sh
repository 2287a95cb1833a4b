#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# setup-toolchain.sh [FLAVOUR]
#
# Finds or installs the compilers, and prints them as arguments for the kernel's
# make, one a line. RUSTC=, BINDGEN= and LLVM= in the environment win, but for the
# flavour "oldest" rustc is the oldest that will do.
set -euo pipefail
scripts=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=scripts/lib.sh
. "$scripts/lib.sh"

"$scripts/setup-packages.sh" build
# Debian's, not a rustup toolchain earlier on PATH: that one lacks rust-src.
[[ -n ${RUSTC:-} ]] || "$scripts/setup-packages.sh" rust
rustc=${RUSTC:-/usr/bin/rustc}
[[ -x $(command -v "$rustc") ]] || die "RUSTC=$rustc: no such program"
beside=${rustc%rustc}
[[ ${1:-} != oldest ]] || rustc=$("$scripts/setup-program.sh" rustc)

bindgen=${BINDGEN:-}
[[ -n $bindgen ]] || bindgen=$("$scripts/setup-program.sh" bindgen)
[[ -x $(command -v "$bindgen") ]] || die "BINDGEN=$bindgen: no such program"

# Linux has KASAN and Rust together with clang alone; other kernels may be gcc's. That
# of bindgen's libclang; it need not be of rustc's LLVM, because nothing is optimised
# across the two languages.
llvm=${LLVM:-}
if [[ -z $llvm && ${1:-} == debug ]]; then
	"$scripts/setup-packages.sh" llvm-19
	llvm=-19
fi
# As the kernel reads it: 1, a suffix or a folder.
case $llvm in
-*) clang=clang$llvm ;;
*/) clang=${llvm}clang ;;
?*) clang=clang ;;
*) clang='' ;;
esac
if [[ -n $clang ]]; then
	[[ -x $(command -v "$clang") ]] || die "LLVM=$llvm: there is no $clang"
	echo "LLVM=$llvm"
fi
printf '%s\n' "RUSTC=$rustc" "RUSTFMT=${beside}rustfmt" "CLIPPY_DRIVER=${beside}clippy-driver" "BINDGEN=$bindgen"
