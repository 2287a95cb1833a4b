#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# spstat(1): what it shows of a publisher and its subscriber, in each form, and what
# it says about mistakes.

here=$(dirname "$0")
bin=$here/../bin
# shellcheck source=/dev/null # the kernel's
. "$here/ktap_helpers.sh"

out=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null; rm -rf "$out"' EXIT
port=6900

# The text that came out, if it was this.
expect() {
	[ "$1" = "$2" ] && return
	ktap_print_msg "expected '$1', got '$2'"
	return 1
}

# Until the file has a line of that kind, for at most half a minute.
await() {
	for _ in $(seq 300); do
		grep -q "$1" /proc/net/sp && return
		sleep 0.1
	done
	ktap_print_msg "never seen: $1"
	return 1
}

timeout 300 "$bin/weather_pub" --interval 0.1 0.0.0.0 $port >/dev/null 2>&1 &
publisher=$!
timeout 300 "$bin/weather_sub" 127.0.0.1 $port >/dev/null 2>&1 &
await "^  pipe 127.0.0.1:$port .* up "
await '[0-9] SUB '
inode=$(awk '$2 == "PUB" { print $1 }' /proc/net/sp)
program=$(pgrep -P $publisher || echo $publisher)

brief_has_a_line_for_each() {
	"$bin/spstat" --brief >"$out/brief" || return
	expect 'TYPE INODE UID STATE PEERS RECEIVED SENT RECV-Q SEND-Q LOST' \
		"$(head -n 1 "$out/brief" | tr -s ' ')" &&
		expect 'PUB SUB' "$(tail -n +2 "$out/brief" | awk '{ print $1 }' | sort | xargs)" &&
		expect "$inode 0 open 1" "$(awk '$1 == "PUB" { print $2, $3, $4, $5 }' "$out/brief")"
}

endpoints_are_under_their_socket() {
	"$bin/spstat" -s "$inode" >"$out/one" || return
	expect 'TYPE PUB ROLE listener pipe' "$(awk '{ print $1 }' "$out/one" | xargs)" &&
		expect "0.0.0.0:$port - listening" "$(awk '$1 == "listener" { print $2, $3, $4 }' "$out/one")" &&
		expect "127.0.0.1:$port up" "$(awk '$1 == "pipe" { print $2, $4 }' "$out/one")"
}

dialer_is_connected() {
	"$bin/spstat" >"$out/all" || return
	expect "127.0.0.1:$port connected" "$(awk '$1 == "dialer" { print $3, $4 }' "$out/all")"
}

processes_have_a_name_and_a_descriptor() {
	holder=$("$bin/spstat" -bps "$inode" | awk '$1 == "PUB" { print $11 }')
	expect "weather_pub,pid=$program" "${holder%,fd=*}" &&
		expect "socket:[$inode]" "$(readlink "/proc/$program/fd/${holder##*fd=}")"
}

json_names_the_columns() {
	"$bin/spstat" --json --socket="$inode" >"$out/json" || return
	expect '[{"inode":'"$inode"',"type":"PUB","uid":0,"state":"open","listeners":1,"dialers":0,"pipes":1,' \
			"$(grep -o '^.*"pipes":1,' "$out/json")" &&
		expect '"role":"listener","local":"0.0.0.0:'"$port"'","remote":null,"state":"listening"' \
			"$(grep -o '"role":"listener".*"listening"' "$out/json")" &&
		expect ',"processes":[]}]' "$(grep -o ',"processes.*$' "$out/json")" &&
		expect 1 "$("$bin/spstat" -jps "$inode" | grep -c '"processes":\[{"name":"weather_pub","pid":'"$program"',"fd":[0-9]*}\]}\]$')"
}

watch_shows_rates() {
	"$bin/spstat" -bw0.5 -c 2 >"$out/watch" || return
	expect 2 "$(grep -c SENT/s "$out/watch")" &&
		expect '' "$(awk '$1 == "PUB" && $7 == 0' "$out/watch")"
}

other_namespaces_have_their_own() {
	unshare -n sleep 60 &
	other=$!
	for _ in $(seq 300); do
		[ "$(readlink /proc/$other/ns/net)" = "$(readlink /proc/self/ns/net)" ] || break
		sleep 0.1
	done
	said=$("$bin/spstat" -bN $other | tail -n +2)
	kill $other
	expect '' "$said" && expect 3 "$("$bin/spstat" -bN "$program" | wc -l)"
}

# refused STATUS SAYS OPTION...
refused() {
	status=$1 says=$2
	shift 2
	"$bin/spstat" "$@" >"$out/said" 2>"$out/error"
	expect "$status" $? && expect '' "$(cat "$out/said")" && expect "$says" "$(head -n 1 "$out/error")"
}

mistakes_are_told() {
	refused 2 "spstat: '12x' is no inode number" -s 12x &&
		refused 2 "spstat: '0' is no interval: 0.01 to 86400 seconds" --watch=0 &&
		refused 2 "spstat: '-1' is no count" --count=-1 &&
		refused 2 "spstat: one argument too many: 'PUB'" PUB &&
		refused 2 "spstat: 'a/b' is no name of a namespace" -N a/b &&
		refused 1 'spstat: no socket has the inode 1' -bs 1 --json &&
		refused 1 'spstat: /run/netns/none: No such file or directory' -N none
}

full_disk_is_an_error() {
	"$bin/spstat" >/dev/full 2>"$out/error"
	expect 1 $? && expect 'spstat: standard output: No space left on device' "$(cat "$out/error")"
}

ktap_print_header
ktap_set_plan 9
for test in brief_has_a_line_for_each endpoints_are_under_their_socket dialer_is_connected \
	processes_have_a_name_and_a_descriptor json_names_the_columns watch_shows_rates \
	other_namespaces_have_their_own mistakes_are_told full_disk_is_an_error; do
	ktap_test_result $test $test
done
ktap_finished
