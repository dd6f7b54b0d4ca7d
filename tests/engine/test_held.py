"""What the engine holds is counted by part, and given back to the last byte."""

from __future__ import annotations

import asyncio
import os

import pytest

from byway.engine import Engine, EngineLists, ListenOptions, SaltFilter
from byway.flow import Target


async def test_relays_pipes_and_splices_are_counted() -> None:
    engine = Engine(1)
    before = engine.stats()
    listener = engine.listen(Target.of("127.0.0.1", 0), ListenOptions(first=0))
    assert listener.address is not None
    client = await engine.connect([listener.address])
    (near,) = await listener.accept()
    far = await engine.connect([listener.address])
    (server,) = await listener.accept()
    relay = engine.relay(near, far)
    assert engine.stats()["relays"] == before["relays"] + 1
    assert engine.memory()["relays"] >= 100 * engine.stats()["relays"]
    writing = asyncio.create_task(client.write(bytes(8 << 20)))
    await server.read_exactly(8 << 20)
    await writing
    after = engine.stats()
    assert after["spliced"] > before["spliced"]  # again after each pause, so it may be more
    assert after["pipes"] > 0
    relay.cut("enough")
    await relay.wait()
    assert engine.stats()["relays"] == before["relays"]
    listener.close()
    await engine.close()


async def test_sets_and_salts_are_counted_in_bytes() -> None:
    engine = Engine(1)
    before = engine.memory()
    text = "".join(f"host{number}.example\n" for number in range(10_000)).encode()
    lists = EngineLists.read(text, "lines")
    assert engine.memory()["sets"] - before["sets"] == lists.sizes[3] > 100_000
    salts = SaltFilter(1000)
    for _ in range(1500):
        assert salts.fresh(os.urandom(16), 0.0)
    held = engine.memory()["salts"] - before["salts"]
    assert 16 * 1500 <= held <= 80 * 1000
    del lists, salts
    assert engine.memory() == before
    await engine.close()


async def test_packet_listeners_tell_what_the_kernel_does_for_them() -> None:
    engine = Engine(1)
    assert engine.packets() == {"listeners": 0}
    target = Target.of("127.0.0.1", 9)
    listeners = [engine.listen_packets(Target.of("127.0.0.1", 0), target) for _ in range(2)]
    told = engine.packets()
    assert told["listeners"] == 2
    for offload in ("gro", "gso"):
        assert told[offload] == sum(listener.stats()[offload] for listener in listeners)
    assert told["packets_up"] == told["limited"] == 0
    listeners[0].close()
    assert engine.packets()["listeners"] == 1
    listeners[1].close()
    await engine.close()


@pytest.mark.parametrize("most", [1, 100])
def test_a_filter_that_turns_counts_right(most: int) -> None:
    before = Engine.held()["salt_bytes"]
    salts = SaltFilter(most, 1.0)
    for at in range(300):
        salts.fresh(os.urandom(16), at / 100)
    assert Engine.held()["salt_bytes"] > before
    del salts
    assert Engine.held()["salt_bytes"] == before
