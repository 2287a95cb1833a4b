#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# The guest's PID 1: mounts, network, module, then vm.sh's command. Speaks to
# vm.sh through virtio ports: 1 is the command's output, 2 its errors, 3 its
# exit status, which only a guest that came to the end writes.

export PATH=/root/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root

/bin/busybox --install -s /bin
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t debugfs debug /sys/kernel/debug
mount -t cgroup2 cgroup /sys/fs/cgroup
mount -t tmpfs -o mode=1777 tmpfs /tmp
mount -t tmpfs -o mode=755 tmpfs /run
ln -s /proc/self/fd /dev/fd
ln -s fd/0 /dev/stdin
ln -s fd/1 /dev/stdout
ln -s fd/2 /dev/stderr

modules=/lib/modules/$(uname -r)
mkdir -p "$modules"
mv /lib/modules/sp.ko /lib/modules/kernel "$modules" 2>/dev/null
(cd "$modules" && depmod)

hostname guest
# Where vm.sh found it necessary, and before there are packets.
[ ! -x /etc/vm/timestamps ] || /etc/vm/timestamps
ip link set lo up
# Where they are modules: the card, and what a program cannot ask for whose test of
# how modules are loaded has turned that off.
modprobe -a virtio_net tcp_diag 2>/dev/null
if [ -e /sys/class/net/eth0 ]; then
	ip addr add 10.0.2.15/24 dev eth0
	ip link set eth0 up
	ip route add default via 10.0.2.2
fi

# What QEMU prints on the status port is the command's own status; a module
# that does not load counts as a command that was not found.
finish() {
	echo "$1" >/dev/vport0p3
	reboot -f
}

if [ -e "$modules/sp.ko" ]; then
	# KUnit suites run now; test.sh looks for them between these two lines.
	echo 'vm: loading the module' >/dev/kmsg
	if ! modprobe sp 2>/dev/vport0p2; then
		finish 127
	fi
	echo 'vm: running the command' >/dev/kmsg
fi

cd /root || finish 127
if [ -e /etc/vm/tty ]; then
	setsid -c sh /etc/vm/command </dev/hvc0 >/dev/hvc0 2>&1
	finish $?
fi

# A port can be opened once, so the command writes to pipes: then it may open
# /dev/stdout again and so may its children.
mkfifo /run/stdout /run/stderr
cat /run/stdout >/dev/vport0p1 & out=$!
cat /run/stderr >/dev/vport0p2 & err=$!
setsid sh /etc/vm/command </dev/null >/run/stdout 2>/run/stderr
status=$?

# What the command left behind would keep the pipes open. Its last packets are stamped, too.
stamps=$(pidof timestamps)
for process in /proc/[0-9]*; do
	case ${process#/proc/} in
	1 | "$out" | "$err" | "$stamps") ;;
	*) kill -9 "${process#/proc/}" 2>/dev/null ;;
	esac
done
wait "$out" "$err"
finish "$status"
