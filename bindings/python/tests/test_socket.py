# SPDX-License-Identifier: MIT
"""Sockets and streams, where the module is loaded."""

import asyncio
import errno
import os
import selectors
import socket
import time
import unittest
from collections.abc import Iterator

import pf_sp


class Pair(unittest.TestCase):
    """Two sockets that are connected, and time out."""

    def pair(self, binds: int, connects: int, host: str = "127.0.0.1") -> Iterator[pf_sp.Socket]:
        first, second = pf_sp.Socket(binds), pf_sp.Socket(connects)
        for one in first, second:
            self.addCleanup(one.close)
            one.settimeout(20)
        if connects == pf_sp.SOCK_SUB:
            second.subscribe("news")
        first.bind((host, 0))
        second.connect((host, first.getsockname()[1]))
        while not first.peers or not second.peers:
            time.sleep(0.01)
        return iter((first, second))


class Sockets(Pair):
    def test_is_a_socket(self) -> None:
        rep, req = self.pair(pf_sp.SOCK_REP, pf_sp.SOCK_REQ)
        self.assertIsInstance(rep, socket.socket)
        self.assertIn("REP fd=", repr(rep))
        with selectors.DefaultSelector() as selector:
            selector.register(rep, selectors.EVENT_READ)
            req.send(b"Hello")
            self.assertTrue(selector.select(20))
        request, peer = rep.recvfrom(100)
        self.assertEqual((b"Hello", "127.0.0.1"), (request, peer[0]))
        rep.sendmsg([b"Wor", b"ld"])
        self.assertEqual(b"World", req.recv(100))

    def test_ipv6_and_ipv4_on_one_socket(self) -> None:
        rep, req = self.pair(pf_sp.SOCK_REP, pf_sp.SOCK_REQ, "::1")
        self.assertEqual("::1", rep.getsockname()[0])
        rep.bind(("127.0.0.1", 0))
        self.assertEqual("127.0.0.1", rep.getsockname()[0])
        req.connect(("localhost", rep.getsockname()[1]))
        req.send(b"Hello")
        self.assertEqual(b"Hello", rep.recv_message())
        self.assertEqual(2, rep.info().listeners)

    def test_options(self) -> None:
        rep, req = self.pair(pf_sp.SOCK_REP, pf_sp.SOCK_REQ)
        self.assertEqual(
            (60000, 100, 0), (req.req_resend_ivl, req.reconnect_ivl, req.reconnect_ivl_max)
        )
        self.assertEqual((16 << 20, 16 << 20), (req.rcvmaxsize, req.sndmaxsize))
        self.assertEqual((8, 8, 8), (rep.maxttl, rep.rcvprio, req.sndprio))
        req.sndmaxsize = 3
        with self.assertRaises(OSError) as raised:
            req.send(b"Hello")
        self.assertEqual(errno.EMSGSIZE, raised.exception.errno)
        with self.assertRaises(OSError):
            rep.subscribe("nothing")

    def test_info(self) -> None:
        rep, req = self.pair(pf_sp.SOCK_REP, pf_sp.SOCK_REQ)
        req.send(b"Hello")
        rep.recv(100)
        info = rep.info()
        self.assertEqual(
            (pf_sp.SOCK_REP, 1, 1, 1, 5),
            (info.type, info.listeners, info.pipes, info.rx_msgs, info.rx_bytes),
        )

    def test_remove(self) -> None:
        for host in "127.0.0.1", "::1":
            rep, req = self.pair(pf_sp.SOCK_REP, pf_sp.SOCK_REQ, host)
            req.remove((host, rep.getsockname()[1]))
            rep.remove(rep.getsockname())
            self.assertEqual((0, 0), (rep.info().listeners, req.info().dialers))

    def test_topics(self) -> None:
        pub, sub = self.pair(pf_sp.SOCK_PUB, pf_sp.SOCK_SUB)
        for message in b"gossip", b"news: 1", b"news: 2":
            pub.send(message)
        self.assertEqual([b"news: 1", b"news: 2"], [sub.recv_message(), sub.recv_message()])
        sub.unsubscribe(b"news")
        with self.assertRaises(OSError):
            sub.unsubscribe(b"news")

    def test_long_empty_and_last_message(self) -> None:
        push, pull = self.pair(pf_sp.SOCK_PUSH, pf_sp.SOCK_PULL)
        for message in bytes(1 << 20), b"", b"too long", b"last":
            push.send(message)
        self.assertEqual(1 << 20, len(pull.recv_message()))
        self.assertEqual(b"", pull.recv_message())
        with self.assertRaises(OSError) as raised:
            pull.recv_message(3)
        self.assertEqual(errno.EMSGSIZE, raised.exception.errno)
        pull.recv_message(4, socket.MSG_PEEK)
        pull.shutdown(socket.SHUT_RD)
        self.assertEqual([b"last"], list(pull))

    def test_descriptor_can_be_duplicated_and_inherited(self) -> None:
        push, pull = self.pair(pf_sp.SOCK_PUSH, pf_sp.SOCK_PULL)
        with pull.dup() as copy, pf_sp.Socket(fileno=os.dup(push.fileno())) as inherited:
            self.assertEqual(pf_sp.SOCK_PUSH, inherited.type)
            push.close()
            pull.close()
            child = os.fork()
            if not child:
                inherited.send(b"from the child")
                os._exit(0)
            os.waitpid(child, 0)
            self.assertEqual(b"from the child", copy.recv_message())

    def test_one_line_of_the_readme(self) -> None:
        rep, _ = self.pair(pf_sp.SOCK_REP, pf_sp.SOCK_REQ)
        with socket.socket(fileno=socket.socket(18, 6, 0).detach()) as s:
            s.connect(("127.0.0.1", rep.getsockname()[1]))
            s.send(b"Hello")
            self.assertEqual(b"Hello", rep.recv(100))


class Streams(Pair):
    def test_tasks_take_turns(self) -> None:
        push, pull = map(pf_sp.Stream, self.pair(pf_sp.SOCK_PUSH, pf_sp.SOCK_PULL))

        async def collect() -> list[bytes]:
            return [message async for message in pull]

        async def main() -> None:
            collectors = [asyncio.create_task(collect()) for _ in range(3)]
            await asyncio.sleep(0.1)
            await asyncio.gather(*(push.send(b"%d" % i) for i in range(99)), push.send(b""))
            while pull.socket.info().rx_msgs < 100:
                await asyncio.sleep(0.01)
            pull.socket.shutdown(socket.SHUT_RD)
            lists = await asyncio.wait_for(asyncio.gather(*collectors), 20)
            seen = [message for messages in lists for message in messages]
            self.assertEqual({b"", *(b"%d" % i for i in range(99))}, set(seen))
            self.assertEqual(100, len(seen))

        asyncio.run(main(), debug=True)

    def test_cancelled_recv_takes_nothing(self) -> None:
        push, pull = map(pf_sp.Stream, self.pair(pf_sp.SOCK_PUSH, pf_sp.SOCK_PULL))

        async def main() -> None:
            with self.assertRaises(TimeoutError):
                await asyncio.wait_for(pull.recv(), 0.1)
            await push.send(b"job")
            self.assertEqual(b"job", await asyncio.wait_for(pull.recv(), 20))

        asyncio.run(main())


if __name__ == "__main__":
    unittest.main()
