"""The tests' own loop: what a server accepted in its last moment is closed with it."""

from __future__ import annotations

import asyncio
import gc
import warnings

from tests.loops import TidyLoop


def test_a_connection_of_the_last_moment_is_closed() -> None:
    accepted: list[asyncio.StreamWriter] = []

    async def talk(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.append(writer)

    async def play() -> asyncio.StreamWriter:
        server = await asyncio.start_server(talk, "127.0.0.1", 0)
        at = server.sockets[0].getsockname()
        _, writer = await asyncio.open_connection(*at)
        while not accepted:
            await asyncio.sleep(0)
        server.close()
        return writer

    loop = TidyLoop()
    ours = loop.run_until_complete(play())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loop.close()
        assert ours.transport.is_closing()
        assert accepted.pop().transport.is_closing()
        del ours
        gc.collect()
