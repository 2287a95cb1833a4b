#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# profile.sh [TRANSPORT [WHAT [SIZE [MESSAGES]]]]
#
# Which functions of the kernel and the module a message costs instructions in, exactly:
# what a run with twice the MESSAGES executed more, under an emulator that counts. WHAT is
# latency, flood or fan-out. By default PF_SP's flood of 64 bytes.
set -euo pipefail
scripts=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=scripts/lib.sh
. "$scripts/lib.sh"
top=$(dirname "$scripts")

transport=${1:-sp} what=${2:-flood} size=${3:-64} messages=${4:-2000}
more=()
case $what in
latency) local=local_lat remote=remote_lat more=(0) ;;
flood) local=local_thr remote=remote_thr ;;
fan-out) local=local_fan remote=remote_fan more=(32) ;;
*) die "latency, flood or fan-out, not '$what'" ;;
esac

"$scripts/setup-packages.sh" build guest bench
out=$top/build/bench
make -s -C "$top/userspace/perf" O="$out" >&2
[[ -x $out/$transport/$local ]] || die "no way to send is called '$transport'"
module=$("$scripts/build-module.sh" stock stock)

# The map is read in the same boot: nothing else tells where the module is.
for times in 1 2; do
	# shellcheck disable=SC2016 # for the guest's shell
	"$scripts/vm.sh" --kernel stock --module "$module" --icount --mem 2048 --profile "$out/profile.$times" \
		--file "$out/$transport:/root/perf" -- sh -c '
			cd /root/perf
			local=$1 remote=$2
			shift 2
			./"$local" "$@" >&2 &
			./"$remote" "$@" >&2
			wait
			cat /proc/kallsyms
		' sh "$local" "$remote" 7000 "$size" "$((messages * times))" "${more[@]}" >"$out/symbols.$times"
done
/usr/bin/python3 "$scripts/profile.py" "$out" "$messages" | c++filt
