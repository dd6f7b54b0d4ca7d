"""What a dial says is done on every way: on which loop, with which mark, behind which guard."""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import cast

import pytest

from byway.app import App
from byway.config import load_text
from byway.engine import Engine, EngineStream
from byway.errors import Reason, Refused
from byway.flow import Dial, Flow, Network, Target
from byway.inbounds.arrival import Connection
from byway.inbounds.entry import Means
from byway.interfaces import Way
from byway.outbounds.direct import Direct
from byway.outbounds.own import Own

DOOR = "inbounds: {in: {type: mixed, listen: '127.0.0.1:0'}}\n"


class Names:
    async def resolve(self, name: str) -> list[bytes]:
        return [bytes((127, 0, 0, 1))]


@pytest.fixture
async def engine() -> AsyncIterator[Engine]:
    made = Engine(2)
    try:
        yield made
    finally:
        await made.close()


@pytest.fixture
async def listening(engine: Engine) -> AsyncIterator[Target]:
    listener = engine.listen(Target.of("127.0.0.1", 0))
    assert listener.address is not None
    yield listener.address
    listener.close()


async def test_an_arrival_says_where_its_stream_lives_and_who_may_go_where(engine: Engine) -> None:
    class Asked:
        def __init__(self) -> None:
            self.dials: list[Dial] = []

        async def connect(self, dial: Dial) -> None:
            self.dials.append(dial)

    means = cast("Means", None)  # a dial asks for none of them
    target, homes = Target.of("192.0.2.1", 443), set()
    for guarded in (True, False) * 2:
        near, other = engine.pair()
        flow = Flow(1, Network.TCP, "in", None, target, guarded=guarded)
        asked = Asked()
        await Connection(near, flow, means).dial(cast("Way", asked))
        assert asked.dials == [Dial(target, near.home, guarded)]
        homes.add(near.home)
        near.close()
        other.close()
    assert homes == {0, 1}


async def test_a_stream_lives_where_its_dial_says(engine: Engine, listening: Target) -> None:
    direct = Direct("direct", engine, Names())
    for home in (0, 1, 1, 0):
        stream = cast("EngineStream", await direct.connect(Dial(listening, home)))
        assert stream.home == home
        stream.close()
    with pytest.raises(ValueError, match="no such loop"):
        await direct.connect(Dial(listening, 2))


async def test_it_does_so_through_all_hops() -> None:
    async with App(load_text(DOOR, "up.yaml")) as up:
        place = up.addresses["in"][0]
        text = (
            f"outbounds: {{one: 'socks5://{place}', two: {{type: http, server: '{place}',"
            " via: one}}\ngroups: {g: {type: fallback, members: [two]}}"
        )
        async with App(load_text(DOOR + text, "x.yaml")) as app:
            last = len(os.sched_getaffinity(0)) - 1
            for home in (0, last, 0, last):
                dial = Dial(Target.parse(place), home)
                stream = cast("EngineStream", await Own(app.now.outbounds["g"]).connect(dial))
                assert stream.home == home
                stream.close()


async def test_the_guard_is_on_the_target_and_not_on_the_way_to_it() -> None:
    async with App(load_text(DOOR, "up.yaml")) as up:
        place = up.addresses["in"][0]
        text = f"outbounds: {{far: 'socks5://{place}'}}"
        async with App(load_text(DOOR + text, "x.yaml")) as app:
            for name in ("direct", "far"):
                own = Own(app.now.outbounds[name])
                with pytest.raises(Refused) as refused:
                    await own.connect(Dial(Target.parse(place), guarded=True))
                assert refused.value.reason is Reason.RULES
            # The server is on this host, and the target is none that the guard knows.
            way = app.now.outbounds["far"].only
            assert way is not None
            target = Target.of("www.example.com", 443)
            assert await way.locate(Dial(target, guarded=True)) == target


async def test_what_leaves_from_here_bears_the_mark_of_its_dial(
    engine: Engine, listening: Target
) -> None:
    if not may_mark():
        pytest.skip("marks need CAP_NET_ADMIN")
    direct = Direct("direct", engine, Names())
    stream = await direct.connect(Dial(listening, mark=0x5EED))
    local = stream.info.local
    assert local is not None
    assert marks()[local.port, listening.port] == 0x5EED
    stream.close()


def may_mark() -> bool:
    with socket.socket() as probe:
        try:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, 1)
        except PermissionError:
            return False
        return True


def marks() -> dict[tuple[int, int], int]:
    """The mark of each connection of this process, by the ports of both ends."""
    found = {}
    for fd in os.listdir("/proc/self/fd"):
        with suppress(OSError, TypeError, IndexError), socket.socket(fileno=os.dup(int(fd))) as one:
            ends = one.getsockname()[1], one.getpeername()[1]
            found[ends] = one.getsockopt(socket.SOL_SOCKET, socket.SO_MARK)
    return found
