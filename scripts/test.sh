#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# test.sh [PATTERN]...
#
# Runs the tests on the debug kernel: KUnit as the module loads, then the
# programs and scripts of tests/ whose names match a PATTERN, by default all,
# in one guest. The last line counts them.
set -euo pipefail
scripts=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=scripts/lib.sh
. "$scripts/lib.sh"
top=$(dirname "$scripts")

"$scripts/setup-packages.sh" source build guest tests
kernel=$("$scripts/setup-kernel.sh" debug)
module=$("$scripts/build-module.sh" debug debug)
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

programs=()
for program in ip ss tc nanocat; do
	path=$(PATH=$PATH:/usr/sbin:/sbin command -v "$program") || die "$program is not installed"
	programs+=(--file "$path:/usr/bin/$program")
done

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

log=$top/build/test.log
{
	status=0
	"$scripts/vm.sh" --kernel debug --module "$module" --timeout 1800 --log "$log" \
		--file "$top/build/tests:/root/tests" --file "$top/build/userspace:/root/bin" \
		--file "$scripts/guest-test.sh:/root/guest-test.sh" "${programs[@]}" "${around[@]}" \
		-- "${with[@]}" /root/guest-test.sh "${tests[@]}" || status=$?
	echo "#> guest $status"
	kunit "$log"
} | awk -v expected="${tests[*]} unload" -f "$scripts/ktap.awk"
