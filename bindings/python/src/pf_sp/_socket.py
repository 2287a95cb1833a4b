# SPDX-License-Identifier: MIT
"""The socket."""

import errno
import os
import socket
import struct
from collections.abc import Iterator
from typing import Any, Self, overload

from . import _constants as sp
from ._info import Info

# What the module takes unless SP_RCVMAXSIZE says otherwise. Memory that a shorter
# message does not fill is never touched.
_LIMIT = 16 << 20

_NAMES = {getattr(sp, name): name[5:] for name in dir(sp) if name.startswith("SOCK_")}


class _Option:
    """An option of level SOL_SP whose value is an int."""

    def __init__(self, number: int, doc: str) -> None:
        self.number = number
        self.__doc__ = doc

    @overload
    def __get__(self, owner: None, _: object) -> Self: ...
    @overload
    def __get__(self, owner: "Socket", _: object) -> int: ...
    def __get__(self, owner: "Socket | None", _: object) -> Self | int:
        if owner is None:
            return self
        return owner.getsockopt(sp.SOL_SP, self.number)

    def __set__(self, owner: "Socket", value: int) -> None:
        owner.setsockopt(sp.SOL_SP, self.number, value)


class Socket(socket.socket):
    """A socket of family PF_SP and of a type such as SOCK_REQ.

    Addresses are those of TCP, ``(host, port)``, of IPv4 or IPv6; any number of ``bind`` and
    ``connect`` on one socket. One ``send`` is one message and one ``recv`` gives one.
    """

    def __init__(self, type: int = -1, *, pf: int = sp.PF_SP, fileno: int | None = None) -> None:
        """Opens a socket, or takes the descriptor ``fileno`` for one.

        ``pf`` is for a module that was loaded with another number.
        """
        if fileno is None:
            fileno = socket.socket(pf, type, 0).detach()
        # Python refuses addresses for families it does not know; of a descriptor it believes
        # what it is told. As of AF_INET6 it has room for addresses of both kinds.
        super().__init__(socket.AF_INET6, type, 0, fileno)

    def __repr__(self) -> str:
        kind = _NAMES.get(int(self.type), str(int(self.type)))
        state = "closed" if self.fileno() < 0 else f"fd={self.fileno()}"
        return f"<{__name__.partition('.')[0]}.Socket {kind} {state}>"

    def dup(self) -> Self:
        """Another descriptor of this socket."""
        copy = self.__class__(self.type, fileno=os.dup(self.fileno()))
        copy.settimeout(self.gettimeout())
        return copy

    # Python's own take addresses of one family.

    def bind(self, address: Any) -> None:
        """Listens at ``(host, port)``."""
        family, found = _look_up(address, socket.AI_PASSIVE)
        with _As(family, self) as same:
            same.bind(found)

    def connect(self, address: Any) -> None:
        """Dials ``(host, port)``, and redials for as long as the socket lives; never waits."""
        family, found = _look_up(address)
        with _As(family, self) as same:
            same.connect(found)

    def remove(self, address: Any) -> None:
        """Removes the endpoint of ``(host, port)``, with its peers."""
        self.setsockopt(sp.SOL_SP, sp.SP_REMOVE, _packed(*_look_up(address)))

    def recv_message(self, limit: int = _LIMIT, flags: int = 0) -> bytes:
        """Receives one message, whole.

        Raises EOFError when nothing comes any more, after ``shutdown(SHUT_RD)``; an empty
        message is ``b""``. One of more than ``limit`` bytes is lost, and raises EMSGSIZE.
        """
        message, _, flags, _ = self.recvmsg(limit, 0, flags)
        if flags & socket.MSG_TRUNC:
            raise OSError(errno.EMSGSIZE, f"a message of more than {limit} bytes")
        # Every message has this flag, and only messages have.
        if not flags & socket.MSG_EOR:
            raise EOFError
        return message

    def __iter__(self) -> Iterator[bytes]:
        """Messages, until ``shutdown(SHUT_RD)``."""
        while True:
            try:
                message = self.recv_message()
            except EOFError:
                return
            yield message

    def subscribe(self, topic: bytes | str = b"") -> None:
        """Asks for the messages that begin with ``topic``: all, if it is empty. SOCK_SUB."""
        self.setsockopt(sp.SOL_SP, sp.SP_SUBSCRIBE, _bytes(topic))

    def unsubscribe(self, topic: bytes | str = b"") -> None:
        """Takes back one ``subscribe`` of that topic."""
        self.setsockopt(sp.SOL_SP, sp.SP_UNSUBSCRIBE, _bytes(topic))

    @property
    def peers(self) -> int:
        """How many peers are connected now."""
        return self.getsockopt(sp.SOL_SP, sp.SP_PEERS)

    def info(self) -> Info:
        """State and counters."""
        return Info.from_bytes(self.getsockopt(sp.SOL_SP, sp.SP_INFO, Info.LAYOUT.size))

    req_resend_ivl = _Option(sp.SP_REQ_RESEND_IVL, "ms until a request is sent again; SOCK_REQ")
    reconnect_ivl = _Option(sp.SP_RECONNECT_IVL, "ms between two attempts to connect")
    reconnect_ivl_max = _Option(sp.SP_RECONNECT_IVL_MAX, "ms that those may grow to; 0: do not")
    rcvmaxsize = _Option(sp.SP_RCVMAXSIZE, "bytes of the largest message that a peer may send")
    sndmaxsize = _Option(sp.SP_SNDMAXSIZE, "bytes of the largest message that send() takes")
    maxttl = _Option(sp.SP_MAXTTL, "tags that a request may carry; SOCK_REP")
    sndprio = _Option(sp.SP_SNDPRIO, "rank for sending of later endpoints; SOCK_REQ, SOCK_PUSH")
    rcvprio = _Option(sp.SP_RCVPRIO, "rank for receiving of later endpoints; the others but PUB")


class _As:
    """The same descriptor as a socket of another family, for one call."""

    def __init__(self, family: int, owner: Socket) -> None:
        self.same = socket.socket(family, owner.type, 0, owner.fileno())

    def __enter__(self) -> socket.socket:
        return self.same

    def __exit__(self, *_: object) -> None:
        self.same.detach()


def _look_up(address: Any, flags: int = 0) -> tuple[int, Any]:
    # TCP is below; for the type of these sockets a resolver has no entry.
    host, port, *rest = address
    found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=flags)
    family, _, _, _, sockaddr = found[0]
    # Flow and scope, as getsockname() gives them for IPv6.
    return family, (*sockaddr[:2], *rest) if len(rest) == 2 else sockaddr


def _packed(family: int, address: Any) -> bytes:
    # struct sockaddr_in and struct sockaddr_in6
    raw = socket.inet_pton(family, address[0].partition("%")[0])
    head = struct.pack("=H", family) + struct.pack("!H", address[1])
    if family == socket.AF_INET:
        return head + raw + bytes(8)
    return head + struct.pack("!I", address[2]) + raw + struct.pack("=I", address[3])


def _bytes(topic: bytes | str) -> bytes:
    return topic.encode() if isinstance(topic, str) else topic
