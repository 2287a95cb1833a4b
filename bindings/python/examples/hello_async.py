# SPDX-License-Identifier: MIT
"""hello_async.py HOST PORT: a server and three clients of it, in one event loop."""

import asyncio
import sys

import pf_sp

HOST, PORT = sys.argv[1], int(sys.argv[2])


async def serve() -> None:
    server = pf_sp.Socket(pf_sp.SOCK_REP)
    server.bind((HOST, PORT))
    async with pf_sp.Stream(server) as requests:
        async for request in requests:
            await requests.send(b"World to " + request)


async def ask(name: str) -> None:
    async with pf_sp.Stream(pf_sp.Socket(pf_sp.SOCK_REQ)) as client:
        await client.connect(HOST, PORT)
        await client.send(name.encode())
        print((await client.recv()).decode(), flush=True)


async def main() -> None:
    server = asyncio.create_task(serve())
    await asyncio.gather(*map(ask, ("Ada", "Bob", "Eve")))
    server.cancel()


asyncio.run(main())
