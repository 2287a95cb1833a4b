#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# check-log.sh LOG
#
# Reads a kernel console log; shows the first complaint and what follows it,
# and fails, if there is one. Lockdep's reports begin with WARNING.
set -euo pipefail

complaints=(
	'WARNING:'
	'BUG[: ]'
	'INFO: '
	'Oops'
	'kernel BUG at'
	'Kernel panic'
	'general protection fault'
	'rust_kernel: panicked'
	'unreferenced object'
	'kmemleak: [0-9]+ new'
	'refcount_t:'
	'ref_tracker:'
	'ODEBUG:'
	'unregister_netdevice: waiting'
	'\bnot ok [0-9]+'
)
pattern=$(IFS='|' && echo "${complaints[*]}")

if grep -qE "$pattern" "$1"; then
	echo 'The kernel complained:'
	grep -m1 -E -B5 -A60 "$pattern" "$1"
	exit 1
fi >&2
