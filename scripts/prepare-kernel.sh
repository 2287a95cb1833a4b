#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# prepare-kernel.sh HEADERS SOURCE OUT
#
# Makes OUT a tree to build sp.ko in, for the kernel that HEADERS, a folder as
# distributions package it, has the .config, Module.symvers and release name of.
# SOURCE is that kernel's source, a tree or a tarball. It takes a minute or two.
#
# Such a package lacks what Rust needs: the crates `core` and `kernel`, compiled by
# the rustc that compiles the module. The kernel's own may be of another rustc, or
# it may have none. So they are made here, by the compilers at hand, in a form to be
# linked into the module (see Kbuild), which then asks the kernel for C functions
# alone. The configuration stays the kernel's: what it says of compilers may change,
# nothing that data structures depend on.
#
# RUSTC=, BINDGEN= and CC= name compilers. Exit status 77: not for this kernel.
set -euo pipefail
scripts=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=scripts/lib.sh
. "$scripts/lib.sh"

headers=$(realpath "$1") source=$2 out=$(realpath -m "$3")
[[ $out != *[[:space:]]* ]] || die "no spaces in names of trees: $out"

unfit() {
	say "$*"
	exit 77
}

[[ -r $headers/.config && -r $headers/Module.symvers && -r $headers/include/config/kernel.release ]] ||
	die "$headers is no kernel's: it lacks .config, Module.symvers or include/config/kernel.release"
release=$(<"$headers/include/config/kernel.release")
for option in MODULES INET IPV6; do
	grep -qx "CONFIG_$option=y" "$headers/.config" ||
		unfit "$release cannot have PF_SP: it was built without CONFIG_$option=y"
done

# A kernel's build must not see the flags of the make that called us.
unset MAKEFLAGS MFLAGS MAKELEVEL KERNELRELEASE
part=$out.part
rm -rf "$part"
mkdir -p "$part"
trap 'rm -rf "$part"' EXIT

# What a module's build reads, and what makes that: a tenth of the source.
wanted=(Kbuild Makefile .clippy.toml Kconfig '*/Kconfig*' arch/x86 include rust scripts tools/Makefile tools/arch/x86 tools/bpf/resolve_btfids
	tools/build tools/include tools/lib tools/objtool tools/scripts 'drivers/android/*.h' 'drivers/base/*.h'
	'kernel/*.h' kernel/bounds.c kernel/sched/rq-offsets.c kernel/time/timeconst.bc security/selinux/include
	'tools/testing/selftests/kselftest*')
if [[ -d $source ]]; then
	ln -s "$(realpath "$source")" "$part/tree"
