"""Rules disabled while Byway runs: for a time, by hand, and over a reload."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from byway.app import App
from byway.app.switches import NoSwitch, carried_over
from byway.config import Config, judge_of, load_text
from byway.flow import Flow, Network, Target
from byway.rules import NO_FACTS, RuleRef

RULES = "port: 1, to: reject", "port: 1, to: drop", "domain: a, to: reject, enabled: false"


def config(folder: Path, *rules: str) -> Config:
    lines = "".join(f"  - {{{rule}}}\n" for rule in rules)
    head = (
        f"log: {{file: {folder}/log}}\ninbounds: {{in: {{type: socks, listen: '127.0.0.1:0'}}}}\n"
    )
    return load_text(f"{head}rules:\n{lines}  - otherwise: direct\n", "x.yaml")


@asynccontextmanager
async def running(folder: Path, *rules: str) -> AsyncIterator[App]:
    async with App(config(folder, *(rules or RULES))) as app:
        yield app


def way(app: App, port: int = 1) -> str:
    flow = Flow(1, Network.TCP, "in", None, Target.of("192.0.2.1", port))
    return type(app.now.judge.decide(flow)).__name__


async def test_a_rule_is_off_until_it_is_switched_on(tmp_path: Path) -> None:
    async with running(tmp_path) as app:
        whole = app.now.judge
        assert way(app) == "Reject"
        await app.switches.switch_off(0)
        assert way(app) == "Drop"
        assert app.switches.off[0].left is None
        await app.switches.switch_off(1)
        assert way(app) == "Via"
        assert await app.switches.switch_on(0)
        assert way(app) == "Reject"
        assert not await app.switches.switch_on(0)
        assert await app.switches.switch_on(1)
        assert app.now.judge is whole


async def test_a_rule_comes_back_when_its_time_is_over(tmp_path: Path) -> None:
    async with running(tmp_path) as app, asyncio.timeout(60):
        await app.switches.switch_off(0, 0.02)
        left = app.switches.off[0].left
        assert left is not None
        assert left <= 0.02
        while way(app) != "Reject":
            await asyncio.sleep(0.001)
        assert app.switches.off == {}
        await app.switches.switch_off(0, 0.01)
        await app.switches.switch_off(0)  # the last word counts
        await asyncio.sleep(0.03)
        assert way(app) == "Drop"


async def test_what_cannot_be_switched_is_told(tmp_path: Path) -> None:
    async with running(tmp_path) as app:
        for at, why in ((3, "last rule"), (2, "already disabled in the config")):
            with pytest.raises(NoSwitch, match=why):
                await app.switches.switch_off(at)
        for seconds in (0, -1, 1e12, float("nan")):
            with pytest.raises(NoSwitch, match="not possible"):
                await app.switches.switch_off(0, seconds)
        assert app.switches.off == {}


async def test_a_reload_keeps_what_is_off_where_the_rule_stayed(tmp_path: Path) -> None:
    async with running(tmp_path) as app:
        await app.switches.switch_off(0, 60)
        await app.switches.switch_off(1)
        app.now.hits.update({app.switches.rules[0]: 7, app.switches.rules[1]: 3})
        told = await app.reload(config(tmp_path, "port: 2, to: reject", RULES[0], RULES[2]))
        assert told[-2:] == (
            "= rule port: 1, to: reject: stays disabled",
            "= rule port: 1, to: drop: was disabled, and no longer exists",
        )
        assert list(app.switches.off) == [1]
        assert app.switches.off[1].left is not None
        assert way(app) == "Via"
        assert way(app, 2) == "Reject"
        assert [app.now.hits[rule] for rule in app.switches.rules] == [0, 7, 0, 0]
        await app.switches.switch_on(1)
        assert way(app) == "Reject"


async def test_a_rule_is_not_switched_that_a_reload_moved_meanwhile(tmp_path: Path) -> None:
    async with running(tmp_path) as app:
        reload = asyncio.create_task(app.reload(config(tmp_path, "port: 2, to: drop", *RULES)))
        await asyncio.sleep(0)  # it has begun
        with pytest.raises(NoSwitch, match="reloaded"):
            await app.switches.switch_off(0)
        await reload
        assert app.switches.off == {}


async def test_hits_are_counted_for_the_rule_that_decides(tmp_path: Path) -> None:
    async with running(tmp_path) as app:
        host, _, port = app.addresses["in"][0].rpartition(":")
        for target in (1, 1):
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(b"\5\1\0\5\1\0\1\xc0\0\2\1" + target.to_bytes(2))
            assert (await reader.read(12))[:2] == b"\5\0"
            await reader.read(12)
            writer.close()
            await writer.wait_closed()
        assert app.now.hits == {app.switches.rules[0]: 2}


refs = st.lists(
    st.sampled_from(["a", "b", "c"]).map(lambda text: text), min_size=1, max_size=6
).map(lambda texts: [RuleRef("x", line, text) for line, text in enumerate(texts, 1)])


@given(refs, refs, st.data())
def test_counts_follow_the_text_of_rules(
    before: list[RuleRef], after: list[RuleRef], data: st.DataObject
) -> None:
    hits = {rule: data.draw(st.integers(0, 9)) for rule in before}
    found = carried_over(hits, after)

    assert list(found) == after
    for text in "abc":
        old = [hits[rule] for rule in before if rule.text == text]
        new = [found[rule] for rule in after if rule.text == text]
        assert new == (old + [0] * len(new))[: len(new)]


ports = st.lists(st.integers(1, 5), min_size=1, max_size=6)


@given(ports, st.sets(st.integers(0, 5)), st.integers(1, 5))
def test_without_is_as_if_the_rules_were_not_there(
    asked: list[int], off: set[int], port: int
) -> None:
    def judge(kept: list[int]) -> str:
        rules = "".join(f"  - {{port: {one}, user: u, to: reject}}\n" for one in kept)
        return f"rules:\n{rules}  - otherwise: direct\n"

    users = "inbounds: {in: {type: socks, listen: 'unix:/x', users: {name: u, password: p}}}\n"
    flow = Flow(1, Network.TCP, "in", None, Target.of("h", port), "u")
    whole = judge_of(load_text(users + judge(asked)))
    left = judge_of(
        load_text(users + judge([one for at, one in enumerate(asked) if at not in off]))
    )

    found = whole.without(off).decide(flow, NO_FACTS)
    assert type(found) is type(left.decide(flow, NO_FACTS))
    assert whole.without(off).explain(flow).answer == found
