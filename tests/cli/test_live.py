"""The verbs that ask a running Byway: a real one, asked by a person and by a program."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src"
COMMAND = (sys.executable, "-m", "byway")


@dataclass
class Running:
    """A `byway run`, and a flow through it."""

    folder: Path
    program: subprocess.Popen[str]
    port: int
    far: int

    @property
    def environ(self) -> dict[str, str]:
        return {**os.environ, "PYTHONPATH": str(SOURCE), "XDG_RUNTIME_DIR": str(self.folder)}

    def said(self, *words: str, status: int = 0, cwd: Path | None = None) -> str:
        """What `byway WORDS` prints."""
        done = subprocess.run(
            [*COMMAND, *words],
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=30,
            cwd=cwd,
        )
        assert done.returncode == status, done.stderr
        return done.stdout + done.stderr

    def __str__(self) -> str:
        """What a verb that changes something says of whom it changed."""
        return f"(byway, pid {self.program.pid}, {self.folder / 'c.yaml'})\n"

    def flow(self) -> socket.socket:
        """A client whose flow is on the road."""
        near = socket.create_connection(("127.0.0.1", self.port), timeout=10)
        near.sendall(b"\5\1\0\5\1\0\1\x7f\0\0\1" + self.far.to_bytes(2, "big"))
        got = b""
        while len(got) < 12:
            got += near.recv(12 - len(got))
        return near


CONFIG = """
inbounds: {home: {type: mixed, listen: "127.0.0.1:0"}}
rules: [{domain: odd.example, to: reject}, {otherwise: direct}]
"""


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    """A Byway with its control socket in the test's folder, and a server to reach."""
    (tmp_path / "c.yaml").write_text(CONFIG)
    with (
        (tmp_path / "log").open("w") as log,
        socket.create_server(("127.0.0.1", 0)) as server,
        subprocess.Popen(
            [*COMMAND, "run", "-c", "c.yaml"],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(SOURCE), "XDG_RUNTIME_DIR": str(tmp_path)},
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        ) as program,
    ):
        assert program.stdout is not None
        port = int(program.stdout.readline().rpartition(":")[2])
        try:
            yield Running(tmp_path, program, port, server.getsockname()[1])
        finally:
            program.terminate()
            assert program.wait(30) == 0
    assert "internal error" not in (tmp_path / "log").read_text()


def test_status_is_told(running: Running) -> None:
    with running.flow():
        told = running.said("status")
        assert "1 live" in told
        assert f"127.0.0.1:{running.port}" in told
        assert "healthy" in told
        status = json.loads(running.said("status", "--json"))
        assert status["pid"] == running.program.pid
        assert status["flows"]["live"] == 1


def test_flows_are_listed_and_cut(running: Running) -> None:
    with running.flow() as near:
        table = running.said("flows")
        assert f"127.0.0.1:{running.far}" in table
        (flow,) = json.loads(running.said("flows", "--json"))["live"]
        assert running.said("flows", "cut", str(flow["id"])) == f"cut {flow['id']}\n{running}"
        with contextlib.suppress(ConnectionResetError):
            assert near.recv(1) == b""
        assert "has ended" in running.said("flows", "cut", str(flow["id"]), status=1)
        assert "cut by a user" in running.said("flows")
    assert "which flows" in running.said("flows", "cut", status=2)


def test_the_log_is_followed(running: Running) -> None:
    assert "info ready" in running.said("log")
    with subprocess.Popen(
        [*COMMAND, "log", "--follow"], env=running.environ, stdout=subprocess.PIPE, text=True
    ) as follower:
        assert follower.stdout is not None
        while "ready" not in follower.stdout.readline():
            pass
        with running.flow():
            running.said("flows", "cut", "1")
        while "info flow" not in (line := follower.stdout.readline()):
            assert line
        running.program.terminate()
        assert follower.wait(30) == 0
    assert running.program.wait(30) == 0  # a second signal may meet a program past its handlers


def test_the_live_view_fits_and_leaves_the_terminal_as_it_was(running: Running) -> None:
    master, slave = pty.openpty()
    environ = {**running.environ, "COLUMNS": "80", "LINES": "24", "TERM": "xterm"}
    with (
        running.flow(),
        subprocess.Popen(
            [*COMMAND, "flows", "--watch", "--every", "0.1"],
            env=environ,
            stdin=slave,
            stdout=slave,
            close_fds=True,
        ) as view,
    ):
        shown = ""
        while shown.count("live flows") < 3:
            shown += os.read(master, 65536).decode()
        os.write(master, b"q")
        assert view.wait(30) == 0
        while select.select([master], [], [], 0)[0]:
            shown += os.read(master, 65536).decode()
    os.close(slave)
    os.close(master)
    assert shown.startswith("\x1b[?1049h\x1b[?25l")
    assert shown.endswith("\x1b[?25h\x1b[?1049l")
    assert f"127.0.0.1:{running.far}" in shown
    for line in re.sub(r"\x1b\[[?0-9;]*[A-Za-z]", "", shown.replace("\x1b[H", "\r\n")).split(
        "\r\n"
    ):
        assert len(line) <= 80


