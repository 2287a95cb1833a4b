#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# In the guest: conversations between our programs, nanomsg's and nng's, for
# test-dissector.sh. Each has a port of its own.
bin=/root/bin tests=/root/tests
local=127.0.0.1

timeout 60 $bin/hello_rep --count 2 $local 25701 &
timeout 60 $bin/hello_req --count 2 $local 25701
wait
timeout 60 $bin/weather_pub --peers 1 --count 2 --interval 0.1 $local 25702 'Oslo: 1' 'Rome: 2' &
timeout 60 $bin/weather_sub --count 2 $local 25702
wait
# A message of several segments.
timeout 60 $tests/sppeer pull bind 25703 >/dev/null &
timeout 60 $tests/sppeer push connect 25703 "$(head -c 100000 /dev/zero | tr '\0' x)"
wait
timeout 60 nanocat --rep --bind tcp://$local:25704 --data World &
timeout 60 $tests/sppeer req connect 25704 Hello
kill $!
timeout 60 nngcat --rep --listen tcp://$local:25705 --data World &
timeout 60 $tests/sppeer req connect 25705 Hello
kill $!
# Types that we do not have.
timeout 5 nngcat --pair1 --listen tcp://$local:25706 --data one --delay 1 &
sleep 0.5
timeout 5 nngcat --pair1 --dial tcp://$local:25706 --data two --delay 1
timeout 10 nngcat --respondent --listen tcp://$local:25707 --data answer &
sleep 0.5
timeout 5 nngcat --surveyor --dial tcp://$local:25707 --data 'who is there?' --delay 1
wait
# Bytes that are no conversation, and a length that nobody can mean.
timeout 60 nc -l -p 25708 >/dev/null &
sleep 0.5
printf '\0SP\0\0\061\0\0\377\377\377\377\377\377\377\377abc' | timeout 5 nc $local 25708
timeout 60 nc -l -p 25709 >/dev/null &
sleep 0.5
printf 'GET / HTTP/1.0\r\n\r\n' | timeout 5 nc $local 25709
wait
true
