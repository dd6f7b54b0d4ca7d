"""The control interface of a running App: what it says fits its description; its bounds hold."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import jsonschema
import pytest

from byway.api.client import Answer, Client, NotRunning, Refusal, found
from byway.api.control import Control
from byway.api.openapi import description
from byway.api.routes import Routes
from byway.app import App
from byway.config import Config, load_text

CONFIG = """
log: {{file: {folder}/byway.log}}
control: {{socket: {folder}/c.sock}}
inbounds: {{door: {{type: socks, listen: 127.0.0.1:0}}}}
rules: [{{port: 1, to: reject}}, {{otherwise: direct}}]
"""


def reread() -> Config:
    return load_text("{}")


@asynccontextmanager
async def controlled(folder: Path, config: str = CONFIG) -> AsyncIterator[App]:
    """An App whose control socket is c.sock in the folder."""
    async with App(load_text(config.format(folder=folder))) as app, Control(app, reread):
        yield app


async def ask(folder: Path, method: str, path: str, **query: object) -> Answer:
    """One question, from a thread as another program would ask it."""

    def asked() -> Answer:
        client = Client(f"{folder}/c.sock")
        try:
            return client.ask(method, path, None, **query)
        finally:
            client.close()

    return await asyncio.to_thread(asked)


@asynccontextmanager
async def flowing(app: App) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A flow through the door to an echo server; yields the client's end."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(4096):
                writer.write(data)
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    host, _, door = app.addresses["door"][0].partition(":")
    reader, writer = await asyncio.open_connection(host, int(door))
    writer.write(b"\5\1\0\5\1\0\1\x7f\0\0\1" + port.to_bytes(2, "big") + b"hello")
    assert (await reader.readexactly(2 + 10 + 5)).endswith(b"hello")
    try:
        yield reader, writer
    finally:
        writer.close()
        server.close()


def fits(answer: object, name: str) -> None:
    """The answer is what the description says it is."""
    whole = description()
    schema = {"$ref": f"#/components/schemas/{name}", "components": whole["components"]}
    jsonschema.validate(answer, schema, cls=jsonschema.Draft202012Validator)


def test_the_description_tells_of_every_route() -> None:
    told = {
        (method.upper(), path)
        for path, methods in cast("dict[str, dict[str, object]]", description()["paths"]).items()
        for method in methods
    }
    app = App(load_text("{}"))
    app.log = None  # type: ignore[assignment]  # a table needs none
    assert told == set(Routes(app, reread).table)


async def test_the_answers_fit_their_description(tmp_path: Path) -> None:
    async with controlled(tmp_path) as app, flowing(app):
        fits(await ask(tmp_path, "GET", "/status"), "Status")
        flows = await ask(tmp_path, "GET", "/flows", past=10, sort="rate")
        fits(flows, "Flows")
        (flow,) = cast("list[Answer]", flows["live"])
        assert (flow["inbound"], flow["chain"], flow["up"], flow["down"]) == (
            "door",
            ["direct"],
            5,
            5,
        )
        fits(await ask(tmp_path, "GET", f"/flows/{flow['id']}"), "Flow")
        rules = await ask(tmp_path, "GET", "/rules")
        for rule in cast("list[Answer]", rules["rules"]):
            fits(rule, "Rule")
        assert rules["total"] == 2
        assert (await ask(tmp_path, "GET", "/openapi.json")) == description()
        with pytest.raises(Refusal) as no:
            await ask(tmp_path, "GET", "/nothing")
        fits(no.value.answer, "Error")


async def test_a_flow_is_cut(tmp_path: Path) -> None:
    async with controlled(tmp_path) as app, flowing(app) as (reader, _):
        (live,) = app.ledger.live
        assert await ask(tmp_path, "DELETE", f"/flows/{live.flow.id}") == {"cut": live.flow.id}
        with contextlib.suppress(ConnectionResetError):  # an end or a reset, both are ends
            assert await reader.read() == b""
        while app.ledger.live:
            await asyncio.sleep(0)
        past = cast("list[Answer]", (await ask(tmp_path, "GET", "/flows", past=1))["past"])
        assert past[0]["end"] == "cut by a user"
        with pytest.raises(Refusal, match="has ended") as no:
            await ask(tmp_path, "DELETE", f"/flows/{live.flow.id}")
        assert no.value.status == 409


async def test_the_log_is_followed(tmp_path: Path) -> None:
    async with controlled(tmp_path) as app:
        reader, writer = await asyncio.open_unix_connection(f"{tmp_path}/c.sock")
        writer.write(b"GET /log?follow=1&recent=1 HTTP/1.1\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"chunked" in head
        recent = await reader.readuntil(b"}\n")
        assert b"control" in recent
        app.log.warning("a bell\a", what="x")
        line = json.loads((await reader.readuntil(b"}\n")).partition(b"{")[2].join([b"{", b""]))
        assert "\\x07" in line["line"]
        writer.close()
    assert not app.log.taps


async def test_metrics_speak_to_addresses_alone(tmp_path: Path) -> None:
    config = CONFIG.replace("c.sock}}", "c.sock, metrics: '127.0.0.1:0'}}")
    async with controlled(tmp_path, config) as app:
        place = next(line for line in app.log.recent if "info metrics" in line)
        port = int(place.rpartition(":")[2])

        async def get(path: str, host: str) -> bytes:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            head = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
            writer.write(head.encode())
            answer = await reader.read()
            writer.close()
            return answer

        text = await get("/metrics", f"127.0.0.1:{port}")
        assert b"byway_flows_live 0\n" in text
        assert b'byway_outbound_flows{outbound="direct"} 0\n' in text
        assert (await get("/metrics", "evil.example")).startswith(b"HTTP/1.1 403 ")
        assert (await get("/status", "localhost")).startswith(b"HTTP/1.1 404 ")


async def test_the_socket_is_closed_to_others_and_goes_with_the_app(tmp_path: Path) -> None:
    path = tmp_path / "c.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    async with controlled(tmp_path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert os.listdir(tmp_path).count("c.sock") == 1
        async with controlled(tmp_path) as second:
            assert any("control is off" in line for line in second.log.recent)
        fits(await ask(tmp_path, "GET", "/status"), "Status")
    assert not path.exists()
    with pytest.raises(NotRunning):
        await ask(tmp_path, "GET", "/status")


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET /status HTTP/1.1\r\nX: " + b"x" * 20000, 431),
        (b"POST /status HTTP/1.1\r\nContent-Length: 99999\r\n\r\n", 413),
        (b"POST /status HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"POST /status HTTP/1.1\r\nContent-Length: 1\r\n\r\n{", 400),
        (b"PUT /status HTTP/1.1\r\n\r\n", 405),
        (b"GET /flows?sort=colour HTTP/1.1\r\n\r\n", 400),
        (b"GET /flows?limit=all HTTP/1.1\r\n\r\n", 400),
        (b"GET /flows/99 HTTP/1.1\r\n\r\n", 404),
        (b"GET /%00%1b HTTP/1.1\r\n\r\n", 404),
    ],
)
async def test_odd_requests_are_refused(tmp_path: Path, request_: bytes, status: int) -> None:
    async with controlled(tmp_path):
        reader, writer = await asyncio.open_unix_connection(f"{tmp_path}/c.sock")
        writer.write(request_)
        line = await reader.readline()
        assert line.startswith(f"HTTP/1.1 {status} ".encode())
        writer.close()
        fits(await ask(tmp_path, "GET", "/status"), "Status")


def test_the_socket_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("byway.api.places.SYSTEM_FOLDER", str(tmp_path / "system"))
    environ = {"XDG_RUNTIME_DIR": str(tmp_path)}
    with pytest.raises(NotRunning, match="no socket") as none:
        found(None, environ)
    assert "byway run" in none.value.hint
    (tmp_path / "byway").mkdir()
    (tmp_path / "byway" / "control.sock").touch()
    assert found(None, environ) == f"{tmp_path}/byway/control.sock"
    assert found(None, {**environ, "BYWAY_SOCKET": "/x"}) == "/x"
    assert found("/y", {"BYWAY_SOCKET": "/x"}) == "/y"


async def test_a_rule_is_switched_by_its_number(tmp_path: Path) -> None:
    async with controlled(tmp_path) as app:

        async def switch(number: int, **question: object) -> Answer:
            def asked() -> Answer:
                client = Client(f"{tmp_path}/c.sock")
                try:
                    return client.ask("POST", f"/rules/{number}", question)
                finally:
                    client.close()

            return await asyncio.to_thread(asked)

        off = await switch(1, on=False, seconds=60, text="port: 1, to: reject")
        fits(off, "Rule")
        assert off["state"] == "disabled"
        status = await ask(tmp_path, "GET", "/status")
        fits(status, "Status")
        assert len(cast("list[Answer]", status["switched_off"])) == 1
        assert (await switch(1, on=True))["state"] == "on"
        assert app.switches.off == {}
        for number, question, code in (
            (2, {"on": False}, 409),
            (1, {"on": False, "text": "another"}, 409),
            (3, {"on": False}, 404),
            (1, {}, 400),
            (1, {"on": "off"}, 400),
            (1, {"on": True, "seconds": 3}, 400),
            (1, {"on": False, "seconds": "3"}, 400),
            (1, {"on": False, "seconds": -3}, 409),
            (1, {"on": False, "more": 1}, 400),
        ):
            with pytest.raises(Refusal) as no:
                await switch(number, **question)
            assert no.value.status == code, question
