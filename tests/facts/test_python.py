"""Rules in Python: loaded with faults told, asked within their time, remembered, never fatal."""

from __future__ import annotations

import asyncio
import os
import textwrap
import threading
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import byway
from byway.facts.python import Function, ScriptError, load, shown
from byway.facts.threads import Threads
from byway.flow import Flow, Network, Process, Sniffed, Target
from byway.rules import NO_FACTS, Fact, Facts, Said

WAYS = frozenset({"direct", "office", "reject", "drop"})


@pytest.fixture
def threads() -> Iterator[Threads]:
    threads = Threads()
    yield threads
    threads.close()


def function(folder: Path, source: str, name: str = "decide") -> Function:
    file = folder / "my_rules.py"
    file.write_text("import byway\n" + textwrap.dedent(source))
    file.chmod(0o600)
    return Function(load(str(file)), name, WAYS)


def flow(host: str = "a.example", port: int = 443) -> Flow:
    return Flow(1, Network.TCP, "home", Target.of("192.0.2.1", 5), Target.of(host, port), "ann")


async def said(asked: Function, threads: Threads, host: str = "a.example") -> Said:
    async with asyncio.timeout(10):
        return await asked.answer(flow(host), NO_FACTS, threads)


@pytest.mark.parametrize(
    ("verdict", "way"),
    [
        ("'office'", "office"),
        ("byway.Via('office')", "office"),
        ("'reject'", "reject"),
        ("byway.Reject()", "reject"),
        ("byway.Drop()", "drop"),
        ("None", None),
    ],
)
@pytest.mark.parametrize("word", ["def", "async def"])
async def test_a_verdict_is_a_word_or_a_value(
    tmp_path: Path, threads: Threads, verdict: str, way: str | None, word: str
) -> None:
    asked = function(tmp_path, f"{word} decide(flow): return {verdict}")

    assert await said(asked, threads) == Said(way)


@pytest.mark.parametrize(
    ("body", "note"),
    [
        ("return 'offfice'", "there is no outbound 'offfice'"),
        ("return 7", "a verdict is a name or None, not int"),
        (
            "return flow.x",
            "AttributeError: 'Flow' object has no attribute 'x' (line 4)",
        ),
        ("raise SystemExit(3)", "SystemExit: 3 (line 4)"),
        ("assert False", "AssertionError (line 4)"),
        ("return decide(flow)", "RecursionError: maximum recursion depth exceeded"),
    ],
)
@pytest.mark.parametrize("word", ["def", "async def"])
async def test_a_fault_is_no_match(
    tmp_path: Path, threads: Threads, body: str, note: str, word: str
) -> None:
    if "decide(flow)" in body and word == "async def":
        body = "return await decide(flow)"
    patient = "@byway.rule(timeout=5)"  # a traceback takes its time on a busy machine
    asked = function(tmp_path, f"{patient}\n{word} decide(flow):\n    {body}")

    answer = await said(asked, threads)
    assert answer.way is None
    assert answer.note.startswith(note)
    assert answer.place
    assert (await said(asked, threads, "b.example")).place == answer.place


async def test_a_function_without_a_key_is_asked_each_time(
    tmp_path: Path, threads: Threads
) -> None:
    asked = function(
        tmp_path,
        """
        ways = iter(["office", "drop"])
        def decide(flow): return next(ways)
        """,
    )
    assert [(await said(asked, threads)).way for _ in range(2)] == ["office", "drop"]


async def test_an_answer_is_remembered_by_its_key(tmp_path: Path, threads: Threads) -> None:
    asked = function(
        tmp_path,
        """
        asked = []
        @byway.rule(key=lambda flow: flow.target.host, cached=2)
        def decide(flow):
            asked.append(flow.target.host)
            return "office" if len(asked) < 4 else None
        """,
    )
    ways = [(await said(asked, threads, host)).way for host in "aabacabb"]
    # a, b, a; then c pushes b out, which is asked anew at the end and remembered again
    assert ways == ["office"] * 6 + [None, None]


@given(st.lists(st.sampled_from("abcd"), max_size=20), st.integers(1, 4))
def test_what_is_remembered_is_bounded_and_last_used(hosts: list[str], size: int) -> None:
    asked = Function.__new__(Function)
    calls: list[str] = []

    @byway.rule(key=lambda seen: seen.target.host, cached=size)
    def decide(seen: byway.Flow) -> str:
        calls.append(seen.target.host)
        return "office"

    from byway.facts.python import Script

    asked.__init__(Script("x.py", b"", {"decide": decide}), "decide", WAYS)  # type: ignore[misc]
    reference: list[str] = []
    expected: list[str] = []
    for host in hosts:
        assert asked._asked(shown(flow(host), NO_FACTS)) == Said("office")
        if host in reference:
            reference.remove(host)
        else:
            expected.append(host)
        reference = [*reference, host][-size:]
    assert calls == expected


async def test_who_takes_too_long_is_no_match_and_heard_later(
    tmp_path: Path, threads: Threads
) -> None:
    asked = function(
        tmp_path,
        """
        import threading
        gate = threading.Event()
        @byway.rule(key=lambda flow: 1, timeout=0.02)
        def decide(flow):
            gate.wait(10)
            return "office"
        """,
    )
    answer = await said(asked, threads)
    assert answer == Said(None, "took longer than 0.02 s", answer.place)
    asked._function.__globals__["gate"].set()
    async with asyncio.timeout(10):
        while (await said(asked, threads)).way != "office":
            await asyncio.sleep(0)


