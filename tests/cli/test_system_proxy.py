"""`byway system-proxy` and `byway run --system-proxy`, in a desktop session of the test's own."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from byway.cli.system_proxy import wanted
from byway.flow import Target
from byway.system.desktop import Wanted
from tests.interop.programs import until
from tests.system.desktops import Seen, session

SOURCE = Path(__file__).parents[2] / "src"
COMMAND = (sys.executable, "-m", "byway")
ON = {"gnome": ("mode", "'manual'", "'none'"), "kde": ("ProxyType", "1", "")}


def said(environ: Mapping[str, str], *words: str, status: int = 0) -> str:
    done = subprocess.run(
        [*COMMAND, "system-proxy", *words],
        env={**environ, "PYTHONPATH": str(SOURCE)},
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


@contextmanager
def running(
    environ: Mapping[str, str], folder: Path, *words: str
) -> Iterator[subprocess.Popen[str]]:
    """A `byway run` whose log is the file `log`."""
    (folder / "c.yaml").write_text(
        f"log: {{file: {folder}/log}}\n"
        f"control: {{socket: {folder}/run/c.sock}}\n"
        'inbounds: {home: {type: mixed, listen: "127.0.0.1:0"}}\n'
    )
    with subprocess.Popen(
        [*COMMAND, "run", "-c", str(folder / "c.yaml"), *words],
        env={**environ, "PYTHONPATH": str(SOURCE)},
        stdout=subprocess.PIPE,
        text=True,
    ) as program:
        assert program.stdout is not None
        program.stdout.readline()
        try:
            yield program
        finally:
            if program.poll() is None:
                program.terminate()
            program.wait(30)


@pytest.mark.parametrize("name", ["gnome", "kde"])
def test_on_status_off(name: str, tmp_path: Path) -> None:
    key, on, off = ON[name]
    with session(tmp_path, name) as environ:
        seen = Seen(environ, name)
        assert "Byway does not answer" in said(environ, "on", status=1)
        with running(environ, tmp_path):
            assert said(environ, "status").startswith("off")
            assert f"on: {name} uses HTTP 127.0.0.1:" in said(environ, "on")
            assert seen.get(key) == on
            assert f"on: {name}" in said(environ, "status")
            assert "proxy.pac" in said(environ, "on", "--pac")
            assert "Byway is not running" not in said(environ, "status")
            assert "no inbound 'x'" in said(environ, "on", "--inbound", "x", status=1)
        assert "Byway is not running" in said(environ, "status")
        assert "are restored" in said(environ, "off")
        assert seen.get(key) == off
        assert said(environ, "off").startswith("off")


def wait_for(program: subprocess.Popen[str], folder: Path, words: str, times: int = 1) -> None:
    """Until the log has the words so often."""

    def has_them() -> bool:
        assert program.poll() is None
        return (folder / "log").read_text().count(words) >= times

    until(has_them, what=f"the log to say {words!r}")


@pytest.mark.parametrize("name", ["gnome", "kde"])
def test_a_run_takes_and_gives_back_also_after_a_crash(name: str, tmp_path: Path) -> None:
    key, on, off = ON[name]
    with session(tmp_path, name) as environ:
        seen = Seen(environ, name)
        with running(environ, tmp_path, "--system-proxy") as program:
            wait_for(program, tmp_path, "the system's proxy is set")
            assert seen.get(key) == on
        assert seen.get(key) == off

        with running(environ, tmp_path, "--system-proxy") as program:
            wait_for(program, tmp_path, "the system's proxy is set", 2)
            program.send_signal(signal.SIGKILL)
            program.wait(30)
        assert seen.get(key) == on

        with running(environ, tmp_path) as program:
            wait_for(program, tmp_path, "the system's proxy is still set")
            wait_for(program, tmp_path, "the system's proxy is restored", 2)
            assert seen.get(key) == off


def test_what_a_desktop_is_told_of_inbounds() -> None:
    http = {"name": "h", "type": "http", "addresses": ["unix:/x", "0.0.0.0:8080"]}
    socks = {"name": "s", "type": "socks", "addresses": ["[::]:1080"]}
    mixed = {"name": "m", "type": "mixed", "addresses": ["127.0.0.1:1"]}

    assert wanted([http, socks], None, False) == Wanted(
        Target.of("127.0.0.1", 8080), Target.of("::1", 1080)
    )
    assert wanted([http, mixed], None, True) == Wanted(pac="http://127.0.0.1:1/proxy.pac")
    assert wanted([http, mixed], "h", False) == Wanted(Target.of("127.0.0.1", 8080), None)
    for inbounds, pac in (([], False), ([socks], True)):
        with pytest.raises(ValueError, match="no inbound"):
            wanted(inbounds, None, pac)
