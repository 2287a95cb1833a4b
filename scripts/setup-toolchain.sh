#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# setup-toolchain.sh [FLAVOUR]
#
# Finds or installs the compilers, and prints them as arguments for the
# kernel's make, one a line. RUSTC=, BINDGEN= and LLVM= in the environment win,
# but for the flavour "oldest" rustc is the oldest that will do.
set -euo pipefail
scripts=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=scripts/lib.sh
. "$scripts/lib.sh"

bindgen_version=0.72.1

# Debian's, not a rustup toolchain earlier on PATH: that one lacks rust-src.
[[ -n ${RUSTC:-} ]] || "$scripts/setup-packages.sh" rust
rustc=${RUSTC:-/usr/bin/rustc}
[[ -x $(command -v "$rustc") ]] || die "RUSTC=$rustc: no such program"

# clang should be of the LLVM that rustc was built with; an older one does too,
# because nothing is optimised across the two languages.
llvm=${LLVM:-}
if [[ -z $llvm ]]; then
	version=$("$rustc" -vV | sed -n 's/^LLVM version: \([0-9]*\).*/\1/p')
	"$scripts/setup-packages.sh" "llvm-$version" || {
		say "trying LLVM 19 instead"
		version=19
		"$scripts/setup-packages.sh" llvm-19
	}
	llvm=-$version
fi
# As the kernel reads it: 1, a suffix or a folder.
case $llvm in
-*) clang=clang$llvm ;;
*/) clang=${llvm}clang ;;
*) clang=clang ;;
esac
[[ -x $(command -v "$clang") ]] || die "LLVM=$llvm: there is no $clang"

# What of the crate's build has been compiled.
compiled() {
	grep -c Compiling "$1"
}

bindgen=${BINDGEN:-/usr/bin/bindgen}
if [[ ! -x $(command -v "$bindgen") ]]; then
	[[ -z ${BINDGEN:-} ]] || die "BINDGEN=$BINDGEN: no such program"
	bindgen=$cache/bindgen-$bindgen_version/bin/bindgen
fi
if [[ ! -x $(command -v "$bindgen") ]]; then
	lock bindgen
fi
if [[ ! -x $(command -v "$bindgen") ]]; then
	need_space 500
	# Optimising it fully would take longer than it ever saves.
	watch compiled 46 bindgen env RUSTC="$rustc" CARGO_PROFILE_RELEASE_OPT_LEVEL=1 \
		/usr/bin/cargo install --locked --root "$cache/bindgen.part" \
		--target-dir "$cache/bindgen.part/target" --version "$bindgen_version" bindgen-cli ||
		die 'could not build bindgen; without a network, name one with BINDGEN='
	rm -rf "$cache/bindgen.part/target"
	mv -T "$cache/bindgen.part" "$cache/bindgen-$bindgen_version"
fi

chosen=$rustc
[[ ${1:-} != oldest ]] || chosen=$("$scripts/setup-rustc.sh")

printf '%s\n' "LLVM=$llvm" "RUSTC=$chosen" "RUSTFMT=${rustc%rustc}rustfmt" \
	"CLIPPY_DRIVER=${rustc%rustc}clippy-driver" "BINDGEN=$bindgen"
# bindgen loads any libclang it finds; this one matches.
[[ $llvm != -* ]] || echo "LIBCLANG_PATH=/usr/lib/llvm$llvm/lib"
