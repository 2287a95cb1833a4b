#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# unit.sh [--ktap] [PATTERN]...
#
# Compiles the pure code of the module for this machine, as tests/unit/pure.rs
# names it, and runs those of its suites whose names match a PATTERN, by default
# all: the suites that KUnit runs in the kernel, by the same names without sp_.
# --ktap prints what ktap.awk reads, for test.sh.
#
# unit.sh --check COMPILER [ARGUMENT]...: has it checked by another compiler only.
set -euo pipefail
scripts=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=scripts/lib.sh
. "$scripts/lib.sh"
top=$(dirname "$scripts")
cd "$top"

case ${1:-} in
--ktap | --check) mode=$1; shift ;;
*) "$0" --ktap "$@" | awk -f "$scripts/ktap.awk"; exit ;;
esac

out=build/unit
"$scripts/setup-packages.sh" build
tools=$("$scripts/setup-toolchain.sh")
tool() {
	sed -n "s/^$1=//p" <<<"$tools"
}
rustc=$(tool RUSTC)

# Rust's side of the user-space interface, as Kbuild makes it, of the headers
# that this machine has for programs.
bindings() {
	local params
	mapfile -t params < <(grep -Ev '^#|^$' rust/uapi_parameters | xargs printf '%s\n')
	"$(tool BINDGEN)" rust/uapi.h "${params[@]}" \
		-o "$out/rust/uapi_generated.rs" -- -Iinclude/uapi
}

# With the lints that the kernel asks for. Overflows panic.
flags=(--test --edition 2021 --check-cfg 'cfg(test, SP_KUNIT)'
	-D warnings -D rust_2018_idioms -D unreachable_pub -D non_ascii_idents)
export SP_OBJ=$top/$out
compile() {
	rm -f "$out/unit"
	bindings &&
		"$rustc" "${flags[@]}" -C incremental="$out/incremental" --remap-path-prefix tests/unit/../../= \
			--emit "link=$out/unit.part,dep-info=$out/unit.d" tests/unit/sp.rs &&
		mv "$out/unit.part" "$out/unit"
}

lock unit
mkdir -p "$out/rust"
if [[ $mode == --check ]]; then
	bindings
	"$@" "${flags[@]}" --emit "metadata=$out/check.rmeta" tests/unit/sp.rs
	exit
fi
version=$("$rustc" -vV)
if [[ ! -e $out/unit || $(cat "$out/version" 2>/dev/null) != "$version" ||
	-n $(find rust tests/unit include/uapi "$0" -newer "$out/unit" -print -quit) ]]; then
	echo "$version" >"$out/version"
	touch "$out/begun"
	if ! complaint=$(compile 2>&1); then
		printf '#> suites 1..1\n#> begin unit\n%s\n#> end unit 1\n' "$complaint"
		exit 1
	fi
	# What was changed meanwhile is newer.
	touch -r "$out/begun" "$out/unit"
fi

# The suites, each as its module and its name: KUnit's, and those of files that
# only this machine has.
read -ra patterns <<<"$*"
modules=() suites=()
while read -r module name; do
	for pattern in "${patterns[@]:-*}"; do
		# shellcheck disable=SC2053 # a pattern
		if [[ $name == $pattern ]]; then
			modules+=("$module::")
			suites+=("$module=$name")
			break
		fi
	done
done < <({
	grep -rA1 --include='*.rs' 'cfg_attr(SP_KUNIT, kernel::macros::kunit_tests(sp_' rust |
		sed -nE 'h;n;H;x;s|^rust/(.*)\.rs:.*\(sp_(\w+)\).*\n.*-mod (\w+) \{$|\1/\3 \2|;s|/mod/|/|;s|/|::|g;p;n'
	grep -l '^#\[test\]$' tests/unit/*.rs | sed -E 's|.*/(\w+)\.rs|\1 \1|'
} | sort)
((${#suites[@]})) || die "no suite is called ${*:-anything}"

RUST_BACKTRACE=0 "$out/unit" "${modules[@]}" 2>&1 |
	awk -v suites="${suites[*]}" -f "$scripts/unit.awk"
