#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# userspace/completion: what bash would offer, and that it is what the program takes.

here=$(cd "$(dirname "$0")" && pwd)
top=$here/../..
# shellcheck source=/dev/null # the kernel's
. "$top/build/tests/ktap_helpers.sh"
# shellcheck source=userspace/completion/spcat
. "$top/userspace/completion/spcat"

expect() {
	[[ $1 != "$2" ]] || return 0
	ktap_print_msg "expected '$1', got '$2'"
	return 1
}

# offers EXPECTED WORD...: at the end of the last word.
offers() {
	local expected=$1
	shift
	COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=()
	_spcat
	expect "$expected" "${COMPREPLY[*]}"
}

role_comes_first() {
	offers '--req --rep --pub --sub --push --pull --help' spcat '' && offers '--pub --push --pull' spcat --p
}

options_are_those_of_the_role() {
	offers '--subscribe' spcat --sub --su && offers '' spcat --pull --su && offers '--data' spcat --req -l 5577 --da &&
		offers '' spcat --pull --da && offers '--interval' spcat --push0 --i && offers '' spcat --rep --i
}

arguments() {
	offers 'raw' spcat --pull --format r && offers 'msgpack' spcat --pull --format = m &&
		offers 'no raw ascii quoted hex msgpack' spcat --pull --format = && offers 'tcp://' spcat --pull --bind '' &&
		offers '' spcat --pull -l '' && offers "$here/completion.sh" spcat --push -F "$here/comp"
}

# An option that is offered and refused, or the other way round, would be one that changed.
program_takes_what_is_offered() {
	local role option
	for role in --req --rep --pub --sub --push --pull; do
		COMP_WORDS=(spcat "$role" --) COMP_CWORD=2
		_spcat
		for option in --data --file --send-timeout --interval --delay --peers --recv-timeout --recv-maxsz --count; do
			if timeout 10 "$top/build/userspace/spcat" $role -l 1 $option 1 </dev/null 2>&1 | grep -q "means nothing"; then
				[[ " ${COMPREPLY[*]} " != *" $option "* ]] || { ktap_print_msg "$role $option is refused"; return 1; }
			else
				[[ " ${COMPREPLY[*]} " == *" $option "* ]] || { ktap_print_msg "$role $option is not offered"; return 1; }
			fi
		done
	done
}

ktap_print_header
ktap_set_plan 4
for test in role_comes_first options_are_those_of_the_role arguments program_takes_what_is_offered; do
	ktap_test_result $test $test
done
ktap_finished
