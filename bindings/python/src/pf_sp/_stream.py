# SPDX-License-Identifier: MIT
"""The socket for asyncio."""

import asyncio
import contextlib
import socket
from typing import Self

from ._socket import Socket


class Stream:
    """Messages of a socket as coroutines; it becomes non-blocking.

    ``async for message in stream`` gives messages until ``shutdown(SHUT_RD)``. Any number of
    tasks may send and receive; they take turns.
    """

    def __init__(self, sock: Socket) -> None:
        sock.setblocking(False)
        self.socket = sock
        # An event loop has one callback for a descriptor.
        self._receiving = asyncio.Lock()
        self._sending = asyncio.Lock()

    async def connect(self, host: str, port: int) -> None:
        """As ``Socket.connect``, but a name is looked up without blocking the loop."""
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        self.socket.connect(found[0][4])

    async def send(self, message: bytes) -> None:
        """Sends one message; waits while no peer can take it."""
        async with self._sending:
            await asyncio.get_running_loop().sock_sendall(self.socket, message)

    async def recv(self) -> bytes:
        """Receives one message. Raises EOFError when nothing comes any more."""
        # Not loop.sock_recv(): for that an empty message and the end are the same.
        async with self._receiving:
            while True:
                with contextlib.suppress(BlockingIOError):
                    return self.socket.recv_message()
                await self._readable()

    async def _readable(self) -> None:
        loop = asyncio.get_running_loop()
        ready: asyncio.Future[None] = loop.create_future()

        def wake() -> None:
            if not ready.done():
                ready.set_result(None)

        loop.add_reader(self.socket, wake)
        try:
            await ready
        finally:
            loop.remove_reader(self.socket)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        try:
            return await self.recv()
        except EOFError:
            raise StopAsyncIteration from None

    def close(self) -> None:
        self.socket.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()
