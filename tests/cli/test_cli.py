"""The command line, as a program sees it."""

from __future__ import annotations

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from byway.cli import main

SOURCE = Path(__file__).parents[2] / "src"
COMMAND = (sys.executable, "-m", "byway")
ENVIRON = {**os.environ, "PYTHONPATH": str(SOURCE)}


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No config but the test's own is found."""
    monkeypatch.chdir(tmp_path)
    for name in ("BYWAY_CONFIG", "XDG_CONFIG_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("byway ")


def test_check_tells_good_from_bad(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "byway.yaml").write_text("rules: [{otherwise: direct}]\n")
    assert main(["check"]) == 0
    (tmp_path / "byway.yaml").write_text("ruels: []\n")
    assert main(["check", "--json"]) == 1
    assert '"ok": false' in capsys.readouterr().out


def test_names_in_other_scripts_are_asked_as_they_are_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "byway.yaml").write_text(
        "dns: {hosts: {例え.jp: 127.0.0.9}}\n"
        "rules: [{domain_suffix: 例え.jp, to: reject}, {otherwise: direct}]\n"
    )
    for target in ("例え.jp", "www.例え.jp:80", "https://例え.jp/x"):
        assert main(["why", target]) == 0
        assert "verdict  reject" in capsys.readouterr().out
    assert main(["resolve", "-c", "byway.yaml", "例え.jp"]) == 0
    assert "127.0.0.9" in capsys.readouterr().out
    for bad in ("ß.example", "a b", "192.0.2.1"):
        assert main(["resolve", bad]) == 2
        assert bad in capsys.readouterr().err


def test_why_tells_the_line_of_an_entry_that_stands_in_the_config(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "byway.yaml").write_text(
        "sets:\n  few:\n    items:\n      - one.example\n\n      - two.example\n"
        "rules:\n  - {set: few, to: reject}\n  - otherwise: direct\n"
    )
    assert main(["why", "www.two.example"]) == 0
    assert "byway.yaml:6: two.example" in capsys.readouterr().out
    assert main(["why", "192.0.2.1"]) == 0
    assert "set: no, 192.0.2.1:443 is not in few" in capsys.readouterr().out


def test_schema_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"]) == 0
    assert "properties" in json.loads(capsys.readouterr().out)


def test_a_reader_who_leaves_early_is_no_fault() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [*COMMAND, "schema"], env=ENVIRON, stdout=writer, stderr=subprocess.PIPE, timeout=30
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, b"")


def test_run_refuses_a_bad_config(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.yaml").write_text("inbounds: 7\n")
    assert main(["run", "-c", "x.yaml"]) == 1
    assert "x.yaml:1:" in capsys.readouterr().err
    assert main(["run", "-c", "x.yaml", "socks5://h:1"]) == 2


def test_run_names_the_address_it_cannot_have(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        place = f"127.0.0.1:{taken.getsockname()[1]}"
        (tmp_path / "c.yaml").write_text(f"inbounds: {{a: {{type: mixed, listen: '{place}'}}}}\n")
        done = subprocess.run(
            [*COMMAND, "run", "-c", "c.yaml"], env=ENVIRON, capture_output=True, timeout=30
        )
    assert done.returncode == 1
    assert f"cannot listen on {place}".encode() in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_run_serves_until_a_signal(tmp_path: Path, number: signal.Signals) -> None:
    (tmp_path / "c.yaml").write_text(
        "log: {format: json}\n"
        "inbounds: {a: {type: mixed, listen: '127.0.0.1:0', users: [{name: a, password: b}]}}\n"
    )
    (tmp_path / "c.yaml").chmod(0o644)
    with subprocess.Popen(
        [*COMMAND, "run", "-c", "c.yaml"],
        env=ENVIRON,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as program:
        assert program.stdout is not None
        name, _, place = program.stdout.readline().strip().partition(": ")
        assert name == "a"
        host, port = place.split(":")
        with socket.create_connection((host, int(port))) as link:
            link.sendall(b"\5\1\2")
            assert link.recv(2) == b"\5\2"
        program.send_signal(number)
        _, log = program.communicate(timeout=30)
    assert program.returncode == 0
    said = [json.loads(line)["message"] for line in log.splitlines()]
    assert "every user of this host can read it" in said[0]
    assert "ready" in said
    assert said[-1] == "stopped"


@pytest.mark.parametrize("outputs", [">&- 2>&-", ">/dev/full 2>/dev/full"])
def test_run_needs_no_output(tmp_path: Path, outputs: str) -> None:
    place = tmp_path / "door"
    (tmp_path / "c.yaml").write_text("inbounds: {a: {type: mixed, listen: 'unix:door'}}\n")
    command = f"exec {shlex.join(COMMAND)} run -c c.yaml {outputs}"
    with subprocess.Popen(["sh", "-c", command], env=ENVIRON, cwd=tmp_path) as program:
        while program.poll() is None:
            with socket.socket(socket.AF_UNIX) as link, suppress(OSError):
                link.connect(str(place))
                link.sendall(b"\5\1\0")
                assert link.recv(9) == b"\5\0"
                link.close()
                program.send_signal(signal.SIGTERM)
                program.wait()
    assert program.returncode == 0


def test_an_early_ctrl_c_shows_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("byway.config.read.schema.schema_text", interrupted)
    assert main(["schema"]) == 130
    assert capsys.readouterr().err == ""
