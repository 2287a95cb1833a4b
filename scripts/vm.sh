#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Boots one guest, loads sp.ko, runs one command in it. The command's output is
# this script's output and so is its exit status; a guest that hangs gives 124,
# one that dies, or whose kernel complains, 125, with the kernel log shown.
set -euo pipefail

usage() {
	cat >&2 <<-'END'
	Usage: scripts/vm.sh [OPTION]... -- COMMAND [ARGUMENT]...
	  --kernel KERNEL               what to boot: stock (Debian's), debug, norust,
	                                SUITE/RELEASE, or the path of a bzImage (stock)
	  --module FILE                 the sp.ko to load (the kernel's own build)
	  --no-module                   none: neither built nor brought along
	  --smp N, --mem MB             CPUs (2) and memory (1024; debug: 2048)
	  --icount                      one CPU whose clock counts instructions
	  --profile FILE                note what code is executed, see profile.c
	  --modules                     bring modules of the kernel's own that tests need
	  --forward HOSTPORT:GUESTPORT  127.0.0.1:HOSTPORT reaches the guest
	  --file SRC[:DST]              put a file or folder at DST (/root/NAME)
	  --tty                         give COMMAND this terminal
	  --timeout SECONDS             kill a guest that takes longer (300)
	  --log FILE                    keep the kernel log
	END
	exit 2
}

scripts=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=scripts/lib.sh
. "$scripts/lib.sh"

kernel=stock module='' modules='' load=y smp=2 mem='' icount='' profile='' tty='' timeout=300 keep=''
forwards='' files=()
while (($#)); do
	case $1 in
	--kernel) kernel=${2?}; shift ;;
	--module) module=${2?}; shift ;;
	--no-module) load='' ;;
	--smp) smp=${2?}; shift ;;
	--mem) mem=${2?}; shift ;;
	--icount) icount=y ;;
	--profile) profile=${2?}; shift ;;
	--modules) modules=y ;;
	--forward)
		[[ ${2?} == *:* ]] || die "--forward wants HOSTPORT:GUESTPORT, not '$2'"
		modules=y
		forwards+=",hostfwd=tcp:127.0.0.1:${2%:*}-:${2#*:}"
		shift
		;;
	--file) files+=("${2?}"); shift ;;
	--tty) tty=y ;;
	--timeout) timeout=${2?}; shift ;;
	--log) keep=${2?}; shift ;;
	--) shift; break ;;
	*) usage ;;
	esac
	shift
