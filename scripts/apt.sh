# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
#
# Packages that this machine's Debian lacks: from its mirrors, by an apt with
# sources and state of its own. The machine's stay as they are. After lib.sh.
# shellcheck disable=SC2034,SC2154 # shared with lib.sh and with who includes this

# private_apt NAME: sets `apt`, a folder in the cache, and `private`, apt's
# arguments. Whoever calls it holds a lock, and removes the folder.
private_apt() {
	apt=$cache/apt-$1
	rm -rf "$apt"
	mkdir -p "$apt/lists/partial" "$apt/archives/partial"
	private=(-qq -o Dir::Etc::SourceList="$apt/sources.list" -o Dir::Etc::SourceParts=/dev/null
		-o Dir::State::Lists="$apt/lists" -o Dir::State::status=/dev/null -o Dir::Cache="$apt"
		-o APT::Sandbox::User="$(id -un)" -o Acquire::Languages=none
		-o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false)
}

# The mirrors that the machine gets this Debian from; apt knows every format.
mirrors() {
	# shellcheck disable=SC1091 # the machine's
	. /etc/os-release
	# shellcheck disable=SC2016 # apt's variables
	apt-get indextargets --format '$(RELEASE) $(REPO_URI)' 'Identifier: Packages' |
		sed -nE "s/^($VERSION_CODENAME|stable|oldstable) //p" | sort -u
}

# use_suite SUITE PATTERN: points the private apt at the first mirror that has a
# package in SUITE whose whole name PATTERN matches; or fails and sets `why`.
use_suite() {
	local mirror reached=
	for mirror in $(mirrors); do
		echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $1 main" \
			>"$apt/sources.list"
		apt-get "${private[@]}" update >&2 || continue
		reached=y
		[[ -z $(packages "$2") ]] || return 0
	done
	why="no network: no mirror of this machine answers"
	[[ -z $reached ]] || why="the mirror has no package $2 in $1"
	return 1
}

# packages PATTERN: name and version of each package that it matches, a line each.
packages() {
	apt-cache "${private[@]}" search --names-only "^$1$" | cut -d ' ' -f 1 |
		xargs -r apt-cache "${private[@]}" show --no-all-versions |
		awk '/^Package:/ { name = $2 } /^Version:/ { print name, $2 }'
}

# The megabytes that apt has so far.
downloaded() {
	du -s --block-size=MB --apparent-size "$apt/archives" | cut -dM -f1
}
