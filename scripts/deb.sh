#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# deb.sh [VERSION]
#
# Makes the Debian packages, of what git has or would have, in build/deb. They have
# debian/changelog's version, or another.
set -euo pipefail
scripts=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=scripts/lib.sh
. "$scripts/lib.sh"
cd "$scripts/.."

"$scripts/setup-packages.sh" deb
out=build/deb
rm -rf "$out"
mkdir -p "$out/pf-sp"
git ls-files -co --exclude-standard -z | tar -c --null -T - | tar -x -C "$out/pf-sp"
[[ -z ${1:-} ]] || sed -i "1s/(.*)/($1)/" "$out/pf-sp/debian/changelog"
(cd "$out/pf-sp" && dpkg-buildpackage -b -us -uc) >"$out/log" 2>&1 || {
	tail -n 30 "$out/log" >&2
	die 'dpkg-buildpackage failed; its complaint is above'
}
rm -rf "$out/pf-sp"
lintian --fail-on error,warning "$out"/*.changes
ls "$out"/*.deb
