#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# guest-test.sh PREFIX TEST...
#
# In the guest: runs each test, bounded, then unloads the module and, where the
# kernel can tell, looks for leaked memory. The `#>` lines tell ktap.awk what is
# whose.

prefix=$1
shift
leaks=/sys/kernel/debug/kmemleak
[ ! -e $leaks ] || echo clear >$leaks
cd /root/tests || exit
SP_KO=/lib/modules/$(uname -r)/sp.ko
export SP_KO

# Ample, for the machine may be busy with something else; where time is work,
# waiting takes none of ours.
limit=900
[ "$SP_GUEST" != counted ] || limit=1200

for name; do
	echo "#> begin $prefix$name"
	begun=$(date +%s)
	timeout -k 5 $limit "./$name" 2>&1
	echo "#> end $prefix$name $? $(($(date +%s) - begun))"
done

# What closed sockets still deliver may hold the module for a while.
unload() {
	for _ in $(seq 45); do
		rmmod sp 2>/run/rmmod && return
		sleep 1
	done
	sed 's/^/# /' /run/rmmod
	return 1
}

# The kernel doubts what is younger than five seconds.
leaked() {
	echo scan >$leaks
	sleep 6
	echo scan >$leaks
	grep -q . $leaks
}

echo "#> begin ${prefix}unload"
[ -e $leaks ] && echo 1..2 || echo 1..1
unload && echo 'ok 1 the module unloads' || echo 'not ok 1 the module unloads'
if [ -e $leaks ]; then
	if leaked; then
		sed 's/^/# /' $leaks
		echo 'not ok 2 no memory is leaked'
	else
		echo 'ok 2 no memory is leaked'
	fi
fi
echo "#> end ${prefix}unload 0"
