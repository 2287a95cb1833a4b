# SPDX-License-Identifier: MIT
"""weather_sub.py HOST PORT TOPIC [COUNT]: prints the reports that begin with TOPIC."""

import itertools
import sys

import pf_sp

host, port, topic, *count = sys.argv[1:]
with pf_sp.Socket(pf_sp.SOCK_SUB) as subscriber:
    # Before connecting, to miss nothing.
    subscriber.subscribe(topic)
    subscriber.connect((host, int(port)))
    for report in itertools.islice(subscriber, int(count[0]) if count else None):
        print("received", report.decode(), flush=True)
