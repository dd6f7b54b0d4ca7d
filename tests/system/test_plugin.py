"""Plugin processes: started with their environment, kept running, ended; with programs of ours."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from byway.flow import Target
from byway.system.plugin import Plugin, listens, loopback_port

PROGRAM = """#!{python}
import os, signal, socket, sys
open({seen!r}, "a").write(
    " ".join([str(os.getpid()), *(os.environ.get("SS_" + name, "-") for name in
    ("REMOTE_HOST", "REMOTE_PORT", "LOCAL_HOST", "LOCAL_PORT", "PLUGIN_OPTIONS"))]) + "\\n")
server = socket.create_server((os.environ["SS_LOCAL_HOST"], int(os.environ["SS_LOCAL_PORT"])))
print("at work", flush=True)
signal.pause()
"""

Seen = Callable[[], list[list[str]]]


@pytest.fixture
def program(tmp_path: Path) -> tuple[str, Seen]:
    """A plugin that listens and notes what it was told."""
    seen, file = tmp_path / "seen", tmp_path / "plugin"
    file.write_text(PROGRAM.format(python=sys.executable, seen=str(seen)))
    file.chmod(0o755)
    return str(file), lambda: [line.split() for line in seen.read_text().splitlines()]


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not true():
            await asyncio.sleep(0.005)


async def test_it_is_told_where_to_stand(program: tuple[str, Seen]) -> None:
    local = loopback_port()
    told: list[str] = []
    remote = Target.of("2001:db8::1", 8388)
    plugin = Plugin(program[0], "obfs=http;x", remote, local, False, told.append)
    await plugin.open()
    assert listens(local.port)
    assert program[1]()[0][1:] == [
        "2001:db8::1",
        "8388",
        "127.0.0.1",
        str(local.port),
        "obfs=http;x",
    ]
    async with asyncio.TaskGroup() as tasks:
        serving = tasks.create_task(plugin.serve())
        await until(lambda: any("at work" in line for line in told))
        serving.cancel()
    await until(lambda: not listens(local.port))


async def test_it_is_started_again(program: tuple[str, Seen]) -> None:
    local = loopback_port()
    told: list[str] = []
    plugin = Plugin(program[0], "", Target.of("h.example", 1), local, False, told.append)
    await plugin.open()
    async with asyncio.TaskGroup() as tasks:
        serving = tasks.create_task(plugin.serve())
        os.kill(int(program[1]()[0][0]), signal.SIGKILL)
        await until(lambda: len(program[1]()) == 2 and listens(local.port))
        assert "ended with -9; again in 0.2 s" in " ".join(told)
        serving.cancel()
    assert program[1]()[0][5] == "-"


async def test_it_is_tried_until_it_starts(
    program: tuple[str, Seen], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("byway.system.plugin.PAUSES", (0.01,))
    local, file = loopback_port(), Path(program[0])
    told: list[str] = []
    plugin = Plugin(program[0], "", Target.of("h.example", 1), local, False, told.append)
    await plugin.open()
    async with asyncio.TaskGroup() as tasks:
        serving = tasks.create_task(plugin.serve())
        file.rename(file.with_suffix(".away"))
        os.kill(int(program[1]()[0][0]), signal.SIGKILL)
        await until(lambda: any("cannot start" in line for line in told))
        file.with_suffix(".away").rename(file)
        await until(lambda: len(program[1]()) == 2 and listens(local.port))
        serving.cancel()


async def test_one_that_ends_at_once_says_why(tmp_path: Path) -> None:
    file = tmp_path / "plugin"
    file.write_text("#!/bin/sh\necho no such option\nexit 3\n")
    file.chmod(0o755)
    plugin = Plugin(str(file), "", Target.of("h", 1), loopback_port(), False, print)
    with pytest.raises(OSError, match="ended with 3: no such option"):
        await plugin.open()


async def test_one_that_is_missing() -> None:
    plugin = Plugin("/no/such", "", Target.of("h", 1), loopback_port(), False, print)
    with pytest.raises(OSError, match="cannot start plugin /no/such"):
        await plugin.open()


async def test_one_that_does_not_end_when_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("byway.system.plugin.LAST_WORDS", 0.05)
    file, local = tmp_path / "plugin", loopback_port()
    file.write_text(
        f"#!{sys.executable}\nimport os, signal, socket\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        'server = socket.create_server(("127.0.0.1", int(os.environ["SS_LOCAL_PORT"])))\n'
        "while True: signal.pause()\n"
    )
    file.chmod(0o755)
    plugin = Plugin(str(file), "", Target.of("h", 1), local, False, print)
    await plugin.open()
    await plugin.close()
    assert not listens(local.port)
