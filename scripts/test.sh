#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# test.sh [PATTERN]...
#
# Runs the suites of the pure code on this machine, and goes on if all is well:
# to the tests on the debug kernel, KUnit as the module loads, then the programs
# and scripts of tests/ whose names match a PATTERN, by default all, in one guest.
# Those of which a fast kernel does more run on the release kernel, too or instead,
# and those that bound what work costs, or let minutes pass, in a guest whose clock
# counts instructions. The last line counts them.
set -euo pipefail
scripts=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=scripts/lib.sh
. "$scripts/lib.sh"
top=$(dirname "$scripts")

unit=$("$scripts/unit.sh" --ktap) || {
	awk -f "$scripts/ktap.awk" <<<"$unit"
	exit 1
}
"$scripts/setup-packages.sh" source build guest tests
kernel=$("$scripts/setup-kernel.sh" debug)
make -s -C "$top/userspace" O="$top/build/userspace" >&2
make -s -C "$top/tests" O="$top/build/tests" KSELFTEST="$kernel/source/tools/testing/selftests" >&2

read -ra patterns <<<"$*"
tests=()
for test in $(make -s -C "$top/tests" list); do
	for pattern in "${patterns[@]:-*}"; do
		# shellcheck disable=SC2053 # a pattern
		if [[ ${test%.sh} == $pattern ]]; then
			tests+=("$test")
			break
		fi
	done
done
((${#tests[@]})) || die "no test is called ${*:-anything}"

# Where else, or instead, they run: what a fast kernel does more of, and what is
# about time or very many peers, which the checkers stretch beyond sense.
among() {
	local test
	for test in "${tests[@]}"; do
		[[ " $* " != *" $test "* ]] || echo "$test"
	done
}
mapfile -t fast < <(among fanout io_uring memcg policy shared shared_many sockopt stress threads waiters)
mapfile -t counted < <(among budget buffers dialing fanout gone lapses turns)
stretched='budget|buffers|dialing|fanout|gone|lapses|memcg|policy|shared_many|turns'
mapfile -t checked < <(printf '%s\n' "${tests[@]}" | grep -vxE "$stretched")
((!${#fast[@]} && !${#counted[@]})) || "$scripts/setup-kernel.sh" release >/dev/null

find_programs

# What plays on this side of the guest's network: at a port that the machine
# gives it, with another that leads into the guest. That one is not among those
# that the machine gives to whoever wants any.
around=() with=()
if [[ " ${tests[*]} " == *' interop_pynng '* ]]; then
	python=$("$scripts/setup-pynng.sh")
	until into=$((RANDOM % 10000 + 20000)) && ! : 2>/dev/null <>"/dev/tcp/127.0.0.1/$into"; do :; done
	exec {from_peer}< <(exec setpriv --pdeathsig TERM "$python" "$top/tests/host/pynng_peer.py" "$into")
	read -rt 60 port <&"$from_peer" || die "pynng_peer.py does not start"
	around=(--forward "$into:5577") with=(env "PYNNG_PEER=$port")
fi

# KUnit's part of the kernel log, put into the form of a test program's output.
kunit() {
	sed -n '/vm: loading/,/vm: running/s/^\[ *[0-9.]*\] //p' "$1" |
		sed -nE -e 's/^    # Subtest: /#> begin /p;t' \
		-e 's/^    ((not )?ok |1\.\.|# )/\1/p;t' \
		-e 's/^1\.\./#> suites 1../p;t' \
		-e 's/^ok [0-9]+ (.*)/#> end \1 0/p' \
		-e 's/^not ok [0-9]+ (.*)/#> end \1 1/p'
}

# in_guest GUEST PREFIX TEST...: runs tests, their names printed after PREFIX.
# GUEST is a kernel, or "counted": the release kernel where time is work.
in_guest() {
	local guest=$1 kernel=(--kernel "$1") status=0
	shift
	[[ $guest != counted ]] || kernel=(--kernel release --icount --mem 2048)
	"$scripts/vm.sh" "${kernel[@]}" --timeout 5400 --log "$top/build/test-$guest.log" \
		--file "$top/build/tests:/root/tests" --file "$top/build/userspace:/root/bin" \
		--file "$scripts/guest-test.sh:/root/guest-test.sh" "${programs[@]}" "${around[@]}" \
		-- env SP_GUEST="$guest" "${with[@]}" /root/guest-test.sh "$@" || status=$?
	echo "#> guest $status"
}

expected="${checked[*]} unload ${fast[*]/#/release\/} ${fast:+release/unload}"
expected+=" ${counted[*]/#/counted\/} ${counted:+counted/unload}"
{
	echo "$unit"
	in_guest debug '' "${checked[@]}"
	((!${#fast[@]})) || in_guest release release/ "${fast[@]}"
	((!${#counted[@]})) || in_guest counted counted/ "${counted[@]}"
	kunit "$top/build/test-debug.log"
} | awk -v expected="$expected" -f "$scripts/ktap.awk"