def test_nobody_running_is_told(tmp_path: Path) -> None:
    done = subprocess.run(
        [*COMMAND, "status", "--socket", str(tmp_path / "none.sock")],
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 1
    assert "Byway does not answer" in done.stderr


def test_why_needs_nobody_running(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(CONFIG)
    for target, verdict in [("odd.example", "reject"), ("https://even.example/x", "direct")]:
        done = subprocess.run(
            [*COMMAND, "why", target, "-c", "c.yaml"],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(SOURCE)},
            capture_output=True,
            text=True,
            timeout=30,
        )
        assert done.returncode == 0, done.stderr
        assert f"verdict  {verdict}" in done.stdout
        assert "c.yaml:3 " in done.stdout


def test_why_takes_facts_from_the_question(tmp_path: Path) -> None:
    rules = (
        "rules: [{process_path: /opt/, sniffed: {domain: a.example}, to: reject},"
        " {process: %s, to: drop}, {otherwise: direct}]"
    )
    (tmp_path / "c.yaml").write_text(rules % Path(os.readlink("/proc/self/exe")).name)

    def why(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*COMMAND, "why", "192.0.2.1", "-c", "c.yaml", *words],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(SOURCE)},
            capture_output=True,
            text=True,
            timeout=30,
        )

    told = why("--process", "/opt/x", "--sniffed-name", "a.example").stdout
    assert "verdict  reject" in told
    assert "fact     process: /opt/x (from the question)" in told
    assert "verdict  drop" in why("--process", str(os.getpid())).stdout
    assert "verdict  direct" in why("--process", "curl").stdout
    for wrong in ("a/b", "999999999999"):
        assert why("--process", wrong).returncode == 2
    assert why("--sniffed-protocol", "tsl").returncode == 2
    assert why("--sniffed-name", "192.0.2.1").returncode == 2


def test_why_tells_of_a_flow(running: Running) -> None:
    with running.flow():
        why = json.loads(running.said("why", "--flow", "1", "--json"))
    assert why["verdict"] == "direct"
    assert [rule["outcome"] for rule in why["rules"]] == ["no match", "matched"]
    assert "unknown flow" in running.said("why", "--flow", "99", status=1)
    assert "no target" in running.said("why", status=2)


def test_rules_are_listed_and_switched(running: Running) -> None:
    with running.flow():
        listed = running.said("rules").splitlines()
    assert [line.split() for line in listed[1:]] == [
        ["1", "0", "c.yaml:3", "domain:", "odd.example,", "to:", "reject"],
        ["2", "1", "c.yaml:3", "otherwise:", "direct"],
    ]
    text = "domain: odd.example, to: reject"
    assert running.said("rules", "off", "1", "--for", "1h").startswith("rule 1 is disabled for ")
    assert "rules     2, 1 disabled\n          1 for 60m: domain: odd" in running.said("status")
    told = running.said("why", "odd.example", "-c", "c.yaml", cwd=running.folder)
    assert "disabled" in told
    assert "verdict  direct" in told
    assert "stays disabled" in running.said("reload")
    (_, one, _) = running.said("rules").splitlines()
    assert "[disabled for" in one
    assert running.said("rules", "on", ":3") == f"rule 1 is on: {text}\n{running}"
    rules = json.loads(running.said("rules", "--json"))["rules"]
    assert [rule["state"] for rule in rules] == ["on", "on"]
    for words, why in (
        (("off", "2"), "cannot be disabled"),
        (("off", "7"), "there is no rule '7'"),
        (("off", "other.yaml:3"), "there is no rule"),
        (("off", "1", "--for", "soon"), "not a duration"),
        (("on", "1", "--for", "1m"), "--for requires off"),
        (("off",), "which rule"),
    ):
        assert why in running.said("rules", *words, status=1)


def test_reload_tells_what_changed_and_what_is_wrong(running: Running) -> None:
    file = running.folder / "c.yaml"
    assert running.said("reload") == f"nothing changed\n{running}"
    file.write_text(CONFIG.replace("reject", "drop"))
    assert running.said("reload").splitlines() == [
        "- rule domain: odd.example, to: reject",
        "+ rule domain: odd.example, to: drop",
        str(running).strip(),
    ]
    file.write_text("ruels: []\n")
    assert "ruels: unknown key" in running.said("reload", status=1)
    assert "ruels: unknown key; hint: did you mean rules?" in running.said("status")
    file.write_text(CONFIG)
    running.program.send_signal(signal.SIGHUP)
    while json.loads(running.said("status", "--json"))["reloads"] < 3:
        pass
    assert "healthy" in running.said("status")


def test_sets_are_listed_and_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        dead = taken.getsockname()[1]
    (tmp_path / "c.yaml").write_text(
        'inbounds: {home: {type: mixed, listen: "127.0.0.1:0"}}\n'
        f'sets: {{ads: {{url: "http://127.0.0.1:{dead}/ads?token=secret"}}, a: {{items: b}}}}\n'
        "rules: [{set: [ads, a], to: reject}, {otherwise: direct}]\n"
    )
    environ = {**os.environ, "PYTHONPATH": str(SOURCE), "XDG_RUNTIME_DIR": str(tmp_path)}
    with subprocess.Popen(
        [*COMMAND, "run", "-c", "c.yaml"],
        cwd=tmp_path,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as program:
        assert program.stdout is not None
        port = int(program.stdout.readline().rpartition(":")[2])
        running = Running(tmp_path, program, port, dead)
        try:
            assert "ads: failed: " in running.said("sets", "update", "ads", status=1)
            table = running.said("sets")
            assert "secret" not in table
            assert re.search(
                r"^ads +0 +- +\S+ +0  url http://127.0.0.1:\d+/ads", table, re.MULTILINE
            )
            assert re.search(r"^a +1 ", table, re.MULTILINE)
            assert "set ads: empty since" in running.said("status")
            assert "no set 'a' is from the web" in running.said("sets", "update", "a", status=1)
            assert len(json.loads(running.said("sets", "--json"))["sets"]) == 2
        finally:
            program.terminate()
            assert program.wait(30) == 0
