#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# build-module.sh FLAVOUR NAME [MAKE ARGUMENT]...
#
# Builds sp.ko for one of setup-kernel.sh's kernels, in build/NAME, and prints its
# path. The debug kernel's module carries the KUnit suites. GOALS= has make do something
# else than build it.
set -euo pipefail
scripts=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=scripts/lib.sh
. "$scripts/lib.sh"

flavour=$1 name=$2
shift 2
kernel=$("$scripts/setup-kernel.sh" "$flavour")
tools=$("$scripts/setup-toolchain.sh" "$flavour")
mapfile -t toolchain <<<"$tools"
top=$(dirname "$scripts")
out=$top/build/$name
[[ $flavour != debug ]] || set -- SP_KUNIT=y "$@"

lock "module-$name"
mkdir -p "$out"
# shellcheck disable=SC2086 # goals are words
# Of type information only debuggers and BPF would read, we make none.
make -s -C "$kernel" M="$top" MO="$out" "${toolchain[@]}" "$@" ${GOALS:-modules} 2>&1 | sed '/^Skipping BTF generation/d' >&2 ||
	die "sp.ko does not build for the $flavour kernel"
echo "$out/sp.ko"
