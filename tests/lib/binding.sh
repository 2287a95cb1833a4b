# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0
#
# What the tests of the packages for other languages share: their examples with the C
# programs of userspace/, each in both roles, over IPv4 and IPv6. Whoever includes this
# sets `here` and `language`, and
#
#	example NAME ARGUMENT...	becomes an example
# shellcheck disable=SC2154 # here, language

bin=$here/../bin
folder=$here/../bindings/$language
SP_HEADER=$folder/../sp.h
export SP_HEADER
# shellcheck source=/dev/null # the kernel's
. "$here/ktap_helpers.sh"

out=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null; rm -rf "$out"' EXIT

begin() {
	"$@" >"$out/background" 2>"$out/errors" &
	background=$!
}

# twice LINE
twice() {
	printf '%s\n' "$1" "$1"
}

# The text that came out, if it was this.
expect() {
	[ "$1" = "$2" ] && return
	ktap_print_msg "expected '$1', got '$2'"
	sed 's/^/# /' "$out/errors"
	return 1
}

# Runs a suite of the language's own.
suite() {
	timeout 120 "$@" >"$out/suite" 2>&1 && return
	sed 's/^/# /' "$out/suite"
	return 1
}

server() {
	begin example hello_rep 127.0.0.1 6951 2
	said=$(timeout 90 "$bin/hello_req" --count 2 127.0.0.1 6951 2>/dev/null)
	wait $background && expect "$(twice 'sent Hello, received World')" "$said" &&
		expect "$(twice 'received Hello, replied World')" "$(cat "$out/background")"
}

client() {
	begin timeout 90 "$bin/hello_rep" --count 2 ::1 6952
	said=$(example hello_req ::1 6952 2)
	wait $background && expect "$(twice 'sent Hello, received World')" "$said" &&
		expect "$(twice 'received Hello, replied World')" "$(cat "$out/background")"
}

publisher() {
	begin example weather_pub ::1 6953 5
	said=$(timeout 90 "$bin/weather_sub" --count 2 ::1 6953 Paris 2>/dev/null)
	wait $background && expect "$(twice 'received Paris: 14 C, rain')" "$said" &&
		expect 5 "$(grep -c '^published ' "$out/background")"
}

subscriber() {
	begin timeout 90 "$bin/weather_pub" --peers 1 --count 5 --interval 0.1 127.0.0.1 6954
	said=$(example weather_sub 127.0.0.1 6954 Paris 2)
	wait $background && expect "$(twice 'received Paris: 14 C, rain')" "$said"
}

# binding_tests NAME...: the above, and those that the language has beside them.
binding_tests() {
	ktap_print_header
	if ! [ -d "$folder" ]; then
		ktap_skip_all "no $language here"
		exit "$KSFT_SKIP"
	fi
	set -- server client publisher subscriber "$@"
	ktap_set_plan $#
	for test; do
		ktap_test_result "$test" "$test"
	done
	ktap_finished
}
