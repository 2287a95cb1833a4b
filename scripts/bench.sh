#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# bench.sh
#
# Measures PF_SP beside raw TCP, AF_UNIX and the libraries, each in the same boot of
# Debian's kernel, and prints a table: first on one CPU whose clock counts instructions,
# then on two. The figures are kept in build/bench.json.
#
# QUICK=1 measures a fifth of it, on one CPU only. PICTURES=DIR also draws them.
set -euo pipefail
scripts=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=scripts/lib.sh
. "$scripts/lib.sh"
top=$(dirname "$scripts")

"$scripts/setup-packages.sh" build guest bench
out=$top/build/bench
make -s -C "$top/userspace/perf" O="$out" >&2
module=$("$scripts/build-module.sh" stock stock)

# measure PART OPTION...: in a guest with these options.
measure() {
	local part=$1
	shift
	"$scripts/vm.sh" --kernel stock --module "$module" --mem 2048 --timeout 900 "$@" \
		--file "$out:/root/perf" --file "$scripts/guest-bench.sh:/root/guest-bench.sh" \
		-- /root/guest-bench.sh "$part" sp sp_mmsg tcp unix zmq nanomsg nng
}

if [[ -n ${QUICK-} ]]; then
	measure 20 --icount >"$out/counted"
	rm -f "$out/timed"
else
	measure 100 --icount >"$out/counted"
	measure 100 >"$out/timed"
fi
/usr/bin/python3 "$scripts/bench.py" "$out" "$top/build/bench.json"
if [[ -n ${PICTURES-} ]]; then
	"$scripts/setup-packages.sh" pictures
	/usr/bin/python3 "$scripts/bench-pictures.py" "$top/build/bench.json" "$PICTURES"
fi
