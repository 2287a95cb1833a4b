# SPDX-License-Identifier: MIT
"""hello_rep.py HOST PORT [COUNT]: replies World to each request."""

import itertools
import sys

import pf_sp

host, port, *count = sys.argv[1:]
with pf_sp.Socket(pf_sp.SOCK_REP) as server:
    server.bind((host, int(port)))
    for request in itertools.islice(server, int(count[0]) if count else None):
        server.send(b"World")
        print(f"received {request.decode()}, replied World", flush=True)
