"""Flows that are cancelled at random points: nothing hangs, and nothing is left behind."""

from __future__ import annotations

import asyncio
import os
import random
from contextlib import suppress

from byway.engine import Engine, EngineListener, EngineStream, ListenOptions
from byway.errors import EngineError
from byway.flow import Target

FLOWS = 1500
AT_ONCE = 50
GONE = (OSError, EOFError, EngineError)


async def serve(listener: EngineListener, echoes: asyncio.TaskGroup) -> None:
    with suppress(EngineError):
        while True:
            for stream in await listener.accept():
                echoes.create_task(echo(stream))


async def echo(stream: EngineStream) -> None:
    try:
        with suppress(*GONE):
            await stream.read_until(b"\n", 100)
            while True:
                await stream.write(await stream.read())
    finally:
        stream.close()


async def flow(engine: Engine, echo_at: Target, dice: random.Random) -> None:
    """A client, a relay, and an echo behind it; every await is a place to be cancelled at."""
    client, near = engine.pair()
    try:
        far = await engine.connect([echo_at])
        far.hold(b"head\n")
        if dice.random() < 0.5:
            await client.write(b"peeked at")
            await near.peek(4, within=1)
        relay = engine.relay(near, far)
        waiting = asyncio.ensure_future(relay.wait())
        try:
            size = dice.choice([1, 1000, 400_000])
            writing = asyncio.create_task(client.write(bytes(size)))
            try:
                got = 0
                while got < size:
                    got += len(await client.read())
                await writing
            finally:
                writing.cancel()
            if dice.random() < 0.3:
                relay.cut("enough")
            else:
                await client.end()
            await waiting
        finally:
            waiting.cancel()
    finally:
        client.close()
        near.close()


async def cancelled_somewhere(engine: Engine, echo_at: Target, seed: int) -> None:
    dice = random.Random(seed)
    running = asyncio.create_task(flow(engine, echo_at, dice))
    for _ in range(dice.randrange(40)):
        await asyncio.sleep(0)
    if dice.random() < 0.8:
        running.cancel()
    with suppress(asyncio.CancelledError, *GONE):
        await running


async def test_flows_cancelled_anywhere_leave_nothing_behind() -> None:
    engine = Engine(2)
    before = len(os.listdir("/proc/self/fd"))
    listener = engine.listen(Target.of("127.0.0.1", 0), ListenOptions(first=0))
    assert listener.address is not None
    async with asyncio.timeout(60), asyncio.TaskGroup() as echoes:
        echoes.create_task(serve(listener, echoes))
        for first in range(0, FLOWS, AT_ONCE):
            async with asyncio.TaskGroup() as flows:
                for seed in range(first, first + AT_ONCE):
                    flows.create_task(cancelled_somewhere(engine, listener.address, seed))
        listener.close()
    # A relay that was given up ends on its own thread; its sockets go with it.
    async with asyncio.timeout(60):
        while engine.stats()["waiting"]:
            await asyncio.sleep(0.01)
    await engine.close()
    assert len(os.listdir("/proc/self/fd")) <= before
