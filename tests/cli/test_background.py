"""A Byway in the background: begun, confirmed or not, and ended."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.interop.programs import until

COMMAND = [sys.executable, "-c", "from byway.cli import main; raise SystemExit(main())"]
CONFIG = "inbounds: {mixed: {type: mixed, listen: '127.0.0.1:0'}}\n"


class Shell:
    """Verbs, as a person types them in a folder with a config."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environ = {**os.environ, "XDG_RUNTIME_DIR": str(folder), "HOME": str(folder)}
        self.environ.pop("BYWAY_CONFIG", None)

    def __call__(self, *words: str) -> tuple[int, str]:
        done = subprocess.run(
            [*COMMAND, *words],
            cwd=self.folder,
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=90,
        )
        return done.returncode, done.stdout + done.stderr


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    (tmp_path / "byway.yaml").write_text(CONFIG)
    shell = Shell(tmp_path)
    yield shell
    shell("down", "-c", "byway.yaml")


def test_up_and_down(shell: Shell) -> None:
    status, said = shell("up", "byway.yaml")
    assert status == 0, said
    assert "mixed: 127.0.0.1:" in said
    assert "byway.yaml" in shell("status", "-c", "byway.yaml")[1]
    status, said = shell("up", "byway.yaml")
    assert status == 1
    assert "runs already" in said
    assert shell("down", "-c", "byway.yaml")[0] == 0
    status, said = shell("down", "-c", "byway.yaml")
    assert status == 1
    assert "no running Byway" in said


def test_what_cannot_begin_says_why(shell: Shell) -> None:
    (shell.folder / "byway.yaml").write_text("inbounds: {m: {type: mixed, listen: '192.0.2.1:1'}}")
    status, said = shell("up")
    assert status == 1
    assert "192.0.2.1" in said
    status, said = shell("up", "none.yaml")
    assert status == 1
    assert "none.yaml" in said


def test_unless_it_is_confirmed_it_ends(shell: Shell) -> None:
    status, said = shell("up", "--confirm", "1s", "byway.yaml")
    assert status == 0, said
    assert "byway confirm" in said
    until(lambda: shell("status", "-c", "byway.yaml")[0] != 0, what="its end")

    status, said = shell("up", "--confirm", "60s", "byway.yaml")
    assert status == 0, said
    assert shell("confirm", "-c", "byway.yaml")[0] == 0
    until(lambda: "confirmed" in shell("log", "-c", "byway.yaml")[1], what="its word")


def test_a_plan_is_printed_and_nothing_is_done(shell: Shell) -> None:
    status, said = shell("up", "--plan")
    assert status == 0, said
    assert "nothing on this host is changed" in said
    nic = "inbounds: {nic: {type: tun, name: byway7, auto_route: true, mtu: 1500}}\n"
    (shell.folder / "byway.yaml").write_text(nic)
    status, said = shell("up", "--plan")
    assert status == 0, said
    lines = said.splitlines()
    assert lines[0] == "ip tuntap add dev byway7 mode tun vnet_hdr"
    assert "ip link set byway7 mtu 1500 up" in lines
    assert "ip -4 route add default dev byway7 table 727" in lines
    assert not Path("/sys/class/net/byway7").exists()


def test_a_time_needs_its_unit(shell: Shell) -> None:
    status, said = shell("up", "--confirm", "30")
    assert status == 2
    assert "30s or 5m" in said
