"""The resolver over servers that are functions, and a clock that is set: what is remembered, what
is asked again, and who helps whom."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TypeVar

import pytest

from byway.dns.hosts import Host, Hosts
from byway.dns.message import Answer, Wanted
from byway.dns.resolver import Choice, Lifetimes, NameResolver, Plan
from byway.dns.server import Asked, Heard, SystemServer
from byway.engine import EngineAnswers, Outcome
from byway.errors import Reason, Unreachable
from byway.rules import Judge, Rule, RuleRef, Via
from byway.rules import matchers as m

pytestmark = pytest.mark.usefixtures("nowhere")

T = TypeVar("T")
ONE, TWO, SIX = b"\xc0\0\2\1", b"\xc0\0\2\2", bytes(15) + b"\7"
NOTHING = Answer(Outcome.EMPTY, (), 60)


class Clock:
    """Seconds that pass when told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Scripted:
    """A server that says what it is told to; `hold` has it wait."""

    def __init__(self, name: str, *addresses: bytes, lifetime: float = 60) -> None:
        self.name = name
        self.is_failing = False
        self.asked: list[tuple[str, Wanted]] = []
        self.fails = False
        self.let = asyncio.Event()
        self.let.set()
        self.told: Callable[[str], Answer] = lambda _: Answer(Outcome.FOUND, addresses, lifetime)

    async def look(self, name: str, family: Wanted) -> Heard:
        self.asked.append((name, family))
        await self.let.wait()
        if self.fails:
            raise Unreachable(f"cannot resolve {name}: {self.name}: no answer in time", name)
        answer = self.told(name)
        size = 4 if family == 4 else 16
        fit = tuple(packed for packed in answer.addresses if len(packed) == size)
        if answer.addresses and not fit:
            answer = NOTHING
        return Heard(replace(answer, addresses=fit), self.name, 0.01)


class OfHost:
    """The host's resolver."""

    async def resolve(self, name: str) -> tuple[bytes, ...]:
        if name == "nas":
            return (ONE,)
        raise Unreachable(f"cannot resolve {name}", name, Reason.NAME_UNKNOWN)


def plan_of(*servers: Asked, rules: tuple[Rule, ...] = (), **more: object) -> Plan:
    default = Via("default", RuleRef("byway.yaml", 3, "use: a"))
    base = Plan(
        Judge(rules, default),
        {"default": Choice(2, servers)},
        Choice(1, (SystemServer("system", OfHost()),)),
        default,
        order="ipv4-first",
    )
    return replace(base, **more)  # type: ignore[arg-type]


@asynccontextmanager
async def resolving(plan: Plan, clock: Clock | None = None) -> AsyncIterator[NameResolver]:
    async with asyncio.TaskGroup() as group:

        def start(work: Coroutine[None, None, T]) -> asyncio.Task[T | None]:
            return group.create_task(work)

        yield NameResolver(start, EngineAnswers(100), plan, clock or Clock())


