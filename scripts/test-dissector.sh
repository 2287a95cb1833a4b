#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# test-dissector.sh KERNEL
#
# Does tshark, with userspace/wireshark/sp.lua, understand what our sockets, nanomsg's
# and nng's say to each other? In the guest with KERNEL they do, and are captured.
# test.sh builds what is used, and reads what this prints.
set -euo pipefail
scripts=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=scripts/lib.sh
. "$scripts/lib.sh"
top=$(dirname "$scripts")
capture=$top/build/dissector.pcap

printf '%s\n' '#> begin dissector' 1..12
"$scripts/setup-packages.sh" capture
find_programs
"$scripts/vm.sh" --kernel "$1" --timeout 300 --file "$top/build/tests:/root/tests" --file "$top/build/userspace:/root/bin" \
	--file "$scripts/guest-capture.sh:/root/capture.sh" "${programs[@]}" \
	-- /root/tests/spcapture sh /root/capture.sh >"$capture" 2>"$top/build/dissector.log" || {
	tail -n 20 "$top/build/dissector.log" | sed 's/^/# /'
	echo 'not ok 1 the guest captures'
	echo '#> end dissector 1'
	exit
}

options=()
# fields FILTER FIELD...: a line for each packet.
fields() {
	local filter=$1
	shift
	tshark -X "lua_script:$top/userspace/wireshark/sp.lua" "${options[@]}" -r "$capture" -Y "sp && ($filter)" -T fields \
		-E separator=' ' -E aggregator=, "${@/#/-e}" 2>>"$top/build/dissector.log"
}

number=0
# shows WHAT EXPECTED FILTER FIELD...: EXPECTED is a pattern.
shows() {
	local what=$1 expected=$2 seen
	number=$((number + 1))
	seen=$(fields "${@:3}") || true
	if [[ $seen =~ ^$expected$ ]]; then
		echo "ok $number $what"
	else
		echo "# expected $expected, seen:"
		echo "# ${seen//$'\n'/$'\n# '}"
		echo "not ok $number $what"
	fi
}

id='0x[89a-f][0-9a-f]{7}'
shows 'both ends greet, with their types' $'0x002[01]\n0x002[01]' 'tcp.port == 25702 && sp.type' sp.type
shows 'a publisher sends bodies alone' $'7 Oslo: 1\n7 Rome: 2' 'tcp.port == 25702 && sp.length' sp.length sp.text
shows 'a long message is put together' '100000' 'tcp.port == 25703 && sp.length' sp.length
shows 'a request and its reply have an id' "9 $id Hello"$'\n'"9 $id World"$'\n'"9 $id Hello"$'\n'"9 $id World" \
	'tcp.port == 25701 && sp.length' sp.length sp.id sp.text
shows 'nanomsg answers' "9 $id Hello"$'\n'"9 $id World" 'tcp.port == 25704 && sp.length' sp.length sp.id sp.text
shows 'nng answers' "9 $id Hello"$'\n'"9 $id World" 'tcp.port == 25705 && sp.length' sp.length sp.id sp.text
shows 'nng pairs count hops' $'7 1 (one|two)\n7 1 (one|two)' 'tcp.port == 25706 && sp.length' sp.length sp.hops sp.text
shows 'a survey and its answer have an id' "17 $id who is there\\?"$'\n'"10 $id answer" \
	'tcp.port == 25707 && sp.length' sp.length sp.id sp.text
shows 'a length that nobody can mean is told' '18446744073709551615' 'tcp.port == 25708 && sp.endless' sp.length
shows 'another protocol is left alone' '' 'tcp.port == 25709' sp.length

# From the middle on no end is known: by its port it is taken for what it is.
editcap -r "$capture" "$capture.middle" "$(tshark -r "$capture" -Y 'tcp.port == 25702 && tcp.len == 15' -T fields -e frame.number 2>/dev/null |
	paste -sd '-')" 2>>"$top/build/dissector.log"
capture=$capture.middle
shows 'what was captured from the middle on is not guessed' '' 'tcp' sp.length
options=(-o sp.ports:25702)
shows 'and taken for SP by its port' $'7 Oslo: 1\n7 Rome: 2' 'tcp' sp.length sp.text
echo '#> end dissector 0'
