#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# test.sh KERNEL [PATTERN]...
#
# Runs the programs and scripts of tests/ whose names match a PATTERN, by default all,
# in guests with KERNEL, one of setup-kernel.sh's. On "debug" the unit tests run as the
# module loads (KUnit), elsewhere on this machine, and all else only if they pass. The
# last line counts them.
set -euo pipefail
scripts=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=scripts/lib.sh
. "$scripts/lib.sh"
top=$(dirname "$scripts")

flavour=$1 name=${1//\//-}
shift
unit=
if [[ $flavour != debug ]]; then
	unit=$("$scripts/unit.sh" --ktap) || {
		awk -f "$scripts/ktap.awk" <<<"$unit"
		exit 1
	}
fi
"$scripts/setup-packages.sh" build guest tests
kernel=$("$scripts/setup-kernel.sh" "$flavour")
# Another run, on another kernel, may want the same.
(
	lock programs
	make -s -C "$top/userspace" O="$top/build/userspace" >&2
	make -s -C "$top/tests" O="$top/build/tests" KSELFTEST="$kernel/source/tools/testing/selftests" >&2
)

read -ra patterns <<<"$*"
# wanted TEST...: those whose names match.
wanted() {
	local test pattern
	for test; do
		for pattern in "${patterns[@]:-*}"; do
			# shellcheck disable=SC2053 # a pattern
			if [[ ${test%.sh} == $pattern ]]; then
				echo "$test"
				break
			fi
		done
	done
}
# shellcheck disable=SC2046 # a word each
mapfile -t tests < <(wanted $(make -s -C "$top/tests" list) warning dissector)
# What needs no kernel of ours runs on this machine, and once.
here=("$top"/tests/host/*.sh)
mapfile -t here < <([[ $flavour == debug ]] || wanted "${here[@]##*/}")
((${#tests[@]} + ${#here[@]})) || die "no test is called ${*:-anything}"

# Where which runs. What is about time, cost or very many peers, the checkers stretch
# beyond sense: elsewhere it runs in a guest whose clock counts instructions.
costly='budget|buffers|dialing|gone|lapses|memcg|turns'
stretched="$costly|fanout|policy|shared_many"
# What would find no more there than other tests do runs there only if it is asked for.
alike='interop_.*|binding_.*'
# A module that warns needs a guest of its own: where a warning ends it, in none. So
# does what is looked at from outside.
own='warning|dissector'
if ((!${#tests[@]})); then
	plain=() counted=() apart=()
elif [[ $flavour == debug ]]; then
	((!${#patterns[@]})) || alike=none
	mapfile -t plain < <(printf '%s\n' "${tests[@]}" | grep -vxE "$stretched|$alike|$own")
	counted=() apart=()
else
	mapfile -t plain < <(printf '%s\n' "${tests[@]}" | grep -vxE "$costly|$own")
	mapfile -t apart < <(printf '%s\n' "${tests[@]}" | grep -xE "$own")
	mapfile -t counted < <(printf '%s\n' "${tests[@]}" | grep -xE "$costly|fanout|gather|edition|large" || true)
fi

find_programs

# What plays on this side of the guest's network: at a port that the machine
# gives it, with another that leads into the guest. That one is not among those
# that the machine gives to whoever wants any.
around=() with=()
if [[ " ${plain[*]} " == *' interop_pynng '* ]]; then
	python=$("$scripts/setup-pynng.sh")
	until into=$((RANDOM % 10000 + 20000)) && ! : 2>/dev/null <>"/dev/tcp/127.0.0.1/$into"; do :; done
	exec {from_peer}< <(exec setpriv --pdeathsig TERM "$python" "$top/tests/host/pynng_peer.py" "$into")
	read -rt 60 port <&"$from_peer" || die "pynng_peer.py does not start"
	around=(--forward "$into:5577") with=(env "PYNNG_PEER=$port")
fi

# What the packages for other languages need, and the tutorial's Python, which would be
# slow where the kernel checks all it does.
for language in python rust go node; do
	pattern=" binding_$language.sh "
	[[ $language != python || $flavour == debug ]] || pattern+="| docs.sh "
	[[ " ${plain[*]/%/ } " =~ $pattern ]] || continue
	options=$("$scripts/setup-binding.sh" "$language")
	mapfile -t -O ${#around[@]} around <<<"$options"
done

# KUnit's part of the kernel log, put into the form of a test program's output.
kunit() {
	sed -n '/vm: loading/,/vm: running/s/^\[ *[0-9.]*\] //p' "$1" |
		sed -nE -e 's/^    # Subtest: /#> begin /p;t' \
		-e 's/^    ((not )?ok |1\.\.|# )/\1/p;t' \
		-e 's/^1\.\./#> suites 1../p;t' \
		-e 's/^ok [0-9]+ (.*)/#> end \1 0/p' \
		-e 's/^not ok [0-9]+ (.*)/#> end \1 1/p'
}

on_this_machine() {
	local test status
	for test; do
		echo "#> begin $test"
		status=0
		timeout -k 5 300 "$top/tests/host/$test" 2>&1 || status=$?
		echo "#> end $test $status"
	done
}

# in_guest PREFIX TEST...: runs tests, their names printed after PREFIX: "", or
# "counted/", where time is work.
in_guest() {
	local guest=$name options=("${around[@]}") status=0
	if [[ $1 == counted/ ]]; then
		guest=counted options=(--icount --mem 2048)
	fi
	"$scripts/vm.sh" --kernel "$flavour" --modules "${options[@]}" --timeout 5400 --log "$top/build/test-$guest.log" \
		--file "$top/build/tests:/root/tests" --file "$top/build/userspace:/root/bin" \
		--file "$scripts/guest-test.sh:/root/guest-test.sh" "${programs[@]}" \
		-- env SP_GUEST="$guest" "${with[@]}" /root/guest-test.sh "$@" || status=$?
	echo "#> guest $status"
}

# Does a warning in our Rust find its entry in the tables of the module, however that
# was linked, and go on after it?
warning() {
	local log=$top/build/test-warning.log module
	printf '%s\n' '#> begin warning' 1..1
	# Only what is in Rust differs.
	rm -rf "$top/build/$name-warn"
	cp -a "$top/build/$name" "$top/build/$name-warn"
	module=$("$scripts/build-module.sh" "$flavour" "$name-warn" SP_WARN=y KRUSTFLAGS=-Cdebuginfo=0)
	"$scripts/vm.sh" --kernel "$flavour" --module "$module" --log "$log" -- true 2>/dev/null || true
	if sed -n '/WARNING: .*at init_module/,$p' "$log" | grep -q 'vm: running the command'; then
		echo 'ok 1 a warning is told, and the module goes on'
	else
		sed 's/^/# /' "$log"
		echo 'not ok 1 a warning is told, and the module goes on'
	fi
	echo '#> end warning 0'
}

dissector() {
	"$scripts/test-dissector.sh" "$flavour"
}

# Both guests at once; each keeps about one CPU busy.
((!${#tests[@]})) || "$scripts/build-module.sh" "$flavour" "$name" >/dev/null
said=$top/build/test-$name-counted.out
: >"$said"
if ((${#counted[@]})); then
	in_guest counted/ "${counted[@]}" >"$said" &
	counting=$!
	trap 'kill "$counting" 2>/dev/null || true' EXIT
fi
expected="${here[*]} ${plain[*]} ${plain:+unload} ${counted[*]/#/counted\/} ${counted:+counted/unload} ${apart[*]} suites"
{
	echo "$unit"
	echo '#> suites end'
	on_this_machine "${here[@]}"
	((!${#plain[@]})) || in_guest '' "${plain[@]}"
	for test in "${apart[@]}"; do
		"$test"
	done
	((!${#counted[@]})) || tail --pid="$counting" -f /dev/null
	cat "$said"
	[[ $flavour != debug ]] || kunit "$top/build/test-debug.log"
} | awk -v expected="$expected" -f "$scripts/ktap.awk"
