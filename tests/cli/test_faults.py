"""What goes wrong around the command line: full disks, closed pipes, taken ports."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src"
COMMAND = (sys.executable, "-m", "byway")
ENVIRON = {**os.environ, "PYTHONPATH": str(SOURCE)}
ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}

CONFIG = """
inbounds: {home: {type: mixed, listen: "127.0.0.1:%d"}}
outbounds: {香港: {type: http, server: "192.0.2.1:1"}}
rules: [{otherwise: 香港}]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "c.yaml").write_text(CONFIG % 1080, encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("verb", [["check", "-c", "c.yaml"], ["schema"], ["--version"]])
def test_a_full_disk_is_told_in_a_line(verb: list[str], folder: Path) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [*COMMAND, *verb], cwd=folder, env=ENVIRON, stdout=full, stderr=subprocess.PIPE
        )
    assert done.stderr == b"byway: no space left on device\n"
    assert done.returncode == 1


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_closed_descriptors_are_no_fault(closed: str, folder: Path) -> None:
    line = f'"$0" -m byway check -c c.yaml {closed}'
    done = subprocess.run(
        ["sh", "-c", line, sys.executable], cwd=folder, env=ENVIRON, capture_output=True
    )
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_reader_that_left_is_no_fault(folder: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    with open(write, "wb") as gone:
        done = subprocess.run(
            [*COMMAND, "schema"], cwd=folder, env=ENVIRON, stdout=gone, stderr=subprocess.PIPE
        )
    assert (done.returncode, done.stderr) == (1, b"")


@pytest.mark.parametrize("verb", [["why", "a.example"], ["link", "香港"], ["check"]])
def test_a_terminal_without_the_letters(verb: list[str], folder: Path) -> None:
    done = subprocess.run(
        [*COMMAND, *verb, "-c", "c.yaml"], cwd=folder, env=ENVIRON | ASCII, capture_output=True
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.isascii()


def test_an_address_in_use_is_told_with_its_key_and_line(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        (folder / "c.yaml").write_text(CONFIG % port, encoding="utf-8")
        done = subprocess.run(
            [*COMMAND, "run", "-c", "c.yaml"],
            cwd=folder,
            env=ENVIRON,
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert done.returncode == 1
    assert "c.yaml:2:40: inbounds.home.listen: cannot listen on" in done.stderr
    assert f"127.0.0.1:{port}: address already in use" in done.stderr
    assert f"ss -ltunp sport = :{port}" in done.stderr
    assert "Errno" not in done.stderr


TROJAN = (
    "inbounds:\n  a: {type: trojan, listen: '127.0.0.1:0', fallback: '127.0.0.1:1',\n"
    "    users: {name: u, password: 0123456789abcdef}, tls: {cert: /nowhere/c, key: /nowhere/k}}\n"
)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("log:\n  file: /nowhere/x.log\n", "2:1: log.file: /nowhere/x.log: no such file"),
        ("log:\n  level: info\n  file: /\n", "3:1: log.file: /: is a directory"),
        (TROJAN, "2:1: inbounds.a: tls: /nowhere/c: no such file or directory"),
    ],
)
def test_a_file_that_cannot_be_had_is_told_with_its_key_and_line(
    text: str, told: str, folder: Path
) -> None:
    (folder / "c.yaml").write_text(text)
    (folder / "c.yaml").chmod(0o600)
    done = subprocess.run(
        [*COMMAND, "run", "-c", "c.yaml"],
        cwd=folder,
        env=ENVIRON,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert f"c.yaml:{told}" in done.stderr


@pytest.mark.parametrize(
    ("listen", "why"),
    [
        ('"192.0.2.77:1080"', "`ip address` lists"),
        ('"unix:/nowhere/at/all.sock"', "folder of a unix socket"),
    ],
)
def test_an_address_that_cannot_be_had_has_a_remedy(listen: str, why: str, folder: Path) -> None:
    (folder / "c.yaml").write_text(
        f"inbounds: {{a: {{type: mixed, open: true, listen: {listen}}}}}"
    )
    done = subprocess.run(
        [*COMMAND, "run", "-c", "c.yaml"],
        cwd=folder,
        env=ENVIRON,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "inbounds.a.listen: cannot listen on" in done.stderr
    assert why in done.stderr
