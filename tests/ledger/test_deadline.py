"""The shared time limit."""

from __future__ import annotations

import asyncio

import pytest

from byway.ledger.deadline import Deadline


async def test_interrupts_who_stays() -> None:
    deadline = Deadline(0.01, "too long")
    with pytest.raises(TimeoutError, match="too long"), deadline:
        await asyncio.Event().wait()
    await asyncio.sleep(0)  # nothing is left of the cancel


async def test_tells_what_was_waited_for() -> None:
    async def waits() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError as error:
            error.add_note("the far end")
            error.add_note("what stands before it")
            raise

    with pytest.raises(TimeoutError) as caught, Deadline(0.01, "too long"):
        await waits()
    assert str(caught.value) == "too long; the far end"


async def test_leaves_others_alone() -> None:
    deadline = Deadline(10, "too long")
    with deadline:
        await asyncio.sleep(0)
    with pytest.raises(ValueError, match="mine"), deadline:
        raise ValueError("mine")


async def test_many_tasks_share_it() -> None:
    deadline = Deadline(0.02, "too long")
    gate = asyncio.Event()

    async def one(number: int) -> str:
        try:
            with deadline:
                if number % 2:
                    await gate.wait()
        except TimeoutError:
            return "late"
        return "in time"

    ends = await asyncio.gather(*(one(number) for number in range(100)))
    assert ends == ["in time", "late"] * 50


async def test_a_cancel_from_outside_stays_one() -> None:
    deadline = Deadline(10, "too long")

    async def stay() -> None:
        with deadline:
            await asyncio.Event().wait()

    task = asyncio.ensure_future(stay())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_deadlines_nest() -> None:
    outer, inner = Deadline(10, "outer"), Deadline(0.01, "inner")
    with outer:
        with pytest.raises(TimeoutError, match="inner"), inner:
            await asyncio.Event().wait()
        await asyncio.sleep(0)


def test_needs_a_task() -> None:
    with pytest.raises(RuntimeError), Deadline(1, "x"):
        pass
