# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
#
# What the scripts share: how they speak, wait for each other, and show that a
# long step is alive.

cache=${SP_CACHE:-$HOME/.cache/pf-sp}

# The oldest Linux that the module builds for.
# shellcheck disable=SC2034 # others use it
oldest=7.2

# is_too_old RELEASE: whether a kernel is older than that.
is_too_old() {
	[[ $(printf '%s\n' "$oldest" "$1" | sort -V | head -n 1) != "$oldest" ]]
}

say() {
	printf '%s: %s\n' "$(basename "$0" .sh)" "$*" >&2
}

die() {
	say "$*"
	exit 1
}

# lock NAME: until this process and its children end, no other run of ours
# holds NAME.
lock() {
	local fd
	mkdir -p "$cache" || die "cannot write to $cache; SP_CACHE= names another place"
	exec {fd}>"$cache/$1.lock"
	flock -n "$fd" && return
	say "waiting for another run to finish with $1"
	flock "$fd"
}

# need_space MIB: ends with what to do if the cache's disk has less than that.
need_space() {
	local free
	free=$(df --output=avail -BM "$cache" | tail -n 1)
	((${free//[!0-9]/} >= $1)) ||
		die "$cache needs $1 MiB of free disk and has $free; make room, or name another place with SP_CACHE="
}

# watch COUNT TOTAL WHAT COMMAND...: runs COMMAND, its output kept in WHAT.log,
# and shows what COUNT, a function, prints: in place on a terminal, else as a
# line every 15 s. Shows the log's end if COMMAND fails, and fails.
watch() {
	local count=$1 total=$2 what=$3 start=$SECONDS shown=0 line pid
	local log=$cache/${what// /-}.log
	shift 3
	mkdir -p "$cache"
	setpriv --pdeathsig TERM "$@" >"$log" 2>&1 </dev/null &
	pid=$!
	while sleep 1 && kill -0 "$pid" 2>/dev/null; do
		line="$what: $("$count" "$log")/$total, $(((SECONDS - start) / 60))m$(((SECONDS - start) % 60))s"
		if [[ -t 2 ]]; then
			printf '\r\e[K%s' "$line" >&2
		elif ((SECONDS - shown >= 15)); then
			shown=$SECONDS
			echo "$line" >&2
		fi
	done
	[[ ! -t 2 ]] || printf '\r\e[K' >&2
	if ! wait "$pid"; then
		tail -n 30 "$log" >&2
		say "$what failed; the whole log is $log"
		return 1
	fi
	rm "$log"
	say "$what: done in $(((SECONDS - start) / 60))m$(((SECONDS - start) % 60))s"
}

# Makes programs the options of vm.sh that give a guest what tests, and people at
# a shell in it, want to call.
find_programs() {
	local program path
	programs=()
	for program in ip ss tc nanocat nngcat; do
		path=$(PATH=$PATH:/usr/sbin:/sbin command -v "$program") || die "$program is not installed"
		programs+=(--file "$path:/usr/bin/$program")
	done
}