done
(($#)) || usage
[[ -n $load || -z $module ]] || die '--module and --no-module exclude each other'
[[ -z $tty || -t 0 ]] || die '--tty needs a terminal on standard input'

"$scripts/setup-packages.sh" build guest
# no5lvl: a debug guest died in early boot, by the address in what KASAN makes of
# a fifth level of page tables. Suspected, not proven. no_timer_check: whether
# the timer ticks in time is no question for a machine that may be busy. kfence: ten
# times a second it would change code, which an emulator then translates anew.
append='console=ttyS0 reboot=t panic=-1 oops=panic tsc=reliable no5lvl no_timer_check kfence.sample_interval=0'
pack=()
if [[ -f $kernel ]]; then
	image=$kernel
	[[ -z $load || -n $module ]] || module=$scripts/../sp.ko
else
	build=$("$scripts/setup-kernel.sh" "$kernel")
	image=$build/arch/x86/boot/bzImage
	[[ -z $load || -n $module ]] || module=$("$scripts/build-module.sh" "$kernel" "${kernel//\//-}")
	if [[ -n $modules ]]; then
		modules=$("$scripts/setup-modules.sh" "$build")
		pack+=("$modules:/lib/modules/kernel")
	fi
fi
if [[ $kernel == debug ]]; then
	append+=' panic_on_warn=1 watchdog_thresh=60'
	: "${mem:=2048}"
fi
[[ -r $image ]] || die "no kernel image '$image'"
[[ -z $load || -r $module ]] || die "no module '$module'; build it or name one with --module"

work=$(mktemp -d)
log=${keep:-$work/log}
: >"$log"
pids=()
terminal=$([[ -z $tty ]] || stty -g)
# shellcheck disable=SC2317 # called by the trap
cleanup() {
	((!${#pids[@]})) || kill "${pids[@]}" 2>/dev/null || true
	[[ -z $terminal ]] || stty "$terminal"
	rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# The command as a script for the guest's shell: each word in single quotes, so
# that nothing in it means anything.
quote() {
	printf "'%s' " "${@//\'/\'\\\'\'}"
}
mkdir "$work/vm"
if [[ -n $tty ]]; then
	touch "$work/vm/tty"
	read -r rows columns < <(stty size)
	echo "stty rows $rows cols $columns; export TERM=$(quote "${TERM:-vt100}")" >"$work/vm/command"
fi
echo "exec $(quote "$@")" >>"$work/vm/command"

pack+=("$work/vm:/etc/vm")
[[ -z $load ]] || pack+=("$module:/lib/modules/sp.ko")
for file in "${files[@]}"; do
	src=${file%%:*} dst=/root/${file##*/}
	[[ $file != *:* ]] || dst=${file#*:}
	[[ -r $src ]] || die "--file: cannot read '$src'"
	pack+=("$src:$dst")
done

if [[ -n $icount ]]; then
	machine=(-accel 'tcg,thread=single' -icount 'shift=0,sleep=off' -smp 1 -cpu 'max,erms=off,fsrm=off')
elif grep -qwE 'vmx|svm' /proc/cpuinfo && : 2>/dev/null <>/dev/kvm; then
	machine=(-accel kvm -cpu host -smp "$smp")
else
	# /dev/kvm without the CPU flag is a nested host's, and hangs.
	machine=(-accel 'tcg,thread=multi' -cpu max -smp "$smp")
	gcc -O2 -static -o "$work/vm/timestamps" "$scripts/timestamps.c"
fi
"$scripts/mkinitramfs.sh" "$work/initramfs" "${pack[@]}"
# An instruction counts as a nanosecond, or else the counter is the host's.
khz=1000000
if [[ -z $icount ]]; then
	gcc -O2 -o "$work/tsc-khz" "$scripts/tsc-khz.c"
	khz=$("$work/tsc-khz")
fi
append+=" tsc_early_khz=$khz"

if [[ -n $profile ]]; then
	gcc -O2 -shared -fPIC -o "$work/profile.so" "$scripts/profile.c"
	machine+=(-plugin "$work/profile.so")
	export PROFILE=$profile
	append+=' nokaslr'
fi

machine+=(-M q35 -bios qboot.rom -m "${mem:-1024}" -no-reboot
	-nodefaults -no-user-config -display none
	-kernel "$image" -initrd "$work/initramfs" -append "$append"
	-chardev "file,id=log,path=$log" -serial chardev:log
	-device virtio-serial-pci
	-chardev "file,id=status,path=$work/status"
	-device 'virtserialport,nr=3,chardev=status')
if [[ -n $tty ]]; then
	machine+=(-chardev 'stdio,id=tty,signal=off' -device 'virtconsole,nr=0,chardev=tty')
else
	# A file chardev would truncate what our output is redirected to.
	mkfifo "$work/stdout" "$work/stderr"
	cat "$work/stdout" &
	pids+=($!)
	cat "$work/stderr" >&2 &
	pids+=($!)
	machine+=(-chardev "file,id=out,path=$work/stdout" -device 'virtserialport,nr=1,chardev=out'
		-chardev "file,id=err,path=$work/stderr" -device 'virtserialport,nr=2,chardev=err')
fi
[[ -z $forwards ]] || machine+=(-netdev "user,id=net$forwards" -device 'virtio-net-pci,netdev=net,romfile=')

# A guest that comes to nothing before its kernel runs /init has run nothing of
# ours: it is started anew. While it boots, a kernel compares the emulated timers.
# Where the machine is busy they may differ too much for it, and then it keeps time
# by counting ticks, wrongly, if it gets anywhere at all: that may happen again and
# again, for five minutes at most. For other deaths two more tries will do.
run() {
	local guest died deaths=0 start=$SECONDS
	# The readers are not to see the end of a guest that is started anew.
	[[ -n $tty ]] || exec 8<>"$work/stdout" 9<>"$work/stderr"
	while :; do
		: >"$log"
		setpriv --pdeathsig TERM timeout --foreground -k 5 "$timeout" \
			qemu-system-x86_64 "${machine[@]}" <&0 2>"$work/qemu" &
		guest=$!
		until grep -qE 'Run /init|APIC timer disabled' "$log" || ! kill -0 "$guest" 2>/dev/null; do
			sleep 0.2
		done
		if ((SECONDS - start < 300)) && grep -q 'APIC timer disabled' "$log" && ! grep -q 'Run /init' "$log"; then
			say 'the machine is busy: starting the guest anew'
			kill "$guest" 2>/dev/null || true
			wait "$guest" || true
			continue
		fi
		died=0
		wait "$guest" || died=$?
		# It came to something, or QEMU did not even start it, or it took too long.
		if [[ -s $work/status || ! -s $log ]] || ((died == 124 || deaths == 2)) || grep -q 'Run /init' "$log"; then
			return "$died"
		fi
		deaths=$((deaths + 1))
		tail -n 20 "$log" >&2
		say 'the guest died before anything of ours ran in it: starting it anew'
	done
}

# In the background, because bash runs no trap while it waits for a child in
# the foreground; and gone with us, however we go.
run <&0 &
qemu=$!
pids+=("$qemu")
died=0
wait -n -p ended "${pids[@]}" || died=$?
if [[ $ended != "$qemu" ]]; then
	# A reader that fails lost whoever read our output: no use in going on.
	((!died)) || ! kill -0 "$qemu" 2>/dev/null || exit "$died"
	died=0
	wait "$qemu" || died=$?
fi
if [[ -z $tty ]]; then
	# An end for readers that QEMU never opened the other side of.
	: <>"$work/stdout" <>"$work/stderr"
	wait
fi
pids=()

if [[ ! -s $work/status ]]; then
	# What matters first: the log is long.
	if ((died == 124)); then
		say "the guest did not finish in $timeout s; the end of its log:"
	else
		died=125
		say 'the guest died before the command ended; the end of its log:'
	fi
	cat "$work/qemu" >&2
	tail -n 100 "$log" >&2
	exit "$died"
fi
"$scripts/check-log.sh" "$log" || exit 125
exit "$(<"$work/status")"
