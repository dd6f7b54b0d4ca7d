"""The examples of the page about rules in Python do what the page says."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path

import pytest

from byway.config import Config, judge_of, load_text
from byway.errors import Unreachable
from byway.facts.finder import Finder
from byway.flow import Flow, Network, Process, Target
from byway.ledger.log import way_of
from byway.rules import Facts, Lacks, Verdict

PAGE = Path(__file__).parents[2] / "docs" / "guide" / "python-rules.md"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The files of the page."""
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL):
        (tmp_path / block.split()[1]).write_text(block)
    return tmp_path


def config(folder: Path, text: str) -> Config:
    found = load_text(text, "x.yaml", str(folder))
    assert found.warnings == ()
    return found


class NoNames:
    async def resolve(self, name: str) -> list[bytes]:
        raise Unreachable(f"no {name}", name)


async def decided(finder: Finder, config: Config, flow: Flow, facts: Facts) -> Verdict:
    judge = judge_of(config)
    while isinstance(answer := judge.decide(flow, facts), Lacks):
        facts = await finder.find(answer, flow, facts)
    assert judge.explain(flow, facts).answer == answer
    return answer


@pytest.fixture
async def finder() -> AsyncIterator[Finder]:
    finder = Finder(NoNames())
    yield finder
    finder.close()


def flow(target: str, network: Network = Network.TCP) -> Flow:
    return Flow(1, network, "mixed", None, Target.parse(target))


async def test_the_first_example(folder: Path, finder: Finder) -> None:
    (text,) = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    found = config(folder, text)

    for target, way in (
        ("wiki.corp.example:443", "office"),
        ("mail.corp.example:25", "direct"),
        ("x.ads.example:443", "reject"),
        ("example.com:443", "direct"),
    ):
        assert way_of(await decided(finder, found, flow(target), Facts())) == way


@pytest.mark.parametrize(("name", "hour", "way"), [
    ("backup", 12, "reject"), ("backup", 3, "direct"), ("curl", 12, "direct"),
])  # fmt: skip
async def test_the_example_with_a_key(
    folder: Path, finder: Finder, name: str, hour: int, way: str
) -> None:
    found = config(folder, "rules: [{python: budget.py:decide}, {otherwise: direct}]")
    facts = Facts(moment=datetime(2026, 11, 23, hour), process=Process(name))

    assert way_of(await decided(finder, found, flow("h:1"), facts)) == way


async def test_the_example_that_asks_another_program(
    folder: Path, finder: Finder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    asked: list[bytes] = []

    async def oracle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readline())
        writer.write(b"reject\n")
        writer.close()

    server = await asyncio.start_unix_server(oracle, "oracle.sock")
    found = config(folder, "rules: [{python: ask.py:decide}, {otherwise: direct}]")
    for _ in range(2):
        assert way_of(await decided(finder, found, flow("a.example:1"), Facts())) == "reject"
    server.close()
    await server.wait_closed()
    assert asked == [b"a.example\n"]
