#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Checks that rust/ is what it says of itself: that modules import each other as
# the map in rust/sp.rs says and the picture in rust/README.md shows, with no
# circle; that no file is too long to read; that what is below the patterns
# names no role; that C comes in by one door. Suites are left out of all of that.
#
# The map is the text under "# Layers", a line a module, top down:
#
#	socket ──> endpoint, pattern
#
# A module that imports nothing needs no line. The line "ground floor" divides
# it: modules with no line above that are left out of the picture.
set -euo pipefail
shopt -s lastpipe
scripts=$(cd "$(dirname "$0")" && pwd)
cd "$scripts/.."

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0

# complain TITLE: shows what the input has, if anything, and counts it.
complain() {
	local lines
	lines=$(cat)
	[[ -n $lines ]] || return 0
	printf '%s:\n%s\n' "$1" "$lines"
	failed=1
}

mapfile -t files < <(find rust -type f | sort)
mapfile -t sources < <(find rust -name '*.rs' | sort)
modules=$(sed -nE 's/^(pub(\([a-z]+\))? )?mod ([a-z0-9_]+);.*/\3/p' rust/sp.rs)

# What the sources have, a line each: "use FROM TO FILE:LINE", "role NAME
# FILE:LINE", "suite FILE LINES" for what suites take of a file.
awk -v modules="$modules" '
BEGIN {
	split(modules, list, /[ \n]+/)
	for (i in list)
		module[list[i]] = 1
}
FNR == 1 {
	gated = inside = 0
	from = FILENAME
	sub(/^rust\//, "", from)
	depth = gsub(/\//, "/", from) - (from ~ /\/mod\.rs$/)
	sub(/[\/.].*/, "", from)
}
{
	at = FILENAME ":" FNR
	line = $0
	sub(/\/\/.*/, "", line)
}
# A suite is a module behind SP_KUNIT, here or in a file of its own.
inside {
	suite[FILENAME]++
	if ($0 == indent "}")
		inside = 0
	next
}
line ~ /^ *#\[cfg\(.*SP_KUNIT/ && line !~ /not\(/ {
	gated = 1
	next
}
gated && line ~ /^ *#!?\[/ { next }
gated && match(line, /^ *(pub(\([a-z]+\))? )?mod [a-z0-9_]+ \{/) {
	gated = 0
	inside = 1
	indent = line
	sub(/[^ ].*/, "", indent)
	suite[FILENAME] += 2
	next
}
gated && match(line, /mod [a-z0-9_]+;/) {
	gated = 0
	path = FILENAME
	sub(/(\/mod|\/sp)?\.rs$/, "", path)
	path = path "/" substr(line, RSTART + 4, RLENGTH - 5)
	own[path ".rs"] = own[path "/mod.rs"] = 1
	next
}
{ gated = 0 }
{
	rest = line
	while (match(rest, /(Role|Machine)::[A-Z][a-z]/)) {
		name = substr(rest, RSTART)
		match(name, /^[A-Za-z]+::[A-Za-z]+/)
		found[++n] = "role " substr(name, 1, RLENGTH) " " at
		rest = substr(name, RLENGTH + 1)
	}
}
FILENAME == "rust/sp.rs" { next }
line ~ /(^|[^A-Za-z0-9_])crate::\{/ { found[++n] = "group " at }
{
	# What is above a top-level module is the root, by another name.
	while (match(line, /(^|[^A-Za-z0-9_])(crate|(super::)*super)::[a-z0-9_]+/)) {
		path = substr(line, RSTART, RLENGTH)
		line = substr(line, RSTART + RLENGTH)
		ups = gsub(/super::/, "super::", path)
		to = path
		sub(/.*::/, "", to)
		if ((ups && ups <= depth) || !(to in module) || to == from)
			continue
		found[++n] = "use " from " " to " " at
	}
}
END {
	for (i = 1; i <= n; i++) {
		file = found[i]
		sub(/.* /, "", file)
		sub(/:.*/, "", file)
		if (!(file in own))
			print found[i]
	}
	for (file in suite)
		print "suite", file, suite[file]
}
' "${sources[@]}" >"$work/found"

# The map as "FROM TO", and the modules that the picture shows.
awk '$2 == "#" { layers = $3 == "Layers" }
	$2 ~ /^```/ { block = layers && $2 ~ /text$/; next }
	block { sub(/^\/\/! */, ""); print }' rust/sp.rs >"$work/text"
awk '/──>/ { gsub(/,/, ""); for (i = 3; i <= NF; i++) if ($i != "nothing") print $1, $i }' "$work/text" |
	sort >"$work/map"
sed -nE '/^ground floor/q; s/ ──>.*//p' "$work/text" | sort >"$work/upper"

[[ -s $work/map ]] || echo 'a line is: MODULE ──> MODULE, MODULE' | complain 'rust/sp.rs has no map under "# Layers"'
sed -E '/^([a-z0-9_]+ ──> [a-z0-9_]+(, [a-z0-9_]+)*|ground floor)?$/d' "$work/text" |
	complain 'lines of the map that cannot be read'
((!failed)) || exit 1
tr ' ' '\n' <"$work/map" | sort -u | comm -23 - <(sort <<<"$modules") | complain 'names in the map of no module'
uniq -d "$work/map" | complain 'arrows that the map has twice'

sed -n 's/^group //p' "$work/found" | complain 'imports that name no module: say "use crate::MODULE::"'
awk 'NR == FNR { map[$1, $2]; next }
	$1 == "use" && !(($2, $3) in map) && !(($2, $3) in seen) {
		seen[$2, $3]
		print $4 ": " $2 " ──> " $3
	}' "$work/map" "$work/found" | complain 'imports that the map in rust/sp.rs does not have (the first of each)'
awk '$1 == "use" { print $2, $3 }' "$work/found" | sort -u >"$work/used"
comm -23 "$work/map" "$work/used" | sed 's/ / ──> /' | complain 'arrows of the map that no import has'
# tsort tells of a circle in a line, and names who is in it in lines of their own.
{ tsort "$work/used" 2>&1 >/dev/null || true; } | sed 's/^tsort: //; s/.*loop:$/circle:/' >"$work/circles"
paste -sd ' ' "$work/circles" | sed '/^$/d; s/ circle/\ncircle/g' | complain 'modules that import each other'
[[ -s $work/circles ]] || awk '/──>/ {
		gsub(/,/, "")
		for (i = 3; i <= NF; i++)
			if ($i in above)
				print $1 " ──> " $i
		above[$1]
	}' "$work/text" | complain 'arrows of the map that point up'

# The picture: "a --> b & c" in the mermaid block.
awk '/^```/ { block = /mermaid/ }
	block && /-->/ { gsub(/&/, ""); for (i = 3; i <= NF; i++) print $1, $i }' rust/README.md | sort >"$work/picture"
awk 'NR == FNR { upper[$1]; next } $1 in upper && $2 in upper' "$work/upper" "$work/map" >"$work/pictured"
comm -13 "$work/picture" "$work/pictured" | sed 's/ / --> /' | complain 'arrows that the picture in rust/README.md lacks'
comm -23 "$work/picture" "$work/pictured" | sed 's/ / --> /' | complain 'arrows of the picture that the map does not have'

for file in "${files[@]}"; do
	[[ $file != *.md ]] || continue
	echo "$file $(wc -l <"$file")"
done | awk 'NR == FNR { if ($1 == "suite") suite[$2] = $3; next }
	$2 - suite[$1] > 600 { printf "%s: %d lines\n", $1, $2 - suite[$1] }' "$work/found" - |
	complain 'files of more than 600 lines, suites not counted'

sed -nE 's/^role (.*) (rust\/(socket|pipe|endpoint)[/.].*)/\2: \1/p' "$work/found" |
	awk '{ names[$1] = names[$1] " " $2 } !seen[$1]++ { order[++n] = $1 }
		END { for (i = 1; i <= n; i++) print order[i] names[order[i]] }' |
	complain 'places that name a role, where rust/pattern/ alone should'

grep -nF 'kernel::bindings' "${sources[@]}" | sed '/^rust\/net\/bindings\.rs:/d' |
	complain 'places that name kernel::bindings, where rust/net/bindings.rs alone should'

exit "$failed"
