"""The lines Byway writes: complete, escaped, and bounded."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from byway.flow import Flow, Network, Target
from byway.ledger import Passage
from byway.ledger.log import Log, Writing, escaped
from byway.rules import Reject, RuleRef, Via
from byway.system.lines import LineWriter


def passage(user: str | None = "ann") -> Passage:
    flow = Flow(7, Network.TCP, "home", Target.of("::1", 5), Target.of("example.com", 443), user)
    one = Passage(flow)
    one.verdict = Via("office", RuleRef("byway.yaml", 12, "port: 443, to: office"))
    one.chain = ("hop", "office")
    one.reason = "closed"
    one.stop()
    return one


def test_a_flow_in_one_line() -> None:
    lines: list[str] = []
    Log.to(Writing(lines.append)).flow(passage())
    stamp, rest = lines[0].split(" ", 1)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", stamp)
    assert re.sub(r"seconds=\S+", "seconds=0", rest) == (
        "info flow id=7 network=tcp inbound=home source=[::1]:5 user=ann target=example.com:443 "
        "verdict=office rule=byway.yaml:12 chain=hop>office up=0 down=0 seconds=0 end=closed"
    )


def test_a_flow_as_json() -> None:
    lines: list[str] = []
    Log.to(Writing(lines.append, format="json")).flow(passage("a\nb\x1b[31m"))
    record = json.loads(lines[0])
    assert "\n" not in lines[0]
    assert "\x1b" not in lines[0]
    assert record["user"] == "a\nb\x1b[31m"
    assert record["chain"] == "hop>office"
    assert record["level"] == "info"


def test_verdicts_have_words() -> None:
    lines: list[str] = []
    one = passage()
    one.verdict = Reject(RuleRef("f", 1, "x"))
    Log.to(Writing(lines.append)).flow(one)
    assert "verdict=reject rule=f:1" in lines[0]


@pytest.mark.parametrize(
    ("text", "safe"),
    [("plain é", "plain é"), ("a\nb", "a\\nb"), ("\x1b[2J", "\\x1b[2J"), ("\u202e", "\\u202e")],
)
def test_escapes_what_could_command_a_terminal(text: str, safe: str) -> None:
    assert escaped(text) == safe


def test_values_cannot_pass_for_fields() -> None:
    lines: list[str] = []
    Log.to(Writing(lines.append)).info("said", what='x" level=error y="')
    assert lines[0].endswith(r'what="x\" level=error y=\""')


def test_levels_and_flows_can_be_silenced() -> None:
    lines: list[str] = []
    log = Log.to(Writing(lines.append, level="warning"))
    log.debug("d")
    log.info("i")
    log.warning("w")
    log.error("e")
    log.flow(passage())
    assert [line.split()[1] for line in lines] == ["warning", "error"]
    Log.to(Writing(lines.append, flows=False)).flow(passage())
    assert len(lines) == 2


def test_a_slow_reader_loses_lines_and_is_told() -> None:
    reader, writer = os.pipe()
    lines = LineWriter(writer, room=10, owned=True)
    for number in range(1000):
        lines.write(f"{number:05d}" + "x" * 995)
    lines.close(0.05)  # the pipe is full, and nobody waits for it
    got = b""
    while b"were lost" not in got:
        got += os.read(reader, 65536)
    os.close(reader)
    assert lines.lost > 0
    assert b"(%d log lines were lost" % lines.lost in got
    assert got.startswith(b"00000")


def test_writes_what_waits_at_the_end() -> None:
    reader, writer = os.pipe()
    lines = LineWriter(writer, owned=True)
    lines.write("one")
    lines.write("two")
    lines.close()
    assert os.read(reader, 100) == b"one\ntwo\n"
    assert os.read(reader, 100) == b""
    os.close(reader)


def test_a_reader_that_left_stops_nothing() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    lines = LineWriter(writer, owned=True)
    lines.write("to nobody")
    lines.close()


def test_a_full_disk_silences_it_only_as_long_as_it_is_full() -> None:
    """/dev/full fails each write as a full disk does; then there is room again."""
    with tempfile.TemporaryFile() as file, open("/dev/full", "wb", buffering=0) as full:
        place = os.dup(file.fileno())
        lines = LineWriter(place, owned=True)
        lines.write("before")
        _until(lambda: os.fstat(place).st_size == len("before\n"))
        os.dup2(full.fileno(), place)
        lines.write("lost one")
        _until(lambda: lines.lost == 1)
        assert lines.problem == "No space left on device"
        lines.write("lost two")
        _until(lambda: lines.lost == 2)
        os.dup2(file.fileno(), place)
        lines.write("after")
        lines.close(10)
        assert (lines.lost, lines.problem) == (2, "")
        assert lines.why == "No space left on device"
        file.seek(0)
        told = b"(2 log lines were lost: No space left on device)"
        assert file.read().split(b"\n") == [b"before", told, b"after", b""]


def test_a_line_that_was_written_in_part_does_not_run_into_the_next(tmp_path: Path) -> None:
    """A limit on the size of files cuts a batch in its midst, as a disk that fills up does."""
    script = """
import os, resource, signal, sys
from byway.system.lines import LineWriter
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
place = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (10, hard))
lines = LineWriter(place)
lines.write("12345")
lines.write("67890")
lines.write("abcde")
while lines.lost < 2:
    pass
assert lines.problem == "File too large", lines.problem
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
lines.write("after")
lines.close(10)
assert (lines.lost, lines.problem) == (2, "")
"""
    place = tmp_path / "log"
    subprocess.run([sys.executable, "-c", script, str(place)], check=True, timeout=30)
    told = "12345\n6789\n(2 log lines were lost: File too large)\nafter\n"
    assert place.read_text() == told


def _until(condition: Callable[[], bool]) -> None:
    pause = threading.Event()
    while not condition():
        pause.wait(0.005)
