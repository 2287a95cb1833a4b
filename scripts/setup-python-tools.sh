#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Installs what builds the Python package, and what checks its types, for the system's
# Python. Prints the interpreter that has both.
set -euo pipefail
scripts=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=scripts/lib.sh
. "$scripts/lib.sh"

# All that is installed, as built for the Pythons of Debian 12 and 13.
setuptools=80.9.0 mypy=1.18.2
wheels=("setuptools==$setuptools" "mypy==$mypy" mypy_extensions==1.1.0 pathspec==0.12.1 typing_extensions==4.15.0)

"$scripts/setup-packages.sh" python
python=/usr/bin/python3
venv=$cache/python-tools-$setuptools-$mypy-$("$python" -c 'import sys; print("python%d.%d" % sys.version_info[:2])')

works() {
	"$venv/bin/python3" -c 'import setuptools, mypy.api' 2>/dev/null
}

if ! works; then
	lock python-tools
fi
if ! works; then
	need_space 200
	say "installing setuptools $setuptools and mypy $mypy"
	rm -rf "$cache/python-tools.part"
	"$python" -m venv "$cache/python-tools.part" >&2 || die 'could not make a virtual environment'
	"$cache/python-tools.part/bin/python3" -m pip install -q --no-input --disable-pip-version-check \
		--only-binary=:all: --no-deps "${wheels[@]}" >&2 ||
		die 'could not install setuptools and mypy; does pip reach its package index?'
	rm -rf "$venv"
	mv -T "$cache/python-tools.part" "$venv"
	works || die "setuptools and mypy do not work in $venv"
fi
echo "$venv/bin/python3"
