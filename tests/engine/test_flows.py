"""Tasks that the engine steps itself are tasks to asyncio: awaited, timed, grouped, cancelled."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from contextvars import ContextVar
from pathlib import Path

import pytest

from byway.engine import Engine, EngineStream, Flows, ListenOptions
from byway.flow import Target
from byway.ledger.deadline import Deadline

whose = ContextVar("whose", default="nobody's")


@pytest.fixture
async def engine() -> AsyncIterator[Engine]:
    engine = Engine(2)
    yield engine
    await engine.close()


Work = Callable[[EngineStream], Awaitable[None]]


async def carried(engine: Engine, *works: Work) -> list[EngineStream]:
    """Have each carried as a flow of its own, to its end; the other ends of their streams."""
    others = []
    async with asyncio.timeout(10), Flows(engine) as flows:
        for work in works:
            near, other = engine.pair()
            others.append(other)
            flows.start(as_flow(work, near))
    return others


async def as_flow(work: Work, near: EngineStream) -> None:
    await work(near)


async def test_a_flow_begins_at_once_and_goes_on_by_itself(engine: Engine) -> None:
    near, far = engine.pair()
    came: list[bytes] = []

    async def listens() -> None:
        came.append(b"begun")
        came.append(await near.read())
        came.append(await near.read())

    async with asyncio.timeout(10), Flows(engine) as flows:
        flows.start(listens())
        assert came == [b"begun"]
        await far.write(b"one")
        while len(came) < 2:
            await asyncio.sleep(0)
        await far.write(b"two")
    assert came == [b"begun", b"one", b"two"]
    assert engine.stats()["waiting"] == 0


async def test_a_flow_is_the_current_task_before_and_after_each_wait(engine: Engine) -> None:
    seen: list[object] = []

    async def looks(near: EngineStream) -> None:
        seen.append(asyncio.current_task())
        await asyncio.sleep(0)
        seen.append(asyncio.current_task())
        await asyncio.get_running_loop().run_in_executor(None, int)
        seen.append(asyncio.current_task())
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.001):
                await near.read()
        seen.append(asyncio.current_task())

    own = asyncio.current_task()
    await carried(engine, looks, looks)
    assert len(set(map(id, seen))) == 2
    assert own not in seen
    assert None not in seen
    assert asyncio.current_task() is own


async def test_limits_of_time_hold_in_a_flow_and_lose_no_byte(engine: Engine) -> None:
    deadline = Deadline(0.01, "too long")
    near, far = engine.pair()
    told: list[str] = []

    async def waits() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await near.read_exactly(4)
        with pytest.raises(TimeoutError, match="too long"), deadline:
            await near.read_exactly(4)
        await far.write(b"four")
        told.append((await near.read_exactly(4)).decode())

    async with asyncio.timeout(10), Flows(engine) as flows:
        flows.start(waits())
    assert told == ["four"]


async def test_a_group_of_tasks_in_a_flow_ends_with_its_first_failure(engine: Engine) -> None:
    ended: list[str] = []

    async def fails() -> None:
        await asyncio.sleep(0)
        raise ValueError("on purpose")

    async def reads_beside(near: EngineStream, failing: Awaitable[None]) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(as_flow(lambda _: failing, near))
            await near.read()

    async def groups(near: EngineStream) -> None:
        with pytest.raises(ExceptionGroup):
            await reads_beside(near, fails())
        ended.append("groups")
        async with asyncio.timeout(10):
            await asyncio.gather(asyncio.sleep(0), asyncio.to_thread(int))
        ended.append("gathers")

    await carried(engine, groups)
    assert ended == ["groups", "gathers"]


async def test_a_cancelled_owner_cancels_its_flows_and_waits_for_them(engine: Engine) -> None:
    ended: list[str] = []

    async def stays(near: EngineStream) -> None:
        try:
            await near.read()
        except asyncio.CancelledError:
            await asyncio.sleep(0)  # what it tidies up may take its time
            ended.append("read")
            raise

    async def sleeps(near: EngineStream) -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            ended.append("future")

    owner = asyncio.create_task(carried(engine, stays, sleeps))
    await asyncio.sleep(0)
    owner.cancel()
    with pytest.raises(asyncio.CancelledError):
        await owner
    assert sorted(ended) == ["future", "read"]
    assert engine.stats()["waiting"] == 0


async def test_a_failure_is_told_to_the_loop_and_harms_no_other(engine: Engine) -> None:
    told: list[BaseException] = []
    ended: list[str] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, about: told.append(about["exception"]))

    async def fails(near: EngineStream) -> None:
        await asyncio.sleep(0)
        raise ValueError("on purpose")

    async def works(near: EngineStream) -> None:
        await asyncio.sleep(0.001)
        ended.append("works")

    await carried(engine, fails, works)
    assert [str(error) for error in told] == ["on purpose"]
    assert ended == ["works"]


async def test_every_flow_has_a_context_of_its_own(engine: Engine) -> None:
    seen: list[tuple[str, str]] = []

    def named(name: str) -> Work:
        async def sets(near: EngineStream) -> None:
            before = whose.get()
            whose.set(name)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.001):
                    await near.read()
            seen.append((before, whose.get()))

        return sets

    await carried(engine, named("one"), named("other"))
    assert sorted(seen) == [("nobody's", "one"), ("nobody's", "other")]
    assert whose.get() == "nobody's"


async def test_flows_that_keep_each_other_busy_leave_the_loop_its_turn(engine: Engine) -> None:
    near, far = engine.pair()
    turns = 0

    async def answers(stream: EngineStream) -> None:
        while turns < 10:
            await stream.write(await stream.read(1))

    async def counts() -> None:
        nonlocal turns
        while turns < 10:
            turns += 1
            await asyncio.sleep(0)
        near.close()
        far.close()

    async def ends_quietly(stream: EngineStream) -> None:
        try:
            await answers(stream)
        except Exception:
            assert turns == 10

    async with asyncio.timeout(10), Flows(engine) as flows:
        flows.start(ends_quietly(near))
        flows.start(ends_quietly(far))
        await far.write(b"x")
        await counts()


async def test_a_dial_is_made_on_the_loop_that_it_is_told(engine: Engine) -> None:
    door = engine.listen(Target.of("127.0.0.1", 0))
    target = engine.listen(Target.of("127.0.0.1", 0), ListenOptions(first=0))
    assert door.address is not None
    assert target.address is not None
    to = target.address
    joined: list[tuple[EngineStream, EngineStream]] = []

    async def dials(near: EngineStream) -> None:
        await near.read()
        joined.append((near, await engine.connect([to], near=near.home)))

    callers = [await engine.connect([door.address]) for _ in range(8)]
    came: list[EngineStream] = []
    async with asyncio.timeout(10), Flows(engine) as flows:
        for caller in callers:
            await caller.write(b"x")
        while len(came) < len(callers):
            came += await door.accept()
        for near in came:
            flows.start(dials(near))
    watched = watched_by()
    loops = [(watched[ends(near)], watched[ends(far)]) for near, far in joined]
    assert len({near for near, _ in loops}) == 2
    assert [near for near, _ in loops] == [far for _, far in loops]


Ends = tuple[int, int]


def ends(stream: EngineStream) -> Ends:
    """The ports of both ends."""
    local, remote = stream.info.local, stream.info.remote
    assert local is not None
    assert remote is not None
    return local.port, remote.port


def watched_by() -> dict[Ends, int]:
    """Which epoll set watches each connection of this process (proc(5), fdinfo)."""
    found: dict[Ends, int] = {}
    for fd in os.listdir("/proc/self/fdinfo"):
        try:
            lines = Path(f"/proc/self/fdinfo/{fd}").read_text().splitlines()
        except FileNotFoundError:
            continue
        for line in lines:
            if line.startswith("tfd:"):
                with (
                    suppress(OSError, TypeError, IndexError),
                    socket.socket(fileno=os.dup(int(line.split()[1]))) as one,
                ):
                    found[one.getsockname()[1], one.getpeername()[1]] = int(fd)
    return found


async def test_what_is_no_future_cannot_be_awaited(engine: Engine) -> None:
    class Odd:
        def __await__(self):  # type: ignore[no-untyped-def]
            yield "odd"

    async def awaits(near: EngineStream) -> None:
        with pytest.raises(RuntimeError, match="awaits 'odd'"):
            await Odd()

    await carried(engine, awaits)
