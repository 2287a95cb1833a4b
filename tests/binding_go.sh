#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# The package for Go: its own tests, and its examples with the C programs.

here=$(dirname "$0")
language=go
# shellcheck source=tests/lib/binding.sh
. "$here/lib/binding.sh"

example() {
	name=$1
	shift
	exec timeout 90 "$folder/$name" "$@"
}

sockets() {
	suite "$folder/sp.test" -test.v -test.timeout 100s
}

binding_tests sockets