async def test_stuck_threads_are_bounded_and_never_hold_up_the_loop(tmp_path: Path) -> None:
    threads = Threads(most=2, waiting=5)
    asked = function(
        tmp_path,
        """
        import threading
        gate = threading.Event()
        @byway.rule(timeout=0.05)
        def decide(flow): gate.wait(20)
        """,
    )
    before = threading.active_count()
    began = time.monotonic()
    answers = await asyncio.gather(*(said(asked, threads) for _ in range(20)))
    assert time.monotonic() - began < 5
    notes = [answer.note for answer in answers]
    assert notes.count("too many questions wait for an answer") == 15
    assert notes.count("took longer than 0.05 s") == 5
    assert threading.active_count() <= before + 2
    asked._function.__globals__["gate"].set()
    threads.close()


async def test_coroutines_wait_side_by_side_and_are_cancelled_in_time(tmp_path: Path) -> None:
    threads = Threads(most=1, waiting=64)
    asked = function(
        tmp_path,
        """
        import asyncio
        ended = []
        @byway.rule(timeout=0.2)
        async def decide(flow):
            try:
                await asyncio.sleep(0.01 if flow.target.host == "a.example" else 60)
                return "office"
            finally:
                ended.append(1)
        """,
    )
    hosts = ["a.example"] * 50 + ["slow.example"] * 3
    answers = await asyncio.gather(*(said(asked, threads, host) for host in hosts))
    assert [answer.way for answer in answers] == ["office"] * 50 + [None] * 3
    assert {answer.note for answer in answers[50:]} == {"took longer than 0.2 s"}
    ended = asked._function.__globals__["ended"]
    async with asyncio.timeout(10):
        while len(ended) < 53:
            await asyncio.sleep(0.001)
    threads.close()


def test_a_flow_is_shown_whole() -> None:
    moment = datetime(2026, 11, 23, 12)
    facts = Facts((b"\n\0\0\1",), moment, Process("curl"), Sniffed("tls", "b.example"))

    assert shown(flow(), facts) == byway.Flow(
        "tcp", "home", Target.of("a.example", 443), Target.of("192.0.2.1", 5), "ann",
        ("10.0.0.1",), Process("curl"), Sniffed("tls", "b.example"), moment,
    )  # fmt: skip
    assert shown(flow(), NO_FACTS).addresses is None
    assert shown(flow(), Facts(addresses=())).addresses == ()
    assert shown(flow("2001:db8::1"), NO_FACTS).addresses == ("2001:db8::1",)


def test_needs_are_facts(tmp_path: Path) -> None:
    source = "@byway.rule(needs=('address', 'time', 'sniffed', 'process'))\ndef decide(f): ..."
    assert function(tmp_path, source).needs == (
        Fact.ADDRESS, Fact.MOMENT, Fact.SNIFFED, Fact.PROCESS,
    )  # fmt: skip
    assert function(tmp_path, "@byway.rule(needs='time')\ndef decide(f): ...").needs == (
        Fact.MOMENT,
    )


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("def decid(flow): ...", "has no function 'decide'"),
        ("decide = 3", "'decide' in it is not a function"),
        ("def decide(): ...", "cannot be called with one flow"),
        ("def decide(flow, more): ...", "cannot be called with one flow"),
        ("def decide(*, flow): ...", "cannot be called with one flow"),
        ("def decide(flow) ...", "does not run: SyntaxError: expected ':' (line 2)"),
        ("import nothing_of_this_name", "does not run: ModuleNotFoundError"),
        ("raise SystemExit", "does not run: SystemExit (line 2)"),
        ("raise OSError('a\\x1b[31mb')", "does not run: OSError: a\\x1b[31mb (line 2)"),
        ("x = 1\n1 / 0", "does not run: ZeroDivisionError: division by zero (line 3)"),
        ("@byway.rule(needs='weather')\ndef decide(f): ...", "'weather' cannot be needed"),
        ("@byway.rule(timeout=0)\ndef decide(f): ...", "timeout is more than 0"),
        ("@byway.rule(cached=0)\ndef decide(f): ...", "cached is 1 to"),
        ("@byway.rule(key=3)\ndef decide(f): ...", "key is a function"),
        ("\0", "does not run"),
    ],
)
def test_a_file_that_does_not_serve_is_refused(tmp_path: Path, source: str, message: str) -> None:
    with pytest.raises(ScriptError) as caught:
        function(tmp_path, source)
    assert message in str(caught.value)


def test_who_may_write_the_file_decides(tmp_path: Path) -> None:
    file = tmp_path / "r.py"
    with pytest.raises(ScriptError, match="cannot be read: no such file"):
        load(str(file))
    file.write_text("def decide(flow): ...")
    for mode in (0o620, 0o602, 0o666):
        file.chmod(mode)
        with pytest.raises(ScriptError, match="others may write it") as caught:
            load(str(file))
        assert "chmod go-w" in caught.value.hint
    file.chmod(0o644)
    load(str(file))
    with pytest.raises(ScriptError, match=r"is not a file|is a directory"):
        load(str(tmp_path))
    if os.geteuid() == 0:
        os.chown(file, 12345, -1)
        with pytest.raises(ScriptError, match="belongs to another user"):
            load(str(file))


def test_nothing_is_left_of_a_file_that_failed(tmp_path: Path) -> None:
    import sys

    before = set(sys.modules)
    with pytest.raises(ScriptError):
        function(tmp_path, "1 / 0")
    assert set(sys.modules) - before <= {"byway.scripting"}
    assert not list(tmp_path.glob("**/*.pyc"))


def test_a_dataclass_can_stand_in_a_file(tmp_path: Path) -> None:
    asked = function(
        tmp_path,
        """
        from dataclasses import dataclass, field
        @dataclass
        class Kept:
            names: "list[str]" = field(default_factory=list)
        kept = Kept()
        def decide(flow):
            kept.names.append(flow.target.host)
            return "office"
        """,
    )
    assert asked._asked(shown(flow(), NO_FACTS)) == Said("office")
