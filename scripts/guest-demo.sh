#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# In the guest: a conversation, a broadcast and some work, each line marked with the
# program that printed it.
# shellcheck disable=SC3040 # busybox has it
set -eu -o pipefail

# start NAME COMMAND...: in the background; its process id is in $!.
start() {
	name=$1
	shift
	# One write: the others are printing, too.
	line='$'
	for word; do
		case $word in
		*' '*) line="$line '$word'" ;;
		*) line="$line $word" ;;
		esac
	done
	echo "$line &"
	run "$name" "$@" &
}

run() {
	name=$1
	shift
	"$@" 2>&1 | while IFS= read -r line; do
		printf '%12s | %s\n' "$name" "$line"
	done
}

echo "Linux $(uname -r), with sp.ko loaded."
echo
echo 'REQ/REP: a client asks, a server answers.'
start server hello_rep --count 3 0.0.0.0 5577
server=$!
start client hello_req --count 3 127.0.0.1 5577
wait $!
wait "$server"

echo
echo 'PUB/SUB: everyone hears the publisher, each what it asked for.'
start 'sub Paris' weather_sub --count 2 ::1 5578 Paris
paris=$!
start 'sub all' weather_sub --count 4 127.0.0.1 5578
all=$!
start publisher weather_pub --peers 2 --count 4 --interval 0.1 :: 5578 \
	'Paris: 14 C, rain' 'Oslo: -3 C, snow' 'Paris: 15 C, sun' 'Lima: 22 C, fog'
wait $!
wait "$paris"
wait "$all"

echo
echo 'PUSH/PULL: whoever has room takes the next job.'
start worker jobs_pull --count 4 ::1 5579
worker=$!
start foreman jobs_push --count 4 :: 5579
wait $!
wait "$worker"