else
	say "unpacking what is needed of ${source##*/}"
	mkdir "$part/tree"
	top=$({ xz -dcT1 "$source" || true; } 2>/dev/null | tar -t 2>/dev/null | head -n 1) || true
	[[ -n $top ]] || die "cannot unpack $source"
	# Other versions may lack some of it.
	xz -dcT0 "$source" | tar -x -C "$part/tree" --strip-components=1 --anchored --wildcards \
		"${wanted[@]/#/"${top%%/*}"/}" 2>"$part/log" || grep -q 'Not found in archive' "$part/log" ||
		die "cannot unpack $source: $(tail -n 1 "$part/log")"
fi
version=$(make -s -C "$part/tree" kernelversion) || die "$source is no kernel source"
[[ $release == "$version" || $release == "$version"[!0-9]* ]] || die "$source is the source of Linux $version, not of $release"

# Nobody who prepared a kernel is named in what it makes.
export KBUILD_BUILD_TIMESTAMP='' KBUILD_BUILD_USER=pf-sp KBUILD_BUILD_HOST=pf-sp
rustc=${RUSTC:-rustc} bindgen=${BINDGEN:-bindgen}
rustc=$(command -v "$rustc") || die "there is no $rustc"
bindgen=$(command -v "$bindgen") || die "there is no $bindgen"
tools=("RUSTC=$rustc" "BINDGEN=$bindgen" ${CC:+"CC=$CC"})
kmake() {
	make -C "$part/tree" O="$part" "${tools[@]}" KERNELRELEASE="$release" "$@"
}

# A distribution's patches are in its headers, too.
common=$(sed -n 's/^include \(.*\)\/Makefile$/\1/p' "$headers/Makefile" 2>/dev/null) || true
if [[ -d $common/include/linux ]]; then
	for folder in include/linux include/net include/uapi arch/x86/include; do
		diff -rq "$common/$folder" "$part/tree/$folder" >"$part/log" ||
			unfit "$source is not the very source of $release: $(head -n 1 "$part/log")"
	done
fi

# The kernel's configuration, and what these compilers change in it.
{ grep -vx '# CONFIG_RUST is not set' "$headers/.config"; echo CONFIG_RUST=y; } >"$part/.config"
cp "$headers/Module.symvers" "$part"
kmake olddefconfig >"$part/log" 2>&1 || {
	tail -n 20 "$part/log" >&2
	die "cannot configure $release"
}
if ! grep -qx 'CONFIG_RUST=y' "$part/.config"; then
	kmake rustavailable >&2 || true
	unfit "$release cannot have Rust, as it is configured or with these compilers"
fi
of_compilers='^CONFIG_((AS|BINDGEN|CC|CLANG|GCC|LD|LLD|OPENSSL|PAHOLE|RUSTC?|TOOLCHAIN)_\w+|RUST)='
for config in "$headers/.config" "$part/.config"; do
	grep -o '^CONFIG_.*' "$config" | grep -vE "$of_compilers" | sort >"$part/config.${config//\//-}"
done
changed=$(diff "$part"/config.*) || true
rm "$part"/config.*
[[ -z $changed ]] ||
	unfit "with these compilers $release would have other data structures: ${changed//$'\n'/; }"

# The crates as libraries with code for the module's rustc to optimise and link:
# for it, not for the kernel, which has a copy of its own if any. No machine code is
# made yet, so nothing that reads it has anything to do.
mkdir "$part/library"
cat >"$part/library/Kbuild" <<'END'
always-y := library
kernel := $(MAKE) -C $(abspath $(objtree)) -f $(srctree)/scripts/Makefile.build VPATH=$(srctree) srcroot=$(srctree) \
	objtree=. KBUILD_EXTMOD= extmod_prefix= KBUILD_BUILTIN= KBUILD_MODULES=
$(obj)/library: FORCE
	+$(kernel) obj=scripts scripts/module.lds
	+$(kernel) obj=rust part-of-module=y objtool=: OBJCOPY=: rust/kernel.o
END
cat >"$part/library/Makefile" <<END
kernel := \$(MAKE) -C $part/tree O=$part ${tools[*]@Q} KERNELRELEASE=$release
all: crates $(! grep -qx CONFIG_OBJTOOL=y "$part/.config" || echo tools/objtool)
headers:
	+\$(kernel) prepare0
tools/objtool: headers
	+\$(kernel) \$@
crates: headers
	+\$(kernel) M=$part/library modules \\
		KRUSTFLAGS='-Clinker-plugin-lto -Cdebuginfo=0 --emit=link --out-dir=rust'
END
# shellcheck disable=SC2317 # called by watch
steps() {
	grep -cE '^  (CC|HOSTCC|RUSTC|BINDGEN)' "$1"
}
watch steps 64 "Rust for $release" make -f "$part/library/Makefile" -j"$(nproc)" || die "cannot prepare $release"
[[ -f $part/rust/libkernel.rlib ]] || die "preparing $release made no libkernel.rlib"

# Kept is what a module's build reads, and that of our tests.
rm -rf "$part"/{log,library} "$part"/rust/{host,*.o,*.rmeta} "$part"/rust/*/*_generated.rs
strip -g "$part"/rust/*.so
if [[ ! -L $part/tree ]]; then
	rm -rf "$part"/tree/{kernel,drivers,security}
	find "$part/tree/tools" -mindepth 1 -maxdepth 1 ! -name testing -exec rm -rf {} +
	find "$part/tree" -name 'Kconfig*' -delete
fi
cat >"$part/Makefile" <<END
# Made by prepare-kernel.sh
Makefile: ;
%::
	+@\$(MAKE) --no-print-directory -C $out/tree O=$out ${tools[*]@Q} \$@
END
ln -sfn tree "$part/source"
rm -rf "$out"
mv -T "$part" "$out"
