#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# test-kernels.sh [--build] [SUITE...]
#
# Builds the module for each kernel for PCs that Debian's suites have with its source,
# by default trixie-backports, and for one of ours without Rust; boots each, and has
# the demo and the quick tests run. --build only builds, and only for plain flavours
# that the other tests are not run on: for what Debian has had since those were chosen.
# Prints a line for each; fails if one fails.
set -uo pipefail
scripts=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=scripts/lib.sh
. "$scripts/lib.sh"
top=$(dirname "$scripts")

build=
[[ ${1:-} != --build ]] || { build=y; shift; }
(($#)) || set -- trixie-backports
quick='reqrep pubsub socket readiness blocking wire_req wire_rep wire_pubsub hostile proc syscalls message sockopt module'

kernels=()
for suite; do
	list=$("$scripts/setup-stock.sh" "$suite" list) || exit
	for release in $list; do
		kernels+=("$suite/$release")
	done
done
if [[ -n $build ]]; then
	stock=$("$scripts/setup-stock.sh") && oldest=$("$scripts/setup-stock.sh" trixie-backports oldest) || exit
	mapfile -t kernels < <(printf '%s\n' "${kernels[@]}" | grep '[0-9]-amd64$' |
		grep -vF -e "/${stock##*/}" -e "/${oldest##*/}")
else
	kernels+=(norust)
fi

failed=0 table=
for kernel in "${kernels[@]}"; do
	if [[ -n $build ]]; then
		"$scripts/build-module.sh" "$kernel" "${kernel//\//-}" >/dev/null && result=builds || result=FAILED
	else
		"$scripts/vm.sh" --kernel "$kernel" --file "$top/build/userspace:/root/bin" \
			--file "$scripts/guest-demo.sh" -- /root/guest-demo.sh >&2 && result=hello || result=FAILED
		if [[ $result == hello ]]; then
			result=$("$scripts/test.sh" "$kernel" "$quick" | tee >(cat >&2) | tail -n 1) || result="FAILED $result"
		fi
	fi
	[[ $result != FAILED* ]] || failed=$((failed + 1))
	table+=$(printf '%-50s %s' "$kernel" "$result")$'\n'
done
echo -n "${table:-there is nothing else to build for$'\n'}"
exit $((failed > 0))
