#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# The tracepoints: what is seen of a publisher and its subscriber.

here=$(dirname "$0")
bin=$here/../bin
# shellcheck source=/dev/null # the kernel's
. "$here/ktap_helpers.sh"

out=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null; umount "$out/tracing" 2>/dev/null; rm -rf "$out"' EXIT
port=6950

ktap_print_header
mkdir "$out/tracing"
if ! mount -t tracefs none "$out/tracing" || ! [ -d "$out/tracing/events/sp" ]; then
	ktap_skip_all 'this kernel traces no events'
	exit "$KSFT_SKIP"
fi

# traced COUNT PATTERN: so many lines are like that.
traced() {
	seen=$(grep -cE "$2" "$out/trace")
	[ "$seen" = "$1" ] && return
	ktap_print_msg "expected $1 of '$2', got $seen of:"
	sed 's/^/# /' "$out/trace"
	return 1
}

echo 1 >"$out/tracing/events/sp/enable"
timeout 60 "$bin/weather_pub" --peers 1 --count 3 --interval 0.1 0.0.0.0 $port 'Oslo: 1' 'Rome: 22' 'Oslo: 3' >/dev/null &
publisher=$!
# A dial that nobody answers would be seen as well.
for _ in $(seq 300); do
	grep -q "listener 0.0.0.0:$port - listening" /proc/net/sp && break
	sleep 0.1
done
timeout 60 "$bin/weather_sub" --count 2 127.0.0.1 $port Oslo >/dev/null &
wait $publisher
wait
# What a socket still delivers when it is closed takes a moment.
for _ in $(seq 100); do
	[ "$(grep -c 'sp_pipe_down: ' "$out/tracing/trace")" -ge 2 ] && break
	sleep 0.1
done
echo 0 >"$out/tracing/events/sp/enable"
sed -n 's/^.* \(sp_[a-z_]*: \)/\1/p' "$out/tracing/trace" >"$out/trace"
socket='socket=[1-9][0-9]*'

peers_come() {
	traced 2 "^sp_pipe_up: $socket peer=127.0.0.1:[0-9]+ reason=greeted$"
}

messages_go_out() {
	traced 2 "^sp_message_out: $socket peer=127.0.0.1:[0-9]+ messages=1 bytes=7$" &&
		traced 1 "^sp_message_out: $socket peer=127.0.0.1:[0-9]+ messages=1 bytes=8$"
}

messages_come_in() {
	traced 2 "^sp_message_in: $socket peer=127.0.0.1:$port messages=1 bytes=7$"
}

drops_have_a_reason() {
	traced 1 "^sp_drop: $socket reason=filtered messages=1$"
}

peers_go() {
	traced 2 "^sp_pipe_down: $socket peer=127.0.0.1:[0-9]+ reason=(closed|disconnected)$"
}

ktap_set_plan 5
for test in peers_come messages_go_out messages_come_in drops_have_a_reason peers_go; do
	ktap_test_result $test $test
done
ktap_finished
