#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# The crate for Rust: its own tests, and its examples with the C programs.

here=$(dirname "$0")
language=rust
# shellcheck source=tests/lib/binding.sh
. "$here/lib/binding.sh"

example() {
	name=$1
	shift
	exec timeout 90 "$folder/$name" "$@"
}

constants() {
	suite "$folder/tests/lib"
}

sockets() {
	suite "$folder/tests/socket"
}

streams() {
	suite "$folder/tests/stream"
}

# Each client gets its reply, in whatever order.
async_server_and_clients() {
	said=$(example hello_async ::1 6956 2>"$out/errors" | sort | xargs)
	expect 'World to Ada World to Bob World to Eve' "$said"
}

binding_tests constants sockets streams async_server_and_clients
