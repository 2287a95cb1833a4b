# SPDX-License-Identifier: GPL-2.0
"""pynng sockets on this machine, for a test in a guest to command.

    pynng_peer.py GUESTPORT_ON_HOST

Listens on a free port of 127.0.0.1, prints it, and serves until killed. A
connection owns the sockets that it opens, and they are closed when it ends. A
request is a byte that says what to do, a socket's number and the length of what
follows (32 bits each, big endian), the response a byte (0, or 1 with a
complaint, or 2 for no message) and the same length and body. tests/peers/pynng.c
is the other end.
"""

import socket
import struct
import sys
import threading

import pynng

PATIENCE_MS = 30000
TYPES = {
    b"req": pynng.Req0,
    b"rep": pynng.Rep0,
    b"pub": pynng.Pub0,
    b"sub": pynng.Sub0,
    b"push": pynng.Push0,
    b"pull": pynng.Pull0,
}


def url(port):
    return f"tcp://127.0.0.1:{port}"


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def read(connection, size):
    data = bytearray()
    while len(data) < size:
        part = connection.recv(size - len(data))
        if not part:
            raise EOFError
        data += part
    return bytes(data)


class Session:
    """What one test does."""

    def __init__(self, guest_port):
        self.guest_port = guest_port
        self.sockets = {}
        self.opened = 0

    def close_all(self):
        for s in self.sockets.values():
            s.close()

    def do(self, what, number, body):
        if what == b"o":
            s = TYPES[body](recv_timeout=PATIENCE_MS, send_timeout=PATIENCE_MS)
            s.reconnect_time_min = 20
            self.opened += 1
            self.sockets[self.opened] = s
            return str(self.opened).encode()
        if what == b"p":
            return str(free_port()).encode()
        s = self.sockets[number]
        if what == b"c":
            del self.sockets[number]
            s.close()
        elif what == b"l":
            s.listen(url(int(body)))
        elif what == b"d":  # to one that listens here, or else to the guest
            s.dial(url(int(body or self.guest_port)), block=False)
        elif what == b"t":
            s.subscribe(body)
        elif what == b"s":
            s.send(body)
        elif what in b"rn":  # recv() itself raises if the message is empty
            return s.recv_msg(block=what == b"r").bytes
        else:
            raise ValueError(what)
        return b""

    def serve(self, connection):
        with connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while True:
                what, number, size = struct.unpack("!cII", read(connection, 9))
                body = read(connection, size)
                try:
                    status, body = 0, self.do(what, number, body)
                except pynng.TryAgain:
                    status, body = 2, b""
                except Exception as e:  # whatever it is, the test is told
                    status, body = 1, repr(e).encode()
                connection.sendall(struct.pack("!BI", status, len(body)) + body)


def serve(connection, guest_port):
    session = Session(guest_port)
    try:
        session.serve(connection)
    except (EOFError, OSError):
        pass  # the test has ended
    session.close_all()


def main():
    with socket.create_server(("127.0.0.1", 0)) as server:
        print(server.getsockname()[1], flush=True)
        while True:
            connection, _ = server.accept()
            threading.Thread(target=serve, args=(connection, int(sys.argv[1])), daemon=True).start()


main()
