# SPDX-License-Identifier: MIT
"""weather_pub.py HOST PORT [COUNT]: publishes reports, once there is a subscriber."""

import itertools
import sys
import time

import pf_sp

FORECAST = ("Bratislava: 21 C, sunny", "Paris: 14 C, rain", "London: 12 C, fog")

host, port, *count = sys.argv[1:]
with pf_sp.Socket(pf_sp.SOCK_PUB) as publisher:
    publisher.bind((host, int(port)))
    while not publisher.peers:
        time.sleep(0.01)
    for report in itertools.islice(itertools.cycle(FORECAST), int(count[0]) if count else None):
        publisher.send(report.encode())
        print("published", report, flush=True)
        time.sleep(0.1)
