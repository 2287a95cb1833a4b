#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# setup-binding.sh python|rust|go|node
#
# Builds the package of a language and its examples, where they have to be built, into
# build/bindings. Prints the options of vm.sh, a word a line, that give a guest those,
# its tests and what the language itself needs to run.
set -euo pipefail
scripts=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=scripts/lib.sh
. "$scripts/lib.sh"
top=$(dirname "$scripts")

language=$1
source=$top/bindings/$language
out=$top/build/bindings/$language
files=("$out:/root/bindings/$language" "$top/include/uapi/linux/sp.h:/root/bindings/sp.h")

case $language in
python)
	tools=$("$scripts/setup-python-tools.sh")
	lib=$(/usr/bin/python3 -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')
	version=$(/usr/bin/python3 --version)
	kept=$cache/${version// /-}-library
	files+=("/usr/bin/python3:/usr/bin/python3" "$kept:$lib")
	;;
go)
	"$scripts/setup-packages.sh" go
	version=$(/usr/bin/go version)
	;;
rust)
	# Debian's, not a rustup toolchain earlier on PATH.
	"$scripts/setup-packages.sh" cargo
	version=$(/usr/bin/rustc --version)
	kept=$cache/crates-$(sha256sum <<<"$version" | cut -c -12)
	;;
node)
	"$scripts/setup-packages.sh" node
	files+=("/usr/bin/node:/usr/bin/node")
	# What Debian's loads instead of having it built in.
	for folder in /usr/share/nodejs/{acorn,acorn-walk,cjs-module-lexer,undici}; do
		[[ ! -e $folder ]] || files+=("$folder:$folder")
	done
	version=$(/usr/bin/node --version)
	;;
*) die "no binding for '$language'" ;;
esac

# Of the library no test suites, tools and windows.
keep_python() {
	rm -rf "$kept.part"
	mkdir -p "$kept.part"
	tar -C "$lib" -ch --exclude-from=- . <<-'END' | tar -C "$kept.part" -x
		./config-*
		./dist-packages
		./ensurepip
		./idlelib
		./lib2to3
		./pydoc_data
		./test
		./tkinter
		./turtledemo
	END
	compile_python "$kept.part"
	mv -T "$kept.part" "$kept"
}

# The guest's copies are younger than what has been compiled goes by.
compile_python() {
	/usr/bin/python3 -m compileall -f -q -j 2 --invalidation-mode unchecked-hash "$1"
}

# Installed as a user would, by pip, which litters the source.
build_python() {
	cp -r "$source" "$out.work"
	"$tools" -m pip install -q --no-input --disable-pip-version-check --no-deps --no-index \
		--no-build-isolation --target "$out.part/lib" "$out.work"
	cp -r "$source/examples" "$source/tests" "$out.part"
	compile_python "$out.part/lib"
	[[ -d $kept ]] || keep_python
}

# Programs that need no libraries.
build_go() {
	export CGO_ENABLED=0
	cd "$source"
	/usr/bin/go build -o "$out.part/" ./examples/...
	/usr/bin/go test -c -o "$out.part/sp.test" .
}

# Of the dependencies it takes the versions that it took before, which are compiled.
build_rust() {
	local cargo=(env RUSTC=/usr/bin/rustc CARGO_TARGET_DIR="$kept" CARGO_PROFILE_DEV_DEBUG=0
		CARGO_PROFILE_DEV_STRIP=symbols /usr/bin/cargo) said
	mkdir -p "$out.src"
	cd "$out.src"
	rm -rf -- *.toml *.md src examples tests
	cp -a "$source"/{Cargo.toml,README.md,src,examples,tests} .
	[[ ! -f $kept/Cargo.lock ]] || cp "$kept/Cargo.lock" .
	"${cargo[@]}" build -q --all-features --examples
	said=$("${cargo[@]}" test --all-features --no-run 2>&1) || die "$said"
	cp Cargo.lock "$kept"
	find "$kept/debug/examples" -type f -perm /111 ! -name '*-*' -exec cp -t "$out.part" {} +
	mkdir "$out.part/tests"
	sed -nE 's|^ *Executable [^(]*/([a-z]+)\.rs \((.*)\)$|\2 \1|p' <<<"$said" |
		while read -r program name; do cp "$program" "$out.part/tests/$name"; done
}

build_node() {
	cp -r "$source/." "$out.part"
	gcc -O2 -Wall -Wextra -Werror -o "$out.part/sp_run" "$source/sp_run.c"
}

lock "binding-$language"
key=$(find "$source" "$scripts/setup-binding.sh" -type f -print0 | sort -z | xargs -0 sha256sum | sha256sum)-$version
if [[ ! -d $out || $(cat "$out.key" 2>/dev/null) != "$key" ]]; then
	say "building for $version"
	rm -rf "$out" "$out.key" "$out.part" "$out.work"
	mkdir -p "$out.part"
	# What fails ends it: not in a condition, where it would not.
	"build_$language" >&2
	rm -rf "$out.work"
	mv -T "$out.part" "$out"
	echo "$key" >"$out.key"
fi
printf -- '--file\n%s\n' "${files[@]}"
