#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# spcat(1): each role and each option, what is printed byte for byte, what the shell
# is told, and nanocat as the other end.
#
# Every wait is bounded: by timeout, and for what is never printed by await().

here=$(dirname "$0")
spcat=$here/../bin/spcat
# shellcheck source=/dev/null # the kernel's
. "$here/ktap_helpers.sh"

out=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null; rm -rf "$out"' EXIT
[ -s /etc/hosts ] || echo '127.0.0.1 localhost' >/etc/hosts

# The ends start in any order and find each other; no port is used twice.
port=7000
next_port() {
	port=$((port + 1))
}

run() {
	timeout 60 "$spcat" "$@"
}

# In the background, with whatever it prints in a file.
begin() {
	timeout 60 "$spcat" "$@" >"$out/background" 2>"$out/errors" &
	background=$!
}

end() {
	kill "${1:-$background}"
	wait "${1:-$background}" 2>/dev/null
}

# The text that came out, if it was this.
expect() {
	[ "$1" = "$2" ] && return
	ktap_print_msg "expected '$1', got '$2'"
	[ ! -s "$out/errors" ] || sed 's/^/# /' "$out/errors"
	return 1
}

# The bytes that came out, if they were those.
same() {
	cmp -s "$1" "$2" && return
	od -c <"$1" | head -n 20 | sed 's/^/# expected /'
	od -c <"$2" | head -n 20 | sed 's/^/# got /'
	return 1
}

# Until a line of /proc/net/sp is of that kind, for at most half a minute.
await() {
	for _ in $(seq 600); do
		grep -q "$1" /proc/net/sp && return
		sleep 0.05
	done
	ktap_print_msg "never seen: $1"
	return 1
}

# With two decimals.
uptime_cs() {
	cut -d ' ' -f 1 /proc/uptime | tr -d .
}

opposite() {
	[ "$1" = bind ] && echo connect || echo bind
}

# ROLE_and_ROLE WAY: how the first one comes to the other.
req_and_rep() {
	next_port
	begin --rep "--$(opposite "$1")" "tcp://127.0.0.1:$port" --data World --count 2 --quoted
	reply=$(run --req "--$1" 127.0.0.1:$port --data Hello --count 2 --quoted)
	wait $background
	expect "$(printf '"World"\n"World"')" "$reply" &&
		expect "$(printf '"Hello"\n"Hello"')" "$(cat "$out/background")"
}

pub_and_sub() {
	next_port
	begin --sub "--$(opposite "$1")" tcp://127.0.0.1:$port --subscribe topic --subscribe also --count 3 --lines
	printf 'topic 1\nother\nalso 2\ntopic 3\n' | run --pub "--$1" tcp://127.0.0.1:$port --peers 1 --lines
	wait $background
	expect "$(printf 'topic 1\nalso 2\ntopic 3')" "$(cat "$out/background")"
}

push_and_pull() {
	next_port
	begin --pull "--$(opposite "$1")" tcp://127.0.0.1:$port --count 1
	run --push "--$1" tcp://127.0.0.1:$port --data job
	wait $background
	expect job "$(cat "$out/background")"
}

# Who connects has a subscriber in mind, who may come later; nobody who does not wait.
publisher_waits_for_whom_it_connects_to() {
	next_port
	timeout 60 "$spcat" --pub -l $port -D news &
	publisher=$!
	await "dialer .*127.0.0.1:$port"
	said=$(run --sub -L $port --count 1)
	wait $publisher
	expect 0 $? && expect news "$said" || return
	next_port
	run --pub -l $port -D news --async && run --pub -l $port -D news --compat && run --pub -L $port -D news
}