async def settled() -> None:
    """Let all that can go on go on."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_many_who_ask_for_one_name_are_one_question() -> None:
    server = Scripted("a", ONE, SIX)
    async with resolving(plan_of(server)) as resolver:
        found = await asyncio.gather(*(resolver.resolve("www.example") for _ in range(50)))

    assert {tuple(one) for one in found} == {(ONE, SIX)}
    assert server.asked == [("www.example", 4), ("www.example", 6)]


async def test_who_left_does_not_take_the_question_along() -> None:
    server = Scripted("a", ONE)
    server.let.clear()
    async with resolving(plan_of(server)) as resolver:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await resolver.resolve("www.example")
        await settled()
        server.let.set()
        assert await resolver.resolve("www.example") == [ONE]

    assert len(server.asked) == 2


async def test_answers_live_as_long_as_they_say_within_bounds() -> None:
    clock, server = Clock(), Scripted("a", ONE, lifetime=10)
    plan = plan_of(server, order="ipv4", lifetimes=Lifetimes(least=20, most=30, stale=0))
    async with resolving(plan, clock) as resolver:
        for later, count in ((0, 1), (19, 1), (2, 2), (19, 2), (2, 3)):
            clock.now += later
            await settled()
            await resolver.resolve("www.example")
            assert len(server.asked) == count
        server.told = lambda _: Answer(Outcome.FOUND, (TWO,), 1e9)
        for later, count in ((21, 4), (29, 4), (2, 5)):
            clock.now += later
            await settled()
            assert await resolver.resolve("www.example") == ((TWO,) if later == 29 else [TWO])
            assert len(server.asked) == count


async def test_what_is_not_to_be_kept_is_kept_for_the_dial_alone() -> None:
    clock, server = Clock(), Scripted("a", ONE, lifetime=0)
    async with resolving(plan_of(server, order="ipv4"), clock) as resolver:
        await resolver.resolve("flip.example")
        server.told = lambda _: Answer(Outcome.FOUND, (TWO,), 0)
        assert tuple(await resolver.resolve("flip.example")) == (ONE,)  # what was judged
        clock.now += 1.1
        await settled()
        assert tuple(await resolver.resolve("flip.example")) == (TWO,)


async def test_a_name_that_is_unknown_stays_so_for_a_while() -> None:
    clock, server = Clock(), Scripted("a")
    server.told = lambda _: Answer(Outcome.UNKNOWN, (), 3600)
    async with resolving(plan_of(server), clock) as resolver:
        for later, count in ((0, 2), (299, 2), (2, 4)):
            clock.now += later
            await settled()
            with pytest.raises(Unreachable, match="does not exist, says a") as caught:
                await resolver.resolve("nowhere.example")
            assert caught.value.reason is Reason.NAME_UNKNOWN
            assert len(server.asked) == count


async def test_a_stale_answer_serves_while_a_new_one_is_fetched() -> None:
    clock, server = Clock(), Scripted("a", ONE, lifetime=60)
    async with resolving(plan_of(server, order="ipv4"), clock) as resolver:
        await resolver.resolve("www.example")
        server.told = lambda _: Answer(Outcome.FOUND, (TWO,), 60)
        clock.now += 100
        await settled()
        for _ in range(3):
            assert await resolver.resolve("www.example") == (ONE,)
        await settled()
        assert await resolver.resolve("www.example") == (TWO,)

    assert len(server.asked) == 2


async def test_a_stale_answer_stands_as_long_as_nobody_can_tell() -> None:
    clock, server = Clock(), Scripted("a", ONE, lifetime=60)
    async with resolving(plan_of(server, order="ipv4"), clock) as resolver:
        await resolver.resolve("www.example")
        server.fails = True
        asked = []
        for _ in range(70):
            clock.now += 60
            await settled()
            try:
                await resolver.resolve("www.example")
            except Unreachable:
                asked.append(0)
            await settled()
            asked.append(len(server.asked))
            if asked[-2:-1] == [0]:
                break
        assert 55 < len(asked) < 65  # an hour beyond its time, then it is gone
        with pytest.raises(Unreachable, match=r"no answer in time|failed"):
            await resolver.resolve("www.example")


async def test_failures_are_remembered_briefly() -> None:
    clock, server = Clock(), Scripted("a")
    server.fails = True
    async with resolving(plan_of(server, order="ipv4"), clock) as resolver:
        for later, count in ((0, 1), (1, 1), (2, 2)):
            clock.now += later
            await settled()
            with pytest.raises(Unreachable):
                await resolver.resolve("www.example")
            assert len(server.asked) == count


async def test_the_next_server_helps_at_once_when_the_first_fails() -> None:
    first, second = Scripted("a"), Scripted("b", ONE)
    first.fails = True
    async with resolving(plan_of(first, second, order="ipv4")) as resolver:
        assert await resolver.resolve("www.example") == [ONE]


async def test_the_next_server_helps_when_the_first_is_slow() -> None:
    first, second = Scripted("a", TWO), Scripted("b", ONE)
    first.let.clear()
    async with resolving(plan_of(first, second, order="ipv4")) as resolver:
        assert await resolver.resolve("www.example") == [ONE]

    assert len(first.asked) == len(second.asked) == 1


async def test_a_failing_server_is_asked_last() -> None:
    first, second = Scripted("a", TWO), Scripted("b", ONE)
    first.is_failing = True
    async with resolving(plan_of(first, second, order="ipv4")) as resolver:
        assert await resolver.resolve("www.example") == [ONE]

    assert first.asked == []


async def test_when_all_fail_each_is_named() -> None:
    first, second = Scripted("a"), Scripted("b")
    first.fails = second.fails = True
    async with resolving(plan_of(first, second, order="ipv4")) as resolver:
        with pytest.raises(Unreachable, match=r"a: no answer in time; .*b: no answer in time"):
            await resolver.resolve("www.example")


async def test_one_family_waits_but_a_moment_for_the_other() -> None:
    class Half(Scripted):
        async def look(self, name: str, family: Wanted) -> Heard:
            if family == 6:
                await self.let.wait()
            return Heard(Answer(Outcome.FOUND, (ONE,), 60), self.name, 0.01)

    server = Half("a")
    server.let.clear()
    async with resolving(plan_of(server)) as resolver:
        async with asyncio.timeout(60):
            assert await resolver.resolve("www.example") == [ONE]
        server.let.set()


async def test_rules_say_who_is_asked_and_realms_keep_answers_apart() -> None:
    office, world = Scripted("office", ONE), Scripted("world", TWO)
    rule = Rule(
        m.DomainSuffix(frozenset({"corp.example"})), Via("office", RuleRef("byway.yaml", 7, "x"))
    )
    plan = plan_of(world, rules=(rule,), order="ipv4")
    plan = replace(plan, choices={**plan.choices, "office": Choice(3, (office,))})
    async with resolving(plan) as resolver:
        assert await resolver.resolve("a.corp.example") == [ONE]
        assert await resolver.resolve("www.example") == [TWO]
        told = await resolver.inquire("a.corp.example")
        assert (told.source, told.servers, told.addresses) == ("cache", ("office",), (ONE,))
        assert told.rule is not None
        assert told.rule.line == 7
        told = await resolver.inquire("www.example")
        assert told.rule is not None
        assert told.rule.line == 3
        resolver = resolver.following(plan_of(world, order="ipv4"))
        assert await resolver.resolve("a.corp.example") == [TWO]


async def test_a_way_out_may_have_servers_of_its_own() -> None:
    office, world = Scripted("office", ONE), Scripted("world", TWO)
    plan = plan_of(world, hosts=Hosts({"nas.home": Host((SIX, ONE))}), order="ipv4")
    plan = replace(plan, choices={**plan.choices, "office": Choice(3, (office,))})
    async with resolving(plan) as resolver:
        assert await resolver.resolve("www.example", "office") == [ONE]
        assert await resolver.resolve("www.example") == [TWO]
        assert await resolver.resolve("nas.home", "office") == (ONE,)
        assert resolver.chosen("www.example", "office").servers == ("office",)


async def test_of_several_servers_is_told_who_answered() -> None:
    first, second = Scripted("a"), Scripted("b", ONE)
    first.fails = True
    async with resolving(plan_of(first, second, order="ipv4")) as resolver:
        for source in ("server", "cache"):
            told = await resolver.inquire("www.example")
            assert (told.source, told.servers) == (source, ("b",))


async def test_names_around_this_host_are_the_hosts() -> None:
    server = Scripted("a", ONE)
    async with resolving(plan_of(server, order="ipv4")) as resolver:
        assert await resolver.resolve("nas") == (ONE,)
        with pytest.raises(Unreachable):
            await resolver.resolve("printer.local")
        assert (await resolver.inquire("nas")).servers == ("system",)

    assert server.asked == []


async def test_names_that_the_way_needs_are_not_asked_of_who_is_at_its_end() -> None:
    far, near = Scripted("far", TWO), Scripted("near", ONE)
    plan = plan_of(far, own={"proxy.example": Choice(5, (near,))}, order="ipv4")
    async with resolving(plan) as resolver:
        assert await resolver.resolve("proxy.example") == [ONE]
        assert await resolver.resolve("www.example") == [TWO]


async def test_a_name_that_no_server_can_be_asked_for() -> None:
    server = Scripted("a", ONE)
    async with resolving(plan_of(server)) as resolver:
        with pytest.raises(Unreachable, match="is not a DNS name") as caught:
            await resolver.resolve(f"{'a' * 64}.example")
        assert caught.value.reason is Reason.NAME_UNKNOWN

    assert server.asked == []


async def test_hosts_come_first() -> None:
    server = Scripted("a", TWO)
    hosts = Hosts({"nas.home": Host((SIX, ONE)), "www.home": Host(alias="www.example")})
    async with resolving(plan_of(server, hosts=hosts, order="ipv4")) as resolver:
        assert await resolver.resolve("nas.home") == (ONE,)
        assert await resolver.resolve("www.home") == [TWO]
        told = await resolver.inquire("www.home")
        assert (told.led, told.source) == ("www.example", "cache")
        resolver = resolver.following(
            plan_of(server, hosts=Hosts({"nas.home": Host((ONE,))}), order="ipv6")
        )
        with pytest.raises(Unreachable, match=r"dns\.addresses"):
            await resolver.resolve("nas.home")


async def test_too_many_names_at_once_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("byway.dns.resolver.WAITING", 4)
    server = Scripted("a", ONE)
    server.let.clear()
    async with resolving(plan_of(server, order="ipv4")) as resolver, asyncio.TaskGroup() as group:
        for at in range(4):
            group.create_task(resolver.resolve(f"n{at}.example"))
        await settled()
        with pytest.raises(Unreachable, match="too many names wait"):
            await resolver.resolve("one.more.example")
        server.let.set()
