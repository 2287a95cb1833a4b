#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# guest-bench.sh WHATS PART TRANSPORT...
#
# In the guest: measures each way to send, with so many PARTs of a hundred of the
# messages; of latency, flood, fan-out and idle what is in WHATS, as "flood:64" in that
# size only. A line each: TRANSPORT WHAT SIZE, and JSON, or "failed" and why.

whats=$1 part=$2
shift 2
perf=/root/perf
port=7000

# Long for whom is slow; one that hangs is to be seen as that.
limit=60
# shellcheck disable=SC3045 # busybox can
ulimit -n 20000

# measure TRANSPORT WHAT SIZE LOCAL REMOTE TELLS COUNT [OTHERS]: runs both programs; TELLS, one
# of them, prints the result.
measure() {
	transport=$1 what=$2 size=$3 local=$4 remote=$5 tells=$6 count=$(($7 * part / 100))
	shift 7
	case " $whats " in *" $what "* | *" $what:$size "*) ;; *) return ;; esac
	port=$((port + 1))
	echo "$transport $what $size" >/dev/kmsg
	timeout $limit "$perf/$transport/$local" $port "$size" "$count" "$@" >/tmp/local 2>/tmp/local.err &
	sleep 0.1
	timeout $limit "$perf/$transport/$remote" $port "$size" "$count" "$@" >/tmp/remote 2>/tmp/remote.err
	status=$?
	wait $! || status=$?
	result=$(cat "/tmp/$tells")
	if [ $status = 0 ] && [ -n "$result" ]; then
		echo "$transport $what $size $result"
	else
		echo "$transport $what $size failed $status $(cat /tmp/local.err /tmp/remote.err | head -n 1)"
	fi
}

# The kernel still tests its ciphers for a while.
for _ in $(seq 100); do
	grep -qsx cryptomgr_test /proc/[0-9]*/comm || break
	sleep 0.1
done
for transport; do
	# One at a time is no batch.
	[ "${transport#sp_}" != "$transport" ] || while read -r size count; do
		measure "$transport" latency "$size" local_lat remote_lat remote "$count" 0
	done <<-END
		1 1000
		64 1000
		1024 1000
		65536 300
		1048576 40
	END
	while read -r size count; do
		measure "$transport" flood "$size" local_thr remote_thr local "$count"
	done <<-END
		1 20000
		64 20000
		1024 10000
		16384 3000
		65536 1000
		1048576 60
	END
	while read -r size count; do
		measure "$transport" fan-out "$size" local_fan remote_fan remote "$count" 32
	done <<-END
		64 1000
		1024 500
	END
	# Who has but one peer at an end has no idle ones.
	case $transport in
	sp | zmq | nanomsg | nng) measure "$transport" idle 64 local_lat remote_lat remote 1000 1000 ;;
	esac
	[ "$transport" != sp ] || measure "$transport" idle 64 local_lat remote_lat remote 1000 5000
done
