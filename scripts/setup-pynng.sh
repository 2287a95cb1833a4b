#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Installs pynng, a peer for the tests that plays outside the guest, for the
# system's Python. Prints the interpreter that has it.
set -euo pipefail
scripts=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=scripts/lib.sh
. "$scripts/lib.sh"

# All that is installed, as built for the Pythons of Debian 12 and 13.
version=0.9.0
wheels=("pynng==$version" cffi==2.1.1 pycparser==3.12 sniffio==1.3.1)

# Debian's, not one earlier on PATH.
"$scripts/setup-packages.sh" python
python=/usr/bin/python3
# A new minor version would look for its modules elsewhere.
venv=$cache/pynng-$version-$("$python" -c 'import sys; print("python%d.%d" % sys.version_info[:2])')

works() {
	"$venv/bin/python3" -c 'import pynng' 2>/dev/null
}

if ! works; then
	lock pynng
fi
if ! works; then
	mkdir -p "$cache"
	need_space 200
	say "installing pynng $version"
	rm -rf "$cache/pynng.part"
	"$python" -m venv "$cache/pynng.part" >&2 || die 'could not make a virtual environment'
	"$cache/pynng.part/bin/python3" -m pip install -q --no-input --disable-pip-version-check \
		--only-binary=:all: --no-deps "${wheels[@]}" >&2 ||
		die 'could not install pynng; does pip reach its package index?'
	rm -rf "$venv"
	mv -T "$cache/pynng.part" "$venv"
	works || die "pynng does not work in $venv"
fi
echo "$venv/bin/python3"
