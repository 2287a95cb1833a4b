#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# guest-deb.sh OLDER NEWER
#
# PID 1 of a Debian with version OLDER of the packages, and NEWER in /root: uses,
# upgrades and removes them as its owner would, and prints a line for each step.
# Where its kernel was told to take no module but those that are signed with a key of
# its own, sees that refused, and no more.

export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root DEBIAN_FRONTEND=noninteractive
older=$1 newer=$2
cd /root || exit
mount -o remount,rw /
mount -t tmpfs tmpfs /tmp
ip link set lo up
echo 1 >/proc/sys/kernel/printk

number=0
# step NAME COMMAND...
step() {
	name=$1
	shift
	number=$((number + 1))
	if "$@" >/tmp/said 2>&1; then
		echo "ok $number $name"
	else
		sed 's/^/# /' /tmp/said
		echo "not ok $number $name"
	fi
}

loaded() { grep -q '^sp ' /proc/modules; }
not() { ! "$@"; }
status() { dkms status pf-sp "$@" | grep -q "$release.*: installed"; }
release=$(uname -r)

rejected() {
	not modprobe sp && grep -q 'Key was rejected by service' /tmp/said
}

hello() {
	timeout 20 ./hello &
	timeout 20 ./hello_rep --connect --count 1 127.0.0.1 5577 && wait $!
}

# What it has is in the package, with the page and what the shell completes.
spcat() {
	timeout 20 /usr/bin/spcat --rep -L 5579 -D World --count 1 --ascii >/tmp/heard &
	[ "$(timeout 20 /usr/bin/spcat --req -l 5579 -D Hello)" = World ] && wait $! && [ "$(cat /tmp/heard)" = Hello ] &&
		[ -e /usr/share/man/man1/spcat.1.gz ] && [ -e /usr/share/bash-completion/completions/spcat ]
}

held() {
	timeout 60 ./hello_rep 127.0.0.1 5588 &
	until grep -q 5588 /proc/net/sp; do kill -0 $! || return; sleep 0.1; done
	not rmmod sp || return
	kill $!
	wait $!
	loaded
}

upgrade() {
	dpkg -i "pf-sp-dkms_${newer}_all.deb" "pf-sp-dev_${newer}_all.deb" "pf-sp-utils_${newer}_amd64.deb" && grep -q 'module that is loaded stays' /tmp/said
}

again() { rmmod sp && not loaded && hello && loaded; }

refused() {
	rmmod sp && not hello && grep -q 'Address family not supported' /tmp/said
}

clean() {
	find /var/cache/pf-sp /var/lib/dkms/pf-sp /usr/src/pf-sp* /usr/include/netinet/sp.h /usr/include/linux/sp.h \
		/usr/share/man/man7/sp* /usr/share/pkgconfig/pf-sp.pc /usr/bin/spcat /usr/bin/spstat /usr/share/man/man1/spcat.1* /usr/share/man/man1/spstat.1* \
		/usr/share/bash-completion/completions/spcat /usr/lib/*/wireshark 2>/dev/null
	find /lib/modules -name 'sp.ko*'
	[ ! -s /tmp/said ]
}

if grep -q module.sig_enforce /proc/cmdline; then
	echo 1..1
	step 'a kernel that takes only modules signed with keys of its own says that it is the key' rejected
else
	echo 1..15
	step 'it is installed for the kernel that came after it' status -v "$older"
	step 'nothing is loaded' not loaded
	step 'the first socket loads it, and hello is heard' hello
	step 'it is loaded' loaded
	step "DKMS's key has signed it" sh -c "modinfo -F signer sp | grep -qi dkms"
	step 'the manual is there' test -e /usr/share/man/man7/sp.7.gz
	step 'spcat asks, and answers' spcat
	step 'an open socket keeps it' held
	step 'an upgrade builds the new one, the old one stays loaded' upgrade
	step 'the new one is installed' status -v "$newer"
	step 'the new one is loaded by the next socket' again
	step 'the packages are removed' dpkg --purge pf-sp-dkms pf-sp-dev pf-sp-utils
	step 'what is loaded still works' hello
	step 'once it is unloaded the family is gone' refused
	step 'nothing is left of it' clean
fi
echo "done"
sync
mount -o remount,ro /
echo o >/proc/sysrq-trigger
sleep 60
