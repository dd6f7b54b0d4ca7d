"""Real flows by rules in Python: what why says is what happens, and a fault is told once."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import cast

from byway.api.why import inquire, recall
from byway.app.naming import alone
from byway.config import judge_of
from byway.facts.finder import Finder
from byway.flow import Target
from tests.roads import clients
from tests.roads.conftest import RunRoad

SOURCE = """\
import byway

@byway.rule(needs="sniffed", timeout=5)
def decide(flow):
    if flow.sniffed.name == "blocked.example":
        return "reject"
    if flow.sniffed.protocol == "ssh":
        raise ValueError(f"no {flow.target}")
"""


async def test_what_why_says_is_what_happens(road: RunRoad, echo: Target, tmp_path: Path) -> None:
    (tmp_path / "r.py").write_text(SOURCE)
    text = (
        "inbounds: {in: {type: socks, listen: '127.0.0.1:0'}}\n"
        f"rules: [{{python: '{tmp_path}/r.py:decide'}}, {{otherwise: direct}}]\n"
    )
    async with road(text) as run:
        for said in (
            b"SSH-2.0-x\r\n",
            b"SSH-2.0-y\r\n",
            b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n",
        ):
            link = await clients.linked(run.place("in"))
            assert await clients.socks5(link, echo) == 0
            assert await clients.said(link, said) == said
            await clients.left(link)
        await run.settled(3)
        app = run.app
        finder = Finder(app.names)
        for passage in app.ledger.past:
            past = recall(app.now.config, passage, app.now.judge)
            given = type(passage.facts)(sniffed=passage.facts.sniffed)
            async with alone(app.now.config) as it:
                judge = judge_of(app.now.config)
                why = await inquire(it.ways, judge, finder, passage.flow, given=given)
            assert why["verdict"] == past["verdict"] == "direct"
            assert why["rules"] == past["rules"]
            json.dumps(why)
        finder.close()
    log = run.log.read_text()
    assert log.count("a rule in Python failed") == 1
    assert "ValueError: no 127.0.0.1" in log
    facts = cast("list[dict[str, str]]", past["facts"])
    assert facts[-1]["found"] == "r.py:decide says nothing"


async def test_a_function_has_its_own_time_and_not_the_dials(
    road: RunRoad, echo: Target, tmp_path: Path
) -> None:
    (tmp_path / "r.py").write_text(
        "import byway, threading\n"
        "@byway.rule(timeout=0.3)\n"
        "def decide(flow): threading.Event().wait(0.4)\n"
    )
    text = (
        "inbounds: {in: {type: socks, listen: '127.0.0.1:0'}}\nlimits: {dial: 100ms}\n"
        f"rules: [{{python: '{tmp_path}/r.py:decide'}}, {{otherwise: direct}}]\n"
    )
    async with road(text) as run:
        link = await clients.linked(run.place("in"))
        assert await clients.socks5(link, echo) == 0
        assert await clients.said(link, b"hello") == b"hello"
        await clients.left(link)
        await run.settled(1)
    assert "took longer than 0.3 s" in run.log.read_text()


async def test_a_rule_that_backtracks_holds_nobody_up(
    road: RunRoad, echo: Target, tmp_path: Path
) -> None:
    (tmp_path / "r.py").write_text(
        "import byway, re\n"
        "@byway.rule(timeout=10)\n"
        "def decide(flow): return 'reject' if flow.target.port == 9 else None\n"
        "@byway.rule(timeout=2)\n"
        "def slow(flow): re.match(r'(a+)+$', flow.target.host)\n"
    )
    rules = (
        f"rules: [{{port: 9, python: '{tmp_path}/r.py:slow'}},"
        f" {{python: '{tmp_path}/r.py:decide'}}, {{otherwise: direct}}]\n"
    )
    async with road("inbounds: {in: {type: socks, listen: '127.0.0.1:0'}}\n" + rules) as run:

        async def evil() -> None:
            link = await clients.linked(run.place("in"))
            assert await clients.socks5(link, Target.of("a" * 40 + ".example", 9)) == 2
            await clients.left(link)

        async with asyncio.TaskGroup() as tasks:
            held = [tasks.create_task(evil()) for _ in range(2)]
            for _ in range(10):
                link = await clients.linked(run.place("in"))
                assert await clients.socks5(link, echo) == 0
                assert await clients.said(link, b"hello") == b"hello"
                await clients.left(link)
            assert not any(one.done() for one in held)
        await run.settled(12)
    assert "took longer than 2 s" in run.log.read_text()
