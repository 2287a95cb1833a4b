#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# The package for Python: its own tests, and its examples with the C programs.

here=$(dirname "$0")
language=python
# shellcheck source=tests/lib/binding.sh
. "$here/lib/binding.sh"
export PYTHONPATH="$folder/lib" PYTHONWARNINGS=error

example() {
	name=$1
	shift
	exec timeout 90 python3 "$folder/examples/$name.py" "$@"
}

constants() {
	suite python3 "$folder/tests/test_constants.py"
}

sockets() {
	suite python3 "$folder/tests/test_socket.py"
}

# Each client gets its reply, in whatever order.
async_server_and_clients() {
	said=$(example hello_async 127.0.0.1 6955 2>"$out/errors" | sort | xargs)
	expect 'World to Ada World to Bob World to Eve' "$said"
}

binding_tests constants sockets async_server_and_clients
