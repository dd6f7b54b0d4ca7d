"""Who is on the road, who was, and who may enter."""

from __future__ import annotations

import asyncio
import contextvars

import pytest

from byway.dns.lookups import ASKER
from byway.errors import Reason, Refused
from byway.flow import Flow, Network, Target
from byway.interfaces import Bounds, InForce
from byway.ledger import JUDGES, Ledger, Passage
from byway.rules import Judge


def passage(number: int, source: str | None = "192.0.2.1") -> Passage:
    place = None if source is None else Target.of(source, 1000 + number)
    return Passage(Flow(number, Network.TCP, "in", place, Target.of("example.com", 80)))


class FixedRelay:
    up, down = 3, 4

    def __init__(self) -> None:
        self.reason = ""

    async def wait(self) -> str:
        return "done"

    def cut(self, reason: str) -> None:
        self.reason = reason


async def test_keeps_the_living_and_some_of_the_past() -> None:
    ledger = Ledger(past=2)
    entered = [passage(number) for number in range(3)]
    for one in entered:
        ledger.enter(one)
    assert list(ledger.live) == entered
    for one in entered:
        ledger.leave(one)
    assert list(ledger.past) == entered[1:]
    assert not ledger.live
    assert ledger.carried == 3


async def test_rules_of_long_ago_are_let_go() -> None:
    ledger = Ledger(past=100)
    entered = [passage(number) for number in range(2 * JUDGES + 1)]
    for number, one in enumerate(entered):
        one.judge = Judge(()) if number % 2 == 0 else entered[number - 1].judge
        ledger.enter(one)
        if number != 1:
            ledger.leave(one)
    ledger.forget_judges()
    assert entered[1].judge is not None  # still on the road: its rules count as the newest
    assert entered[0].judge is entered[1].judge
    assert [one.judge is None for one in entered[2:5]] == [True, True, False]
    assert all(one.judge is not None for one in entered[4:])


async def test_counters_outlive_the_relay() -> None:
    ledger, one = Ledger(), passage(1)
    ledger.enter(one)
    assert (one.up, one.down) == (0, 0)
    one.join(FixedRelay())
    assert (one.up, one.down) == (3, 4)
    ledger.leave(one)
    assert one.relay is None
    assert (one.up, one.down) == (3, 4)
    assert one.duration == one.duration


@pytest.mark.parametrize(
    ("sources", "admitted"),
    [
        (["192.0.2.1"] * 3, 2),
        (["192.0.2.1", "192.0.2.2", "192.0.2.3"], 3),
        (["2001:db8::1", "2001:db8::2", "2001:db8::3"], 2),  # one /64
        (["2001:db8::1", "2001:db8:0:1::1", "2001:db8:0:2::1"], 3),
        ([None, None, None], 3),
    ],
)
async def test_sources_have_a_limit(sources: list[str | None], admitted: int) -> None:
    ledger = Ledger(InForce(Bounds(per_source=2)))
    for number, source in enumerate(sources):
        if number < admitted:
            ledger.enter(passage(number, source))
        else:
            with pytest.raises(Refused, match="flows_per_source") as caught:
                ledger.enter(passage(number, source))
            assert caught.value.reason is Reason.LIMIT


async def test_the_whole_has_a_limit_and_leaving_makes_room() -> None:
    ledger, first = Ledger(InForce(Bounds(flows=1))), passage(1)
    ledger.enter(first)
    second = passage(2)
    with pytest.raises(Refused, match=r"limits\.flows"):
        ledger.enter(second)
    ledger.leave(second)
    assert len(ledger.live) == 1
    ledger.leave(first)
    ledger.enter(passage(3))


async def test_cuts_a_relay_or_a_dial() -> None:
    ledger, one = Ledger(), passage(1)
    relay = FixedRelay()

    async def dial() -> None:
        ledger.enter(one)
        await asyncio.Event().wait()

    task = asyncio.ensure_future(dial())
    await asyncio.sleep(0)
    assert ledger.cut(1, "enough")
    with pytest.raises(asyncio.CancelledError):
        await task
    assert one.reason == "enough"
    ledger.leave(one)
    two = passage(2)
    ledger.enter(two)
    two.relay = relay
    assert ledger.cut(2, "enough")
    assert relay.reason == "enough"
    assert not ledger.cut(1)


async def test_one_that_relays_asks_for_no_names() -> None:
    one, before = passage(1), dict(contextvars.copy_context())
    Ledger().enter(one)
    assert ASKER.get() is one.flow
    one.join(FixedRelay())
    assert ASKER.get() is None
    assert dict(contextvars.copy_context()) == before  # an idle flow's context takes no room
