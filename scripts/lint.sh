#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Checks the sources by reading them: format, lints, headers, licences.
# shellcheck disable=SC2317 # the checks are called by name
set -uo pipefail
scripts=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=scripts/lib.sh
. "$scripts/lib.sh"
cd "$scripts/.." || exit

"$scripts/setup-packages.sh" build rust tests bench lint go || exit
kernel=$("$scripts/setup-kernel.sh" stock) || exit
"$scripts/setup-kernel.sh" oldest >/dev/null || exit
tools=$("$scripts/setup-toolchain.sh") || exit
tool() {
	sed -n "s/^$1=//p" <<<"$tools"
}

rust_format() {
	find rust tests/unit bindings/rust -name '*.rs' -exec "$(tool RUSTFMT)" --check {} +
}

# Nobody debugs what is built here, and to describe it is half of the compilers' work.
rust='-Dwarnings -Cdebuginfo=0' c='-Werror -g0'

# The module, and the suites, by the kernel's choice of lints; nothing of it is run.
rust_clippy() {
	local lints objects
	objects=$(sed -nE 's/^sp-y [:+]= //p' Kbuild | grep -v rust_helpers)
	mapfile -t lints < <(grep -oE -- '-[WAD]clippy::\w+' "$kernel/source/Makefile")
	((${#lints[@]})) &&
		GOALS=$objects "$scripts/build-module.sh" stock lint SP_CHECK=y CLIPPY=1 W=1 KRUSTFLAGS="$rust -Copt-level=0" KCFLAGS="$c" &&
		CLIPPY_CONF_DIR=$kernel/source "$scripts/unit.sh" --check "$(tool CLIPPY_DRIVER)" "${lints[@]}"
}

# rustc here may be newer, and know more, than what the kernel asks for.
oldest_rustc() {
	"$scripts/build-module.sh" oldest lint-oldest KRUSTFLAGS="$rust" KCFLAGS="$c" &&
		"$scripts/unit.sh" --check "$("$scripts/setup-program.sh" rustc)"
}

# The crate for programs, too.
oldest_rustc_crate() {
	local rustc
	rustc=$("$scripts/setup-program.sh" rustc) && "$scripts/setup-binding.sh" rust >/dev/null &&
		env -C build/bindings/rust.src RUSTC="$rustc" RUSTFLAGS=-Dwarnings CARGO_TARGET_DIR="$cache/crates-oldest" \
			/usr/bin/cargo check -q --all-targets --all-features
}

go_format() {
	[[ -z $(gofmt -d bindings/go | tee /dev/stderr) ]] && env -C bindings/go go vet ./...
}

python_types() {
	local python
	python=$("$scripts/setup-python-tools.sh") &&
		env -C bindings/python "$python" -m mypy --cache-dir=/dev/null src examples tests
}

# The crate root denies unsafe code too; this also sees what is compiled out.
unsafe_outside_net() {
	! grep -rnw unsafe rust --include='*.rs' --exclude-dir=net | grep -v ':[[:space:]]*//'
}

module_map() {
	"$scripts/check-map.sh"
}

# Each test that is named after a case is in the list, in its row, and no case is
# without a test, if only a unit test.
conformance_cases() {
	local list=tests/conformance.md rows
	rows=$(sed -nE 's/^\| ([0-9]+) \|.*\|([^|]*)\|$/\1\2/p' "$list")
	diff --label "$list" --label 'tests/*.c' -U0 \
		<(awk '{ for (i = 2; i <= NF; i++) { gsub(/[`,]/, "", $i); print $1, $i } }' <<<"$rows" | sort) \
		<(grep -ohE '\bcase_[0-9]+_\w+' tests/*.c | sed -E 's/case_0*([0-9]+)_.*/\1 &/' | sort) &&
		! comm -3 <(cut -d ' ' -f 1 <<<"$rows" | sort -u) \
			<({
				grep -ohE '\bcase_[0-9]+' tests/*.c
				grep -rohE 'Conformance case [0-9]+' rust
			} | sed -E 's/^[^0-9]*0*//' | sort -u) |
			sed -E 's/^\t*/has no row, or no test: case /' | grep .
}

# The pure files are the same wherever they are compiled. So they have nothing of
# the kernel, or the machine's compiler would miss it, and nothing of std.
same_on_any_machine() {
	local files
	"$scripts/unit.sh" >/dev/null || return
	mapfile -t files < <(grep -oP '\.\./\Krust/[a-z_/]+\.rs' build/unit/unit.d | sort -u)
	((${#files[@]})) || return
	! grep -nE '\bcfg(_attr)?!?\(' "${files[@]}" |
		grep -vE 'cfg\(any\(test, SP_KUNIT\)\)|cfg_attr\(SP_KUNIT, kernel::macros::kunit_tests\('
}

# Two compilers see more than one. Warnings of the tests are errors wherever gcc builds
# them; clang sees the signs that the harness's macros compare, where gcc takes the
# harness for a system header. What clang finds it finds before it optimises.
c_warnings() {
	make -s -C userspace O="$PWD/build/lint-gcc/userspace" CFLAGS='-O2 -Werror' &&
		make -s -C userspace/perf O="$PWD/build/lint-gcc/perf" CFLAGS='-O2 -Werror' &&
		make -s -C userspace O="$PWD/build/lint-clang/userspace" CC=clang CFLAGS='-O0 -Werror' &&
		make -s -C userspace/perf O="$PWD/build/lint-clang/perf" CC=clang CFLAGS='-O0 -Werror' &&
		make -s -C tests O="$PWD/build/lint-clang/tests" CC=clang CFLAGS='-O0 -Werror -Wno-sign-compare' \
			KSELFTEST="$kernel/source/tools/testing/selftests"
}

# Whatever a program includes first, these compile.
headers_alone() {
	local header
	for header in include/uapi/linux/sp.h include/netinet/sp.h; do
		echo "#include \"$header\"" |
			gcc -std=c99 -pedantic -Wall -Wextra -Werror -Iinclude -Iinclude/uapi -I. -fsyntax-only -x c - &&
			echo "#include \"$header\"" |
			g++ -std=c++11 -pedantic -Wall -Wextra -Werror -Iinclude -Iinclude/uapi -I. -fsyntax-only -x c++ - ||
			return
	done
}

manual_pages() {
	local said
	# It fails where it has something to say.
	said=$(mandoc -Tlint man/*) || true
	[[ -z $said ]] || {
		echo "$said"
		return 1
	}
}

shell_scripts() {
	git ls-files -co --exclude-standard '*.sh' .ci/run | xargs shellcheck -x
}

# Where debian/copyright speaks for files of the packages that have a form of their own.
licences() {
	! git ls-files -co --exclude-standard -- . ':!LICENSES' ':!tests/fuzz/corpus' ':!scripts/bench-figures.json' ':!docs/*.svg' \
		':!debian/changelog' ':!debian/control' ':!debian/copyright' ':!debian/source' |
		xargs grep -L SPDX-License-Identifier: | grep .
}

failed=0
for check in rust_format rust_clippy oldest_rustc oldest_rustc_crate go_format python_types unsafe_outside_net same_on_any_machine module_map conformance_cases c_warnings headers_alone manual_pages shell_scripts licences; do
	if output=$($check 2>&1); then
		echo "ok   ${check//_/ }"
	else
		echo "FAIL ${check//_/ }"
		echo "$output"
		failed=$((failed + 1))
	fi
done
exit $((failed > 0))
