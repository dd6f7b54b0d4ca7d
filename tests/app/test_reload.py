"""Reload: what is the same stays, what changed changes, what is wrong is refused. Under load."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from byway.app import App
from byway.app.generation import build
from byway.config import Config, changes, load_text
from byway.errors import ConfigError

FLOWS = 60
RELOADS = 12

BASE = """
log: {{file: {folder}/log}}
limits: {{drain: 0s}}
inbounds:
  home: {{type: mixed, listen: "127.0.0.1:0"{users}}}
{more}
rules:
{rules}
  - otherwise: direct
"""


def config(folder: Path, users: str = "", more: str = "", rules: str = "") -> Config:
    """A config with one inbound that is always there."""
    return load_text(BASE.format(folder=folder, users=users, more=more, rules=rules), "x.yaml")


@asynccontextmanager
async def echoing() -> AsyncIterator[int]:
    """An echo server's port; at the end all that it served is over."""
    served: list[asyncio.Task[None] | None] = []

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        served.append(asyncio.current_task())
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in served:
            if task is not None:
                task.cancel()
        await asyncio.gather(*filter(None, served), return_exceptions=True)
        await asyncio.sleep(0)  # transports close in the next turn


async def flow(door: int, far: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection through the SOCKS side of the door."""
    reader, writer = await asyncio.open_connection("127.0.0.1", door)
    writer.write(b"\5\1\0\5\1\0\1\x7f\0\0\1" + far.to_bytes(2, "big"))
    try:
        answer = await reader.readexactly(12)
        assert answer[3] == 0, answer
    except BaseException:
        writer.close()
        await asyncio.sleep(0)
        raise
    return reader, writer


def port(app: App, name: str = "home") -> int:
    return int(app.addresses[name][0].rpartition(":")[2])


async def test_not_one_flow_is_lost_under_load(tmp_path: Path) -> None:
    turns = [
        config(tmp_path, rules="  - {port: 1, to: reject}"),
        config(tmp_path, more='  side: {type: socks, listen: "127.0.0.1:0"}'),
        config(tmp_path, users=", users: []", more='outbounds: {a: "socks5://127.0.0.1:9"}'),
    ]
    over = asyncio.Event()
    moved = begun = 0

    async def long(door: int, far: int) -> None:
        nonlocal moved
        reader, writer = await flow(door, far)
        while not over.is_set():
            writer.write(b"x" * 4096)
            moved += len(await reader.readexactly(4096))
        writer.close()

    async def brief(door: int, far: int) -> None:
        nonlocal begun
        while not over.is_set():
            reader, writer = await flow(door, far)
            writer.write(b"hello")
            assert await reader.readexactly(5) == b"hello"
            writer.close()
            begun += 1

    async with echoing() as far, App(config(tmp_path)) as app, asyncio.timeout(40):
        door = port(app)
        async with asyncio.TaskGroup() as load:
            for _ in range(FLOWS):
                load.create_task(long(door, far))
            for _ in range(4):
                load.create_task(brief(door, far))
            for turn in range(RELOADS):
                before = moved, begun
                await app.reload(turns[turn % len(turns)])
                assert port(app) == door
                while moved <= before[0] or begun <= before[1]:
                    await asyncio.sleep(0)
            assert len(app.ledger.live) >= FLOWS
            over.set()
        assert app.reloads == RELOADS
        assert app.ledger.failed == 0


async def test_new_rules_and_users_hold_at_once_and_old_flows_go_on(tmp_path: Path) -> None:
    async with echoing() as far, App(config(tmp_path)) as app:
        door, direct = port(app), app.now.outbounds["direct"]
        reader, writer = await flow(door, far)
        told = await app.reload(config(tmp_path, rules=f"  - {{port: {far}, to: reject}}"))
        assert told == (f"+ rule port: {far}, to: reject",)
        assert app.now.outbounds["direct"] is direct
        with pytest.raises(AssertionError):
            await flow(door, far)
        told = await app.reload(config(tmp_path, users=", users: [{name: a, password: secret}]"))
        assert told == ("~ inbound home: users", f"- rule port: {far}, to: reject")
        with pytest.raises(asyncio.IncompleteReadError):
            await flow(door, far)
        writer.write(b"still here")
        assert await reader.readexactly(10) == b"still here"
        writer.close()


async def test_an_inbound_comes_goes_and_hands_its_address_on(tmp_path: Path) -> None:
    async with echoing() as far, App(config(tmp_path)) as app:
        with socket.create_server(("127.0.0.1", 0)) as free:
            place = free.getsockname()[1]
        side = f'  {{}}: {{{{type: socks, listen: "127.0.0.1:{place}"}}}}'
        await app.reload(config(tmp_path, more=side.format("side")))
        reader, writer = await flow(place, far)
        await app.reload(config(tmp_path, more=side.format("other")))
        assert port(app, "other") == place
        (await flow(place, far))[1].close()
        await app.reload(config(tmp_path))
        with pytest.raises(ConnectionRefusedError):
            await flow(place, far)
        writer.write(b"still here")
        assert await reader.readexactly(10) == b"still here"
        writer.close()


async def test_an_address_that_is_taken_leaves_all_as_it_was(tmp_path: Path) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        socket.create_server(("127.0.0.1", 0)) as other,
    ):
        side = f'  side: {{type: socks, listen: "127.0.0.1:{other.getsockname()[1]}"}}'
        other.close()
        async with echoing() as far, App(config(tmp_path, more=side)) as app:
            door, aside = port(app), port(app, "side")
            place = taken.getsockname()[1]
            more = f'  side: {{type: socks, listen: "127.0.0.1:{place}"}}'
            wrong = config(tmp_path, more=more)
            with pytest.raises(OSError, match="cannot listen"):
                await app.reload_from(lambda: wrong)
            assert "cannot listen" in app.reload_error
            assert (port(app), port(app, "side"), app.reloads) == (door, aside, 0)
            for place in (door, aside):
                (await flow(place, far))[1].close()


async def test_a_bad_config_is_refused(tmp_path: Path) -> None:
    async with echoing() as far, App(config(tmp_path)) as app:
        with pytest.raises(ConfigError):
            await app.reload_from(lambda: load_text("ruels: []"))
        assert "ruels" in app.reload_error
        (await flow(port(app), far))[1].close()
        await app.reload_from(lambda: config(tmp_path))
        assert (app.reload_error, app.reloads) == ("", 1)


def test_changes_show_no_secret() -> None:
    old = load_text("inbounds: {a: {type: mixed, listen: '127.0.0.1:1'}}\nlimits: {idle: 1m}")
    new = load_text(
        "inbounds: {a: {type: mixed, listen: '127.0.0.1:1', users: [{name: x, password: hush}]}}\n"
        "outbounds: {b: 'socks5://u:hush@h.example:1'}\ncontrol: {socket: off}"
    )
    assert changes(old, new) == (
        "~ limits.idle: 60.0 -> off",
        "~ control.socket: auto -> off (after a restart)",
        "~ inbound a: users",
        "+ outbound b",
    )
    assert changes(old, old) == ()


async def test_the_way_back_keeps_what_ran(tmp_path: Path) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        socket.create_server(("127.0.0.1", 0)) as other,
    ):
        side = f'  side: {{type: socks, listen: "127.0.0.1:{other.getsockname()[1]}"}}'
        other.close()
        async with App(config(tmp_path, more=side)) as app:
            before = app.now
            more = f'  side: {{type: socks, listen: "127.0.0.1:{taken.getsockname()[1]}"}}'
            with pytest.raises(OSError, match="cannot listen"):
                await app.reload(config(tmp_path, more=more, rules="  - {port: 1, to: reject}"))
            now = app.now
            assert now.inbounds["home"] is before.inbounds["home"]
            assert now.inbounds["side"] is not before.inbounds["side"]
            assert now.addresses == before.addresses
            assert replace(now, inbounds=before.inbounds) == before


async def test_a_flow_keeps_what_was_in_force_when_it_arrived(tmp_path: Path) -> None:
    listens = "  - {sniffed: {protocol: http}, to: reject}"
    async with echoing() as far, App(config(tmp_path, rules=listens)) as app:
        writing = asyncio.create_task(flow(port(app), far))
        async with asyncio.timeout(20):
            reader, writer = await writing  # it is told yes, and its first bytes are waited for
            (passage,) = app.ledger.live
            assert passage.verdict is None
            await app.reload(config(tmp_path, rules=f"  - {{port: {far}, to: reject}}"))
            writer.write(b"SSH-2.0-x\r\n")
            assert await reader.readexactly(11) == b"SSH-2.0-x\r\n"
            assert passage.judge is not app.now.judge
            assert sum(app.now.hits.values()) == 0  # an older rule decided
        writer.close()


async def test_what_comes_of_a_config_is_built_without_opening_anything(tmp_path: Path) -> None:
    more = '  side: {type: socks, listen: "127.0.0.1:0"}'
    async with App(config(tmp_path)) as app:
        before = app.now
        after = await build(config(tmp_path, more=more), app.lasting, {})
        assert app.now is before
        assert (after.number, after.inbounds) == (before.number + 1, {})
        assert after.outbounds["direct"] is before.outbounds["direct"]
        assert after.writer is not None
        after.writer.close()
