#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# The module for Node: its own tests, and its examples with the C programs.

here=$(dirname "$0")
language=node
# shellcheck source=tests/lib/binding.sh
. "$here/lib/binding.sh"

# example NAME HOST PORT [TOPIC] [COUNT], of which HOST, PORT and TOPIC are for the launcher.
example() {
	name=$1 host=$2 port=$3
	shift 3
	topic=
	case $name in
	*_rep) type=rep way=bind ;;
	*_req) type=req way=connect ;;
	*_pub) type=pub way=bind ;;
	*_sub)
		type=sub way=connect topic=$1
		shift
		;;
	esac
	exec timeout 90 "$folder/sp_run" "$type" "$way" "$host" "$port" ${topic:+"$topic"} -- \
		node "$folder/examples/$name.mjs" "$@"
}

sockets() {
	suite "$folder/sp_run" pull bind 127.0.0.1 6957 -- "$folder/sp_run" push connect 127.0.0.1 6957 -- \
		node "$folder/tests/socket.mjs"
}

# A receive that waits holds up the end of a program for a second, not for ever.
exit_with_a_receive_waiting() {
	suite timeout 60 "$folder/sp_run" pull bind 127.0.0.1 6958 -- node --input-type=module --eval "
		import { Socket } from '$folder/index.mjs';
		new Socket().recv();
		setTimeout(() => process.exit(), 100);"
}

binding_tests sockets exit_with_a_receive_waiting
