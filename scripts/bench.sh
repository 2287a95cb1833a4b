#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# bench.sh [check]
#
# Measures PF_SP beside raw TCP, AF_UNIX and the libraries, each in the same boot of
# Debian's kernel, and prints a table: first on one CPU whose clock counts instructions,
# then on two. The figures are kept in build/bench.json.
#
# QUICK=1 measures a fifth of it, without idle peers, on one CPU only. PICTURES=DIR also draws them.
#
# "check" compares PF_SP's with those in bench-figures.json, for who changes the code: no
# message may have become dearer. RENEW=1 puts what was measured there instead.
set -euo pipefail
scripts=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=scripts/lib.sh
. "$scripts/lib.sh"
top=$(dirname "$scripts")

"$scripts/setup-packages.sh" build guest bench
out=$top/build/bench
make -s -C "$top/userspace/perf" O="$out" >&2
module=$("$scripts/build-module.sh" stock stock)

# measure WHATS PART OPTION...: in a guest with these options.
transports=(sp sp_mmsg sp_uring tcp unix zmq nanomsg nng)
measure() {
	local whats=$1 part=$2
	shift 2
	"$scripts/vm.sh" --kernel stock --module "$module" --mem 2048 --timeout 900 "$@" \
		--file "$out:/root/perf" --file "$scripts/guest-bench.sh:/root/guest-bench.sh" \
		-- /root/guest-bench.sh "$whats" "$part" "${transports[@]}"
}

if [[ ${1-} == check ]]; then
	transports=(sp tcp)
	measure 'latency flood:64' 20 --icount >"$out/checked"
	kernel=$("$scripts/setup-stock.sh")
	/usr/bin/python3 "$scripts/bench-check.py" "$out/checked" "$(basename "$kernel")" "$scripts/bench-figures.json" ${RENEW:+renew}
	exit
fi
if [[ -n ${QUICK-} ]]; then
	measure 'latency flood fan-out' 20 --icount >"$out/counted"
	rm -f "$out/timed"
else
	measure 'latency flood fan-out idle' 100 --icount >"$out/counted"
	measure 'latency flood fan-out' 100 >"$out/timed"
fi
/usr/bin/python3 "$scripts/bench.py" "$out" "$top/build/bench.json"
if [[ -n ${PICTURES-} ]]; then
	"$scripts/setup-packages.sh" pictures
	/usr/bin/python3 "$scripts/bench-pictures.py" "$top/build/bench.json" "$PICTURES"
fi
