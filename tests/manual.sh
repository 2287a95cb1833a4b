#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# The programs of the manual pages, as the Makefile has cut them out: each is
# run, with the other one or with a partner of the tests, and prints or sends
# what its page says.
#
# Each waits for its partner by itself; timeout bounds the wait.

here=$(cd "$(dirname "$0")" && pwd)
examples=$here/manual
PATH=$(cd "$here/../bin" && pwd):$PATH
# shellcheck source=/dev/null # the kernel's
. "$here/ktap_helpers.sh"

out=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null; rm -rf "$out"' EXIT

# In the background, with whatever it prints in a file.
begin() {
	timeout 90 "$@" >"$out/background" 2>&1 &
	background=$!
}

# The text that came out, if it was this.
expect() {
	[ "$1" = "$2" ] && return
	ktap_print_msg "expected '$1', got '$2'"
	return 1
}

# sp(7): the message reaches a peer although its sender has ended.
hello() {
	begin "$examples/hello"
	said=$("$here/sppeer" rep connect 5577 World)
	wait $background && expect Hello "$said"
}

# sp_reqrep(7)
reqrep_server_and_client() {
	begin "$examples/reqrep_server"
	said=$(timeout 90 "$examples/reqrep_client" 2>/dev/null)
	kill $background
	wait $background 2>/dev/null
	expect 'the sum is 6' "$said"
}

reqrep_leaving() {
	begin "$examples/reqrep_leaving"
	said=$("$here/sppeer" req connect 5578 Hello) &&
		kill $background && wait $background &&
		expect Hello "$said" && expect 'served 1' "$(cat "$out/background")"
}

# The same with workers, which are killed with it.
reqrep_prefork_and_client() {
	setsid timeout 20 "$examples/reqrep_prefork" >"$out/background" 2>&1 &
	background=$!
	said=$(for _ in 1 2 3 4 5; do timeout 20 "$examples/reqrep_client" 2>/dev/null; done)
	kill -- -$background
	wait $background 2>/dev/null
	expect "$(for _ in 1 2 3 4 5; do echo 'the sum is 6'; done)" "$said"
}

# sp_pubsub(7)
pubsub_publisher_and_subscriber() {
	begin "$examples/pubsub_subscriber"
	timeout 90 "$examples/pubsub_publisher" && wait $background &&
		expect "$(printf 'count 3\ncount 2\ncount 1\nlift-off')" "$(cat "$out/background")"
}

# sp_pipeline(7)
pipeline_push_and_pull() {
	begin "$examples/pipeline_pull"
	timeout 90 "$examples/pipeline_push" && wait $background &&
		expect "$(printf 'job 1\njob 2\njob 3\njob 4')" "$(cat "$out/background")"
}

# spcat(1); in a folder of their own, and with all that they leave running.
spcat_begin() {
	(cd "$out" && exec setsid timeout 90 sh "$here/manual/$1") >"$out/background" 2>&1 &
	background=$!
}

spcat_end() {
	kill -- "-$background" 2>/dev/null
	wait "$background" 2>/dev/null
}

spcat_ask() {
	spcat_begin spcat_ask
	wait $background
	said=$(sort "$out/background")
	spcat_end
	expect "$(printf '"42"\n"what is the answer?"')" "$said"
}

spcat_service_and_client() {
	spcat_begin spcat_service
	said=$(timeout 90 sh "$examples/spcat_client")
	spcat_end
	expect "$(printf 'Hello, Ada\nHello, Bob')" "$said"
}

spcat_news_and_paris() {
	printf 'Paris: rain\nOslo: snow\nParis: sun\n' >"$out/news"
	spcat_begin spcat_news
	said=$(timeout 90 sh "$examples/spcat_paris")
	spcat_end
	expect "$(printf 'Paris: rain\nParis: sun')" "$said"
}

spcat_check() {
	expect 'no answer' "$(timeout 90 sh "$examples/spcat_check" 2>&1)"
}

# An example that is not among these would be one that nobody has run; sp(7)'s
# command is run by proc.c.
every_example() {
	expect "$(printf '%s\n' hello pipeline_pull pipeline_push pubsub_publisher pubsub_subscriber reqrep_client reqrep_leaving reqrep_prefork reqrep_server spcat_ask spcat_check spcat_client spcat_news spcat_paris spcat_service who_is_slow)" \
		"$(ls "$examples")"
}

ktap_print_header
ktap_set_plan 11
for test in every_example hello reqrep_server_and_client reqrep_leaving reqrep_prefork_and_client pubsub_publisher_and_subscriber pipeline_push_and_pull \
	spcat_ask spcat_service_and_client spcat_news_and_paris spcat_check; do
	ktap_test_result "$test" "$test"
done
ktap_finished
