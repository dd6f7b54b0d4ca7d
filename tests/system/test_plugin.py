"""Plugin processes: started with their environment, kept running, ended; with programs of ours."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
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
    async with asyncio.timeout(60):
        while not true():
            await asyncio.sleep(0.005)


@asynccontextmanager
async def served(plugin: Plugin) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as tasks:
        serving = tasks.create_task(plugin.serve())
        yield
        serving.cancel()


async def test_it_starts_when_it_is_wanted_and_is_told_where_to_stand(
    program: tuple[str, Seen],
) -> None:
    told: list[str] = []
    remote = Target.of("2001:db8::1", 8388)
    plugin = Plugin(program[0], "obfs=http;x", remote, None, told.append)
    async with served(plugin):
        await asyncio.sleep(0)
        assert not Path(program[0]).with_name("seen").exists()
        places = await asyncio.gather(*(plugin.ready() for _ in range(20)))
        place = places[0]
        assert set(places) == {place}
        assert listens(place.port)
        assert [line[1:] for line in program[1]()] == [
            ["2001:db8::1", "8388", "127.0.0.1", str(place.port), "obfs=http;x"]
        ]
        await until(lambda: any("at work" in line for line in told))
    await until(lambda: not listens(place.port))


async def test_it_gets_nothing_of_our_environment_but_what_programs_need(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLOUD_TOKEN", "geheim")
    monkeypatch.setenv("SS_PLUGIN_OPTIONS", "of=another")
    monkeypatch.setenv("TZ", "UTC")
    seen, file = tmp_path / "seen", tmp_path / "plugin"
    lines = PROGRAM.format(python=sys.executable, seen=str(seen)).splitlines()
    lines.insert(2, f"open({str(seen)!r}, 'w').write('\\n'.join(os.environ))")
    file.write_text("\n".join([*lines[:3], *lines[6:]]) + "\n")
    file.chmod(0o755)
    plugin = Plugin(str(file), "", Target.of("h.example", 1), None, lambda line: None)
    async with served(plugin):
        await plugin.ready()
    names = set(seen.read_text().split())
    assert {"PATH", "TZ", "SS_REMOTE_HOST", "SS_LOCAL_PORT"} <= names
    assert not names & {"CLOUD_TOKEN", "SS_PLUGIN_OPTIONS", "CI", "PYTHONPATH"}


async def test_it_is_started_again(program: tuple[str, Seen]) -> None:
    told: list[str] = []
    plugin = Plugin(program[0], "", Target.of("h.example", 1), None, told.append)
    async with served(plugin):
        await plugin.ready()
        os.kill(int(program[1]()[0][0]), signal.SIGKILL)
        await until(lambda: len(told) > 1)
        with pytest.raises(OSError, match="ended with -9"):
            await plugin.ready()
        await until(lambda: len(program[1]()) == 2 and listens(int(program[1]()[1][4])))
        assert "ended with -9; again in 0.2 s" in " ".join(told)
        assert listens((await plugin.ready()).port)
    assert program[1]()[0][5] == "-"


async def test_it_is_tried_again_when_it_is_wanted_again(
    program: tuple[str, Seen], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("byway.system.plugin.PAUSES", (0.01,))
    file = Path(program[0])
    told: list[str] = []
    plugin = Plugin(program[0], "", Target.of("h.example", 1), None, told.append)
    file.rename(file.with_suffix(".away"))
    async with served(plugin):
        for _ in range(3):
            with pytest.raises(OSError, match=r"cannot start plugin .*: no such file"):
                await plugin.ready()
        file.with_suffix(".away").rename(file)
        async with asyncio.timeout(60):
            while True:
                with contextlib.suppress(OSError):
                    assert listens((await plugin.ready()).port)
                    break
                await asyncio.sleep(0.005)
    assert len(program[1]()) == 1


async def test_who_waits_is_told_of_the_end(program: tuple[str, Seen], tmp_path: Path) -> None:
    silent = tmp_path / "silent"
    silent.write_text("#!/bin/sh\nexec sleep 60\n")
    silent.chmod(0o755)
    plugin = Plugin(str(silent), "", Target.of("h.example", 1), None, print)
    told: list[str] = []

    async def wait() -> None:
        try:
            await plugin.ready()
        except OSError as error:
            told.append(str(error))

    async with asyncio.TaskGroup() as tasks, served(plugin):
        tasks.create_task(wait())
        await asyncio.sleep(0)
    assert "is closed" in told[0]
    with pytest.raises(OSError, match="is closed"):
        await plugin.ready()


async def test_at_a_server_it_is_tried_until_it_starts(
    program: tuple[str, Seen], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("byway.system.plugin.PAUSES", (0.01,))
    public, inner, file = loopback_port(), loopback_port(), Path(program[0])
    file.write_text(file.read_text().replace("SS_LOCAL", "SS_REMOTE"))
    told: list[str] = []
    plugin = Plugin(program[0], "", public, inner, told.append)
    await plugin.open()
    assert listens(public.port)
    async with served(plugin):
        file.rename(file.with_suffix(".away"))
        os.kill(int(program[1]()[0][0]), signal.SIGKILL)
        await until(lambda: any("cannot start" in line for line in told))
        file.with_suffix(".away").rename(file)
        await until(lambda: len(program[1]()) == 2 and listens(public.port))


async def test_one_that_ends_at_once_says_why(tmp_path: Path) -> None:
    file = tmp_path / "plugin"
    file.write_text("#!/bin/sh\necho no such option\nexit 3\n")
    file.chmod(0o755)
    plugin = Plugin(str(file), "", Target.of("h", 1), None, print)
    with pytest.raises(OSError, match="ended with 3: no such option"):
        await plugin.open()


async def test_one_that_does_not_end_when_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("byway.system.plugin.LAST_WORDS", 0.05)
    file = tmp_path / "plugin"
    file.write_text(
        f"#!{sys.executable}\nimport os, signal, socket\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        'server = socket.create_server(("127.0.0.1", int(os.environ["SS_LOCAL_PORT"])))\n'
        "while True: signal.pause()\n"
    )
    file.chmod(0o755)
    plugin = Plugin(str(file), "", Target.of("h", 1), None, print)
    async with served(plugin):
        local = await plugin.ready()
    assert not listens(local.port)
