#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# The programs of docs/, as the Makefile has cut them out: each does what its page says.

here=$(dirname "$0")
docs=$here/docs
# shellcheck source=/dev/null # the kernel's
. "$here/ktap_helpers.sh"

out=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null; rm -rf "$out"' EXIT

# In the background, a group of its own, with whatever it prints in a file.
begin() {
	setsid timeout 90 "$@" >"$out/background" 2>&1 &
	background=$!
}

end() {
	kill -- "-$background"
	wait "$background" 2>/dev/null
}

# The text that came out, if it was this.
expect() {
	[ "$1" = "$2" ] && return
	ktap_print_msg "expected '$1', got '$2'"
	return 1
}

# So many live pipes at the port, for at most half a minute.
await_peers() {
	for _ in $(seq 300); do
		[ "$(grep -c "^  pipe [^ ]*:$1 .* up " /proc/net/sp)" -ge "$2" ] && return
		sleep 0.1
	done
	return 1
}

workers_and_client() {
	begin "$docs/workers"
	said=$(timeout 60 "$docs/client")
	workers=$(for _ in 1 2 3 4 5 6 7 8; do timeout 60 "$docs/client"; done | sort -u | wc -l)
	end
	expect 'hello, says worker' "${said% *}" && [ "$workers" -ge 1 ]
}

# The client comes first, and the server after it has waited.
client_goes_on_waiting() {
	timeout 60 "$docs/client" >"$out/said" 2>"$out/waits" &
	client=$!
	sleep 1.5
	begin "$docs/workers"
	wait $client
	status=$?
	end
	expect 0 $status && expect 'nobody is there' "$(head -n 1 "$out/waits")" &&
		expect 'hello, says worker' "$(sed 's/ [0-9]*$//' "$out/said")"
}

leaving() {
	"$docs/leaving" >"$out/background" 2>&1 &
	server=$!
	said=$("$here/sppeer" req connect 5602 job)
	kill $server
	wait $server
	expect 0 $? && expect 'done' "$said" && expect 'served 1' "$(cat "$out/background")"
}

queue() {
	said=$(setsid timeout 60 "$docs/queue" 2>&1)
	expect 'the sum of the squares is 338350' "${said%%
*}"
}

loop() {
	mkfifo "$out/typed"
	timeout 60 "$docs/loop" <"$out/typed" >"$out/said" &
	loop=$!
	exec 3>"$out/typed"
	echo keys >&3
	"$here/sppeer" push connect 5605 news
	sleep 0.5
	exec 3>&-
	wait $loop
	expect 'and the timer ticked message: news typed: keys' "$(sort "$out/said" | xargs)"
}

tutorial() {
	begin "$docs/tutorial_server"
	said=$(timeout 60 python3 "$docs/tutorial_client.py" Ada)
	end
	expect 'Hello, Ada!' "$said" || return
	sed 's/5610/5611/' "$docs/tutorial_client.py" >"$out/client.py"
	begin "$docs/tutorial_workers"
	timeout 60 python3 "$docs/tutorial_news.py" 3 >"$out/news" &
	news=$!
	await_peers 5612 1 || return
	said=$(for name in Ada Bob Eve; do timeout 60 python3 "$out/client.py" $name; done)
	wait $news
	end
	expect 'Hello, Ada! Hello, Bob! Hello, Eve!' "$(echo "$said" | xargs)" &&
		expect 'served Ada served Bob served Eve' "$(sort "$out/news" | xargs)"
}

# One that is not among these would be one that nobody has run.
every_program() {
	for program in "$docs"/*; do
		grep -q "docs/${program##*/}" "$0" || {
			ktap_print_msg "${program##*/} is not run"
			return 1
		}
	done
}

ktap_print_header
ktap_set_plan 7
for test in workers_and_client client_goes_on_waiting leaving queue loop every_program; do
	ktap_test_result $test $test
done
if command -v python3 >/dev/null; then
	ktap_test_result tutorial tutorial
else
	ktap_test_skip tutorial
fi
ktap_finished
