# SPDX-License-Identifier: MIT
"""hello_req.py HOST PORT [COUNT]: sends the request Hello, prints the reply."""

import sys

import pf_sp

host, port, *count = sys.argv[1:]
with pf_sp.Socket(pf_sp.SOCK_REQ) as client:
    client.connect((host, int(port)))
    for _ in range(int(count[0]) if count else 1):
        client.send(b"Hello")
        print("sent Hello, received", client.recv_message().decode(), flush=True)
