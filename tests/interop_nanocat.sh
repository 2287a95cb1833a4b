#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# Our sockets against the nanocat program: what a person would try first. Each
# side binds once and connects once; sppeer is our end.
#
# Everything is bounded: sppeer by itself, nanocat by timeout.

here=$(dirname "$0")
# shellcheck source=/dev/null # the kernel's
. "$here/ktap_helpers.sh"

out=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null; rm -rf "$out"' EXIT
port=6100

# The two ends start in any order and find each other; no port is used twice.
next_port() {
	port=$((port + 1))
	url=tcp://127.0.0.1:$port
}

# In the background, with whatever it prints in a file.
begin() {
	timeout 90 "$@" >"$out/background" 2>"$out/errors" &
	background=$!
}

# The text that came out, and where it was looked for if it was another.
expect() {
	[ "$1" = "$2" ] && return
	ktap_print_msg "expected '$1', got '$2'"
	sed 's/^/# /' "$out/errors"
	return 1
}

opposite() {
	[ "$1" = bind ] && echo connect || echo bind
}

# our_req WAY: nanocat is the server.
our_req() {
	next_port
	begin nanocat --rep "--$(opposite "$1")" "$url" --data World --ascii
	reply=$("$here/sppeer" req "$1" $port Hello)
	kill $background
	wait $background 2>/dev/null
	expect World "$reply" && expect Hello "$(cat "$out/background")"
}

# our_rep WAY: nanocat asks once. It never ends by itself after the reply.
our_rep() {
	next_port
	begin nanocat --req "--$(opposite "$1")" "$url" --data Hello --ascii --send-timeout 60 --recv-timeout 60
	request=$("$here/sppeer" rep "$1" $port World)
	wait $background
	expect Hello "$request" && expect World "$(cat "$out/background")"
}

# we_send TYPE THEIRS WAY [OPTION]...: nanocat goes on listening after the first message.
we_send() {
	type=$1 theirs=$2 way=$3
	shift 3
	next_port
	mkfifo "$out/news"
	timeout 90 head -n 1 "$out/news" >"$out/first" &
	reader=$!
	timeout 90 nanocat "--$theirs" "--$(opposite "$way")" "$url" "$@" --ascii >"$out/news" 2>"$out/errors" &
	receiver=$!
	"$here/sppeer" "$type" "$way" $port 'topic and news'
	# What sppeer sent is delivered although it has ended.
	wait $reader
	kill $receiver
	wait $receiver 2>/dev/null
	rm "$out/news"
	expect 'topic and news' "$(cat "$out/first")"
}

our_pub() {
	we_send pub sub "$1" --subscribe topic
}

our_push() {
	we_send push pull "$1"
}

# they_send THEIRS TYPE WAY: nanocat sends until one gets through.
they_send() {
	next_port
	begin nanocat "--$1" "--$(opposite "$3")" "$url" --data 'topic and news' --interval 0.1
	news=$("$here/sppeer" "$2" "$3" $port)
	kill $background
	wait $background 2>/dev/null
	expect 'topic and news' "$news"
}

our_sub() {
	they_send pub sub "$1"
}

our_pull() {
	they_send push pull "$1"
}

ktap_print_header
if ! command -v nanocat >/dev/null; then
	ktap_skip_all 'no nanocat here (package nanomsg-utils)'
	exit "$KSFT_SKIP"
fi
ktap_set_plan 12
for test in our_req our_rep our_pub our_sub our_push our_pull; do
	for way in bind connect; do
		ktap_test_result "${test}_${way}s" "$test" "$way"
	done
done
ktap_finished