# Of each family, with a name, in all ways to write them.
addresses() {
	for pair in "[::1]: [::1]:" "*: tcp6://[::1]:" ": localhost:" \
		"tcp4://*: 127.0.0.1:" "TCP://localhost: tcp4://localhost:"; do
		next_port
		bound=${pair% *}$port connected=${pair#* }$port
		begin --pull --listen "$bound" --count 1
		run --push --dial "$connected" -D "$pair"
		wait $background
		expect "$pair" "$(cat "$out/background")" || return
	done
	next_port
	begin --pull0 --bind-local=$port -C1
	run --push0 --connect-local=$port -D short
	wait $background
	expect short "$(cat "$out/background")"
}

# Two listeners, and two whom it connects to.
several_addresses() {
	next_port
	begin --pull -L $port -L $((port + 1)) -l $((port + 2)) --count 3 --lines
	for _ in 1 2; do
		run --push -l $port -D one
		next_port
	done
	run --push -L $port -D one
	wait $background
	expect "$(printf 'one\none\none')" "$(cat "$out/background")"
}

# 1 MiB there, 1 MiB and some back.
long_file_there_and_back() {
	next_port
	head -c 1048576 /dev/urandom >"$out/there"
	head -c 1050000 /dev/urandom >"$out/back"
	begin --rep -L $port --file "$out/back" --count 1 --raw
	run --req -l $port -F "$out/there" >"$out/said"
	wait $background
	same "$out/there" "$out/background" && same "$out/back" "$out/said"
}

# What is above the socket's own limit is sent, since it was meant.
longer_than_usual() {
	next_port
	truncate -s 17000000 "$out/there"
	begin --pull -L $port --count 1 --recv-maxsz 20000000
	run --push -l $port <"$out/there"
	wait $background
	expect 17000000 "$(stat -c %s "$out/background")" || return
	next_port
	truncate -s 67108864 "$out/there"
	refused 1 'spcat: a message of 67108864 bytes is more than net.sp.close_mem allows' --push -L $port --file "$out/there"
	status=$?
	rm "$out/there"
	return $status
}

standard_input_is_one_message() {
	for file in '' '--file=-'; do
		next_port
		printf 'a\0b\n\nc\200\n' >"$out/there"
		begin --pull -L $port --count 1
		# shellcheck disable=SC2086 # one or none
		run --push -l $port $file <"$out/there"
		wait $background
		same "$out/there" "$out/background" || return
	done
}

lines_are_messages() {
	next_port
	printf 'one\n\nt\0o\nthree' >"$out/lines"
	begin --pull -L $port --count 4 --quoted
	run --push -l $port --lines --file "$out/lines"
	wait $background
	expect "$(printf '"one"\n""\n"t\\x00o"\n"three"')" "$(cat "$out/background")"
}

# A line goes out when it is there, not at the end.
lines_do_not_wait_for_the_last() {
	next_port
	mkfifo "$out/typed"
	timeout 60 "$spcat" --push -l $port --lines <"$out/typed" &
	pusher=$!
	exec 3>"$out/typed"
	echo first >&3
	said=$(run --pull -L $port --count 1 3>&-)
	exec 3>&-
	rm "$out/typed"
	wait $pusher
	expect 0 $? && expect first "$said"
}

# A request a line, a reply a line; the server ends with its lines.
lines_are_requests_and_replies() {
	next_port
	printf '1\n2\n' >"$out/replies"
	begin --rep -L $port --lines --file "$out/replies" --count 2
	said=$(printf 'a\nb\n' | run --req -l $port --lines)
	wait $background
	expect "$(printf '1\n2')" "$said" && expect "$(printf 'a\nb')" "$(cat "$out/background")" || return
	next_port
	begin --rep -L $port --lines --file /dev/null
	run --req -l $port --data unanswered --recv-timeout 0.5 2>/dev/null
	expect 3 $? && wait $background && expect unanswered "$(cat "$out/background")"
}

# printed FORMAT: what is printed of the message in $out/there.
printed() {
	next_port
	begin --pull -L $port --count 1 "$@"
	run --push -l $port --file "$out/there"
	wait $background
}

# printed_as FORMAT EXPECTED, as printf understands it.
printed_as() {
	# shellcheck disable=SC2059 # it is one
	printf "$2" >"$out/expected"
	printed "$1" && same "$out/expected" "$out/background"
}

formats() {
	printf 'a"b\\c\n\t\r\1\200~\177z' >"$out/there"
	printed_as --raw 'a"b\\c\n\t\r\1\200~\177z' &&
		printed_as --lines 'a"b\\c\n\t\r\1\200~\177z\n' &&
		printed_as --ascii 'a"b\\c.....~.z\n' &&
		printed_as --quoted '"a\\"b\\\\c\\n\\t\\r\\x01\\x80~\\x7fz"\n' &&
		printed_as --hex '"\\x61\\x22\\x62\\x5c\\x63\\x0a\\x09\\x0d\\x01\\x80\\x7e\\x7f\\x7a"\n' &&
		printed_as --format=msgpack '\304\15a"b\\c\n\t\r\1\200~\177z' &&
		printed_as --format=no ''
}

empty_message_in_each_format() {
	: >"$out/there"
	printed_as --raw '' && printed_as -A '\n' && printed_as -Q '""\n' && printed_as --msgpack '\304\0'
}

# msgpack_head LENGTH OCTETS
msgpack_head() {
	head -c "$1" /dev/zero >"$out/there"
	printed --msgpack || return
	expect "$2" "$(head -c $(($(wc -c <"$out/background") - $1)) "$out/background" | od -An -tx1 | tr -d ' ')"
}

msgpack_has_three_lengths() {
	msgpack_head 255 c4ff && msgpack_head 256 c50100 && msgpack_head 65536 c600010000
}

# elapsed MINIMUM COMMAND...: in hundredths of a second; how long at most is nobody's promise.
elapsed() {
	min=$1
	shift
	began=$(uptime_cs)
	"$@" || return
	took=$(($(uptime_cs) - began))
	[ $took -ge "$min" ] && return
	ktap_print_msg "took only $took"
	return 1
}

interval_and_count() {
	next_port
	begin --pull -L $port --lines --recv-timeout 30 --count 3
	elapsed 40 run --push -l $port -D tick --interval 0.2 --count 3 && wait $background &&
		expect "$(printf 'tick\ntick\ntick')" "$(cat "$out/background")" || return
	next_port
	begin --rep -L $port -D tock --format no
	elapsed 30 run --req -l $port -D tick -i 0.3 -C 2 -A >"$out/said" && expect "$(printf 'tock\ntock')" "$(cat "$out/said")" &&
		expect '' "$(cat "$out/background")"
	status=$?
	end
	return $status
}

# Without a count it goes on: a hundred, and then some.
interval_goes_on() {
	next_port
	timeout 60 "$spcat" --push -L $port -D tick --interval 0 &
	pusher=$!
	said=$(run --pull -l $port --lines --count 100 | sort | uniq -c | xargs)
	kill -0 $pusher && end $pusher
	expect '100 tick' "$said"
}

count_alone_does_not_pause() {
	next_port
	begin --pull -L $port --lines --count 3
	run --push -l $port -D x -C3 && wait $background && expect "$(printf 'x\nx\nx')" "$(cat "$out/background")"
}

delay_comes_first() {
	next_port
	begin --sub -l $port --count 1
	elapsed 100 run --pub -L $port -D late --delay 1 && wait $background && expect late "$(cat "$out/background")"
}

# refused STATUS SAYS OPTION...: that is all it says, wherever.
refused() {
	status=$1 says=$2
	shift 2
	said=$(run "$@" 2>&1 </dev/null)
	expect "$status" $? && expect "$says" "$said"
}

timeouts_have_a_status() {
	next_port
	refused 3 'spcat: no message within 0.2 s' --pull -L $port --recv-timeout 0.2 &&
		refused 3 'spcat: nobody took the message within 0.2 s' --push -l $port -D x --send-timeout 0.2 &&
		refused 3 'spcat: nobody took the message within 0.2 s' --req -L $port -D x --send-timeout 0.2 &&
		refused 3 'spcat: 0 of 1 peers within 0.2 s' --pub -l $port -D x --send-timeout 0.2 || return
	# A server that has nothing to say.
	next_port
	begin --rep -L $port --ascii
	refused 3 'spcat: no reply within 0.5 s' --req -l $port -D x --recv-timeout 0.5
	status=$?
	end
	[ $status = 0 ] && expect x "$(cat "$out/background")"
}

# After messages, silence is the end; unless more were asked for.
silence_is_the_end() {
	next_port
	begin --pull -L $port --recv-timeout 0.5 --ascii
	run --push -l $port -D x
	wait $background
	expect 0 $? && expect x "$(cat "$out/background")" || return
	next_port
	begin --pull -L $port --recv-timeout 0.5 --ascii --count 2
	run --push -l $port -D x
	wait $background
	expect 3 $? && expect x "$(cat "$out/background")" && expect 'spcat: no message within 0.5 s' "$(cat "$out/errors")"
}

too_long_is_not_taken() {
	next_port
	begin --pull -L $port --recv-maxsz 4 --count 1
	run --push -l $port -D 12345
	run --push -l $port -D 1234
	wait $background
	expect 1234 "$(cat "$out/background")" || return
	next_port
	begin --rep -L $port -D 12345
	refused 1 'spcat: the reply is longer than --recv-maxsz allows' --req -l $port -D x -Z 4
	status=$?
	end
	return $status
}

mistakes_are_told() {
	next_port
	refused 2 'spcat: a role is needed: --req, --rep, --pub, --sub, --push or --pull' -L $port &&
		refused 2 'spcat: an address is needed: --bind or --connect HOST:PORT' --pull &&
		refused 2 'spcat: --pull and --push: a socket has one role' --pull --push -L $port &&
		refused 2 'spcat: PF_SP has no sockets of that role yet' --bus -L $port &&
		refused 2 "spcat: unrecognized option '--nothing'" --nothing &&
		refused 2 "spcat: invalid option -- 'y'" -y &&
		refused 2 "spcat: option '--data' requires an argument" --data &&
		refused 2 "spcat: one argument too many: 'x'" --pull -L $port x &&
		refused 2 "spcat: 'localhost' has no port: HOST:PORT" --pull --bind localhost &&
		refused 2 "spcat: 'tcp://::1:$port': an IPv6 address is written [ADDRESS]:PORT" --pull --bind tcp://::1:$port &&
		refused 2 "spcat: '127.0.0.1:65536' has no port of 0 to 65535" --pull --bind 127.0.0.1:65536 &&
		refused 2 "spcat: '127.0.0.1:' has no port of 0 to 65535" --pull --bind 127.0.0.1: &&
		refused 2 "spcat: '0': nobody can be reached at port 0" --pull -l 0 &&
		refused 2 "spcat: '*:$port' has no host to connect to" --pull --connect "*:$port" &&
		refused 2 "spcat: 'ipc://x': only tcp:// is known" --pull --bind ipc://x &&
		refused 2 "spcat: 'x': there is TCP alone, no ipc" --pull -X x &&
		refused 2 'spcat: --data means nothing with --pull' --pull -L $port -D x &&
		refused 2 'spcat: --hex means nothing with --push' --push -L $port -D x --hex &&
		refused 2 'spcat: --interval means nothing with --rep' --rep -L $port -D x -i 1 &&
		refused 2 'spcat: --subscribe means nothing with --pull' --pull -L $port --subscribe x &&
		refused 2 'spcat: --data and --file: only one of them can be sent' --push -L $port -D x -F y &&
		refused 2 'spcat: --data and --lines: lines come from --file, or standard input' --push -L $port -D x --lines &&
		refused 2 "spcat: --interval takes seconds, 0 to 1000000: '1s'" --push -L $port -D x -i 1s &&
		refused 2 "spcat: --recv-timeout takes seconds, 0.001 to 1000000: 'nan'" --pull -L $port --recv-timeout nan &&
		refused 2 "spcat: --count takes a whole number, 0 to 1000000000: '-1'" --pull -L $port --count -1 &&
		refused 2 "spcat: --format is no, raw, ascii, quoted, hex or msgpack: 'xml'" --pull -L $port --format xml &&
		refused 2 '' --pull -q && expect '' "$(run --pull 2>/dev/null)"
}

failures_are_told() {
	next_port
	begin --pull -L $port
	await "listener 127.0.0.1:$port"
	refused 1 "spcat: $port: cannot listen: Address already in use" --pull -L $port
	status=$?
	end
	[ $status = 0 ] &&
		refused 1 'spcat: 192.0.2.1:1: cannot listen: Cannot assign requested address' --pull --bind 192.0.2.1:1 &&
		refused 1 'spcat: /nowhere: No such file or directory' --push -L $port --file /nowhere &&
		refused 1 'spcat: /: Is a directory' --push -L $port --file / &&
		refused 1 'spcat: /: Is a directory' --push -L $port --file / --lines --send-timeout 1 &&
		refused 1 'spcat: --subscribe: Invalid argument' --sub -L $port --subscribe "$(head -c 5000 /dev/zero | tr '\0' x)" &&
		refused 1 'spcat: 127.0.0.1:none: Servname not supported for ai_socktype' --pull --bind 127.0.0.1:none &&
		refused 1 '' -q --pull --bind 192.0.2.1:1
}

full_disk_is_an_error() {
	next_port
	timeout 60 "$spcat" --pull -L $port >/dev/full 2>"$out/error" &
	puller=$!
	run --push -l $port -D x
	wait $puller
	expect 1 $? && expect 'spcat: standard output: No space left on device' "$(cat "$out/error")"
}

# As any tool whose reader has had enough.
closed_pipe_ends_it() {
	next_port
	timeout 60 "$spcat" --push -L $port -D x -i 0.01 &
	pusher=$!
	said=$( (timeout 60 "$spcat" --pull -l $port --lines 2>"$out/error"; echo $? >"$out/status") | head -n 1)
	end $pusher
	expect x "$said" && expect 141 "$(cat "$out/status")" && expect '' "$(cat "$out/error")"
}

signals_end_it() {
	for signal in INT:130 TERM:143; do
		next_port
		(
			await "listener 127.0.0.1:$port"
			kill -"${signal%:*}" "$(cat "$out/pid")"
		) &
		# In the foreground: behind & a shell has SIGINT ignored.
		# shellcheck disable=SC2016 # the other shell's
		sh -c 'echo $$ >"$0"; exec "$@"' "$out/pid" "$spcat" --pull -L $port --recv-timeout 60
		expect "${signal#*:}" $? || return
		wait $!
	done
}

# What a killed program has sent is whole, or is not there.
killed_half_way() {
	next_port
	head -c 100000 /dev/urandom >"$out/there"
	begin --pull -L $port --format msgpack --recv-timeout 0.5
	timeout 60 "$spcat" --push -l $port --file "$out/there" --interval 0 &
	pusher=$!
	for _ in $(seq 200); do
		[ "$(stat -c %s "$out/background")" -lt 1000000 ] || break
		sleep 0.05
	done
	kill -9 $pusher
	wait $pusher 2>/dev/null
	wait $background
	expect 0 $? && expect 0 $(($(wc -c <"$out/background") % 100005)) || return
	head -c 100005 "$out/background" | tail -c 100000 >"$out/first"
	tail -c 100000 "$out/background" >"$out/last"
	same "$out/there" "$out/first" && same "$out/there" "$out/last"
}

# One that is stopped: what was sent to it is delivered after its sender's end.
sent_is_delivered() {
	next_port
	begin --pull -L $port --count 1
	await "listener 127.0.0.1:$port"
	kill -STOP $background
	head -c 1000000 /dev/urandom >"$out/there"
	run --push -l $port --file "$out/there"
	status=$?
	kill -CONT $background
	wait $background
	expect 0 $status && same "$out/there" "$out/background"
}

verbose_tells_the_port() {
	begin --pull -L 0 --verbose --count 1
	for _ in $(seq 200); do
		! grep -q listening "$out/errors" || break
		sleep 0.05
	done
	port_given=$(sed -n 's,^spcat: listening on tcp://127.0.0.1:,,p' "$out/errors")
	expect "spcat: connecting to $port_given" "$(run --push -l "$port_given" -D x -v 2>&1)" && wait $background &&
		expect x "$(cat "$out/background")"
}

help_is_no_error() {
	run --help >"$out/said" 2>"$out/error" && expect '' "$(cat "$out/error")" &&
		expect 'Usage: spcat --ROLE ADDRESS... [OPTION]...' "$(head -n 1 "$out/said")"
}

# nanocat: with_nanocat OURS THEIRS WAY
with_nanocat() {
	next_port
	timeout 60 nanocat "--$2" "--$(opposite "$3")" tcp://127.0.0.1:$port --ascii --data World >"$out/nanocat" 2>"$out/errors" &
	nanocat=$!
	said=$(run "--$1" "--$3" tcp://127.0.0.1:$port --ascii --data Hello --count 1)
	kill $nanocat
	wait $nanocat 2>/dev/null
	expect World "$said" && expect Hello "$(cat "$out/nanocat")"
}

nanocat_answers() {
	with_nanocat req rep bind && with_nanocat req rep connect
}

nanocat_asks() {
	for way in bind connect; do
		next_port
		begin --rep "--$way" 127.0.0.1:$port --ascii --data World --count 1
		timeout 60 nanocat --req "--$(opposite $way)" tcp://127.0.0.1:$port --ascii --data Hello --recv-timeout 20 >"$out/nanocat" &
		nanocat=$!
		wait $background
		for _ in $(seq 200); do
			[ ! -s "$out/nanocat" ] || break
			sleep 0.05
		done
		kill $nanocat
		wait $nanocat 2>/dev/null
		expect Hello "$(cat "$out/background")" && expect World "$(cat "$out/nanocat")" || return
	done
}

nanocat_sends() {
	for pair in pub:sub:bind pub:sub:connect push:pull:bind push:pull:connect; do
		theirs=${pair%%:*} way=${pair##*:} ours=${pair#*:}
		next_port
		timeout 60 nanocat "--$theirs" "--$(opposite "$way")" tcp://127.0.0.1:$port --data 'topic and news' --interval 0.1 2>"$out/errors" &
		nanocat=$!
		said=$(run "--${ours%:*}" "--$way" 127.0.0.1:$port --count 2 --lines)
		kill $nanocat
		wait $nanocat 2>/dev/null
		expect "$(printf 'topic and news\ntopic and news')" "$said" || return
	done
}

# Nor is what they print another thing than what we print: of every octet but the tab,
# which nanocat shows as \x09.
nanocat_receives_and_prints_alike() {
	for a in 0 1 2 3; do
		for b in 0 1 2 3 4 5 6 7; do
			for c in 0 1 2 3 4 5 6 7; do
				# shellcheck disable=SC2059 # an octet
				[ "$a$b$c" = 011 ] || printf "\\$a$b$c"
			done
		done
	done >"$out/there"
	expect 255 "$(wc -c <"$out/there")" || return
	for format in raw ascii quoted hex msgpack; do
		printed --$format || return
		next_port
		timeout 60 nanocat --pull --bind tcp://127.0.0.1:$port --$format >"$out/nanocat" &
		nanocat=$!
		run --push -l $port --file "$out/there"
		for _ in $(seq 200); do
			[ "$(wc -c <"$out/nanocat")" -lt "$(wc -c <"$out/background")" ] || break
			sleep 0.05
		done
		kill $nanocat
		wait $nanocat 2>/dev/null
		same "$out/nanocat" "$out/background" || return
	done
}

ktap_print_header
ktap_set_plan 38
for test in req_and_rep pub_and_sub push_and_pull; do
	for way in bind connect; do
		ktap_test_result "${test}_${way}" "$test" "$way"
	done
done
for test in publisher_waits_for_whom_it_connects_to addresses several_addresses long_file_there_and_back \
	longer_than_usual standard_input_is_one_message lines_are_messages lines_do_not_wait_for_the_last \
	lines_are_requests_and_replies formats empty_message_in_each_format msgpack_has_three_lengths \
	interval_and_count interval_goes_on count_alone_does_not_pause delay_comes_first timeouts_have_a_status \
	silence_is_the_end too_long_is_not_taken mistakes_are_told failures_are_told full_disk_is_an_error \
	closed_pipe_ends_it signals_end_it killed_half_way sent_is_delivered verbose_tells_the_port help_is_no_error; do
	ktap_test_result $test $test
done
for test in nanocat_answers nanocat_asks nanocat_sends nanocat_receives_and_prints_alike; do
	if command -v nanocat >/dev/null; then
		ktap_test_result $test $test
	else
		ktap_test_skip $test
	fi
done
ktap_finished
