"""Rules in Python: loaded with faults told, asked within their time, remembered, never fatal."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import socket
import textwrap
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

import byway
from byway.facts.python import Function, ScriptError, fields_of, load
from byway.facts.worker import seen
from byway.facts.workers import MOST_WAITING, MOST_WORKERS, Pool
from byway.flow import Flow, Network, Process, Sniffed, Target
from byway.rules import NO_FACTS, Fact, Facts, Said

WAYS = frozenset({"direct", "office", "reject", "drop"})


Ask = Callable[..., "asyncio.Task[Said]"]


@pytest.fixture
async def ask() -> AsyncIterator[Ask]:
    """Asks functions; the processes are ended with the test."""
    pools: dict[object, Pool] = {}
    async with asyncio.TaskGroup() as tasks:

        def begin(asked: Function, host: str = "a.example") -> asyncio.Task[Said]:
            key = (asked.script, asked.side_by_side)
            if key not in pools:
                pools[key] = Pool(asked.script.source, asked.side_by_side)
            return tasks.create_task(asked.answer(flow(host), NO_FACTS, pools[key]))

        yield begin
        for pool in pools.values():
            pool.close()


def function(folder: Path, source: str, name: str = "decide") -> Function:
    file = folder / "my_rules.py"
    file.write_text("import byway\n" + textwrap.dedent(source))
    file.chmod(0o600)
    return Function(load(str(file)), name, WAYS)


def flow(host: str = "a.example", port: int = 443) -> Flow:
    return Flow(1, Network.TCP, "home", Target.of("192.0.2.1", 5), Target.of(host, port), "ann")


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
    tmp_path: Path, ask: Ask, verdict: str, way: str | None, word: str
) -> None:
    asked = function(tmp_path, f"{word} decide(flow): return {verdict}")

    assert await ask(asked) == Said(way)


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
    tmp_path: Path, ask: Ask, body: str, note: str, word: str
) -> None:
    if "decide(flow)" in body and word == "async def":
        body = "return await decide(flow)"
    patient = "@byway.rule(timeout=10)"  # a traceback takes its time on a busy machine
    asked = function(tmp_path, f"{patient}\n{word} decide(flow):\n    {body}")

    answer = await ask(asked)
    assert answer.way is None
    assert answer.note.startswith(note)
    assert answer.place
    assert (await ask(asked, "b.example")).place == answer.place


async def test_a_function_without_a_key_is_asked_each_time(tmp_path: Path, ask: Ask) -> None:
    asked = function(
        tmp_path,
        """
        ways = iter(["office", "drop"])
        def decide(flow): return next(ways)
        """,
    )
    assert [(await ask(asked)).way for _ in range(2)] == ["office", "drop"]


async def test_an_answer_is_remembered_by_its_key(tmp_path: Path, ask: Ask) -> None:
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
    ways = [(await ask(asked, host)).way for host in "aabacabb"]
    # a, b, a; then c pushes b out, which is asked anew at the end and remembered again
    assert ways == ["office"] * 6 + [None, None]


async def test_what_is_remembered_is_bounded_and_last_used(tmp_path: Path, ask: Ask) -> None:
    asked = function(
        tmp_path,
        """
        asked = []
        @byway.rule(key=lambda flow: flow.target.host[0], cached=3)
        def decide(flow):
            asked.append(flow.target.host)
            return "office" if len(asked) % 2 else None
        """,
    )
    chance, reference, calls = random.Random(3), dict[str, str | None](), 0
    for host in chance.choices("abcde", k=200):
        if host in reference:
            way = reference.pop(host)
        else:
            calls += 1
            way = "office" if calls % 2 else None
        reference[host] = way
        if len(reference) > 3:
            del reference[next(iter(reference))]
        assert await ask(asked, host) == Said(way)


EVIL = "a" * 40 + ".example"
BACKTRACKING = """
    import re
    pattern = re.compile(r"(a+)+$")
    @byway.rule(timeout=0.3)
    def decide(flow):
        return "office" if pattern.match(flow.target.host[:-7]) else None
    @byway.rule(timeout=0.3)
    async def later(flow):
        return "office" if pattern.match(flow.target.host[:-7]) else "drop"
    """


@pytest.mark.parametrize("name", ["decide", "later"])
async def test_what_holds_the_interpreter_up_holds_up_its_process_alone(
    tmp_path: Path, ask: Ask, name: str
) -> None:
    asked = function(tmp_path, BACKTRACKING, name)
    assert await ask(asked, "aaa.example") == Said("drop" if name == "later" else None)
    evil = [ask(asked, EVIL) for _ in range(3)]
    turns = 0
    while not all(one.done() for one in evil):
        turns += 1
        await asyncio.sleep(0.001)
    assert turns > 50  # this loop went on
    assert {(await one).note for one in evil} <= {
        "took longer than 0.3 s", "its process was ended with another",
    }  # fmt: skip
    assert await ask(asked, "b.example") == Said("drop" if name == "later" else None)


async def test_others_are_answered_while_one_is_held_up(tmp_path: Path, ask: Ask) -> None:
    asked = function(tmp_path, BACKTRACKING.replace("timeout=0.3", "timeout=10"))
    assert await ask(asked) == Said(None)
    evil = ask(asked, EVIL)
    await asyncio.sleep(0)
    for _ in range(20):
        assert await ask(asked) == Said(None)
    assert not evil.done()


async def test_what_waits_is_bounded(tmp_path: Path, ask: Ask) -> None:
    asked = function(
        tmp_path,
        """
        import os, pathlib, time
        @byway.rule(timeout=0.5)
        def decide(flow):
            pathlib.Path(__file__).with_name(f"pid-{os.getpid()}").touch()
            time.sleep(60)
        """,
    )
    answers = await asyncio.gather(*(ask(asked) for _ in range(MOST_WAITING + 20)))
    notes = [answer.note for answer in answers]
    assert notes.count("too many questions wait for an answer") == 20
    assert notes.count("took longer than 0.5 s") == MOST_WAITING
    living = [path for path in tmp_path.glob("pid-*") if Path("/proc", path.name[4:]).exists()]
    assert len(living) <= MOST_WORKERS


async def test_coroutines_wait_side_by_side_and_are_cancelled_in_time(
    tmp_path: Path, ask: Ask
) -> None:
    asked = function(
        tmp_path,
        """
        import asyncio, pathlib
        met = asyncio.Barrier(50)
        @byway.rule(timeout=10)
        async def decide(flow):
            await met.wait()
            return "office"
        @byway.rule(timeout=0.05)
        async def slow(flow):
            try:
                await asyncio.sleep(60)
            finally:
                pathlib.Path(__file__).with_name(f"ended-{flow.target.host}").touch()
        """,
    )
    slow = Function(asked.script, "slow", WAYS)
    late = [ask(slow, host) for host in "abc"]
    together = [ask(asked) for _ in range(50)]
    assert {(await one).way for one in together} == {"office"}
    assert {(await one).note for one in late} == {"took longer than 0.05 s"}
    assert len(list(tmp_path.glob("ended-*"))) == 3


@pytest.mark.parametrize("word", ["def", "async def"])
async def test_a_process_that_ends_is_replaced(tmp_path: Path, ask: Ask, word: str) -> None:
    source = f"""
        import os
        @byway.rule(timeout=10)
        {word} decide(flow): return os._exit(3) if flow.target.host == "b" else "office"
        """
    asked = function(tmp_path, source)
    for _ in range(2):
        assert await ask(asked) == Said("office")
        assert (await ask(asked, "b")).note == "its process has ended"


async def test_a_file_that_runs_no_more_is_told(tmp_path: Path, ask: Ask) -> None:
    (tmp_path / "there").touch()
    asked = function(
        tmp_path,
        """
        open(__file__.replace("my_rules.py", "there"))
        def decide(flow): return "office"
        """,
    )
    (tmp_path / "there").unlink()
    answer = await ask(asked)
    assert answer.note.startswith("its file does not run: FileNotFoundError")


async def test_a_rule_that_forks_keeps_no_descriptor_and_answers_once(
    tmp_path: Path, ask: Ask
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.set_inheritable(True)
        asked = function(
            tmp_path,
            """
            import json, os, pathlib, time
            @byway.rule(timeout=10)
            def decide(flow):
                child = os.fork()
                if not child:
                    return "drop"
                os.waitpid(child, 0)
                held = [os.readlink(f"/proc/self/fd/{n}") for n in os.listdir("/proc/self/fd")
                        if os.path.exists(f"/proc/self/fd/{n}")]
                pathlib.Path(__file__).with_name("held").write_text(json.dumps(held))
                return "office"
            """,
        )
        for _ in range(2):
            assert await ask(asked) == Said("office")
        held = json.loads((tmp_path / "held").read_text())
        assert sum(one.startswith("socket:") for one in held) == 1  # its own, to Byway
        number = os.fstat(listener.fileno()).st_ino
        assert f"socket:[{number}]" not in held


async def test_a_process_ends_with_its_pool(tmp_path: Path) -> None:
    asked = function(
        tmp_path,
        """
        import os, pathlib, subprocess, time
        @byway.rule(timeout=10)
        def decide(flow):
            child = subprocess.Popen(["sleep", "60"])
            pathlib.Path(__file__).with_name("pids").write_text(f"{os.getpid()} {child.pid}")
            return "office"
        """,
    )
    pool = Pool(asked.script.source, False)
    assert await asked.answer(flow(), NO_FACTS, pool) == Said("office")
    worker, child = (tmp_path / "pids").read_text().split()
    pool.close()
    assert not Path("/proc", worker).exists()
    async with asyncio.timeout(60):
        with contextlib.suppress(OSError):
            while Path("/proc", child, "stat").read_text().rpartition(")")[2].split()[0] != "Z":
                await asyncio.sleep(0.001)


def test_a_file_that_never_ends_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("byway.facts.workers.START", 0.3)
    with pytest.raises(ScriptError, match=r"took longer than 0\.3 s"):
        function(tmp_path, "import re\nre.match(r'(a+)+$', 'a' * 40 + 'b')\ndef decide(f): ...")


def test_a_flow_is_shown_whole() -> None:
    moment = datetime(2026, 11, 23, 12)
    facts = Facts((b"\n\0\0\1",), moment, Process("curl"), Sniffed("tls", "b.example"))

    def shown(flow: Flow, facts: Facts) -> byway.Flow:
        return seen(json.loads(json.dumps(fields_of(flow, facts))))

    assert shown(flow(), facts) == byway.Flow(
        "tcp", "home", Target.of("a.example", 443), Target.of("192.0.2.1", 5), "ann",
        ("10.0.0.1",), Process("curl"), Sniffed("tls", "b.example"), moment,
    )  # fmt: skip
    assert shown(flow(), NO_FACTS).addresses is None
    assert shown(flow(), Facts(addresses=())).addresses == ()
    assert shown(flow("2001:db8::1"), NO_FACTS).addresses == ("2001:db8::1",)
    for zone in (UTC, timezone(timedelta(hours=-3, minutes=-30), "NST")):
        there = shown(flow(), Facts(moment=datetime(2026, 11, 23, 12, tzinfo=zone))).moment
        assert there == datetime(2026, 11, 23, 12, tzinfo=zone)
        assert there is not None
        assert (there.hour, there.tzname()) == (12, zone.tzname(None))


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
        ("@byway.rule(needs='weather')\ndef decide(f): ...", "'weather' is not a fact"),
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
        with pytest.raises(ScriptError, match="other users can write to it") as caught:
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


async def test_a_dataclass_can_stand_in_a_file(tmp_path: Path, ask: Ask) -> None:
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
    assert await ask(asked) == Said("office")
