#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# check-kdir.sh KDIR
#
# Fails, and says what to do, if sp.ko cannot be built with this build tree of a kernel.
set -euo pipefail
scripts=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=scripts/lib.sh
. "$scripts/lib.sh"

kdir=$1
[[ -d $kdir ]] || die "KDIR=$kdir: no such directory"
[[ -r $kdir/.config && -r $kdir/Makefile ]] || die "KDIR=$kdir is not the build tree of a kernel: it has no .config, or no Makefile"
[[ -r $kdir/include/config/auto.conf ]] || die "KDIR=$kdir is configured but not prepared: make -C $kdir modules_prepare"
for option in MODULES INET IPV6; do
	grep -qx "CONFIG_$option=y" "$kdir/.config" || die "KDIR=$kdir: that kernel was configured without CONFIG_$option=y"
done
# What prepare-kernel.sh made has its compilers with it.
[[ ! -f $kdir/rust/libkernel.rlib ]] || exit 0
[[ -f $kdir/rust/libkernel.rmeta ]] || die "KDIR=$kdir lacks the kernel's Rust crates, as packaged headers do. \
'make install' brings them, or scripts/prepare-kernel.sh $kdir SOURCE OUT; then KDIR=OUT"
built=$(sed -n 's/^CONFIG_RUSTC_VERSION_TEXT="\(.*\)"$/\1/p' "$kdir/.config")
ours=$("${RUSTC:-rustc}" --version 2>/dev/null) || die "${RUSTC:-rustc} is missing; RUSTC= names another"
[[ $built == "$ours" ]] || die "KDIR=$kdir was built with $built, and ${RUSTC:-rustc} is $ours: \
name that compiler with RUSTC=, or have a tree made for yours with scripts/prepare-kernel.sh $kdir SOURCE OUT"
