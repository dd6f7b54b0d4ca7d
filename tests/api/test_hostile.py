"""The control interface under those who mean no good: nothing is a fault, no door shuts another."""

from __future__ import annotations

import asyncio
import itertools
import random
from pathlib import Path

import pytest

from byway.api.control import MOST
from byway.api.routes import Routes
from byway.app import App
from byway.config import load_text
from tests.api.test_control import ask, controlled, reread

pytestmark = pytest.mark.usefixtures("nowhere")

CONFIG = """
log: {{file: {folder}/byway.log}}
control: {{socket: {folder}/c.sock, metrics: 127.0.0.1:{port}}}
inbounds: {{door: {{type: socks, listen: 127.0.0.1:0}}}}
groups: {{g: {{type: select, members: [direct]}}}}
rules: [{{port: 1, to: reject}}, {{otherwise: direct}}]
"""


async def answered(folder: Path, request: bytes) -> int:
    """The status of the answer to one request, as its bytes are."""
    reader, writer = await asyncio.open_unix_connection(f"{folder}/c.sock")
    try:
        writer.write(request)
        writer.write_eof()
        return int((await reader.readuntil(b"\r\n")).split()[1])
    finally:
        writer.close()
        await writer.wait_closed()


def posted(path: str, body: bytes) -> bytes:
    return f"POST {path} HTTP/1.1\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


@pytest.mark.parametrize(
    "request_",
    [
        posted("/groups/choices", b"[" * 60_000),
        posted("/groups/choices", b'{"a":' * 12_000),
        posted("/rules/1", b'{"on": false, "seconds": NaN}'),
        posted("/rules/1", b"9" * 60_000),
        posted("/groups/choices", b"\xff\xfe{\0}\0"),
        b"GET http://[ HTTP/1.1\r\n\r\n",
        b"GET //[ HTTP/1.1\r\n\r\n",
        b"GET /status?" + b"&".join(b"a=1" for _ in range(17)) + b" HTTP/1.1\r\n\r\n",
        b"GET /flows?limit=-1 HTTP/1.1\r\n\r\n",
    ],
)
async def test_bad_input_is_a_bad_request(tmp_path: Path, request_: bytes) -> None:
    async with controlled(tmp_path):
        assert await answered(tmp_path, request_) == 400
    assert "internal error" not in (tmp_path / "byway.log").read_text()


SCRAPS: list[object] = [
    None, True, 0, -1, 2**63, 10**300, 1.5, "", "direct", "g", "127.0.0.1:80", "[", "http://[",
    "\ud800", "x" * 5000, [], {}, ["direct"], [None], {"a": []},
]  # fmt: skip
KEYS = [
    "names", "url", "load", "times", "bytes", "seconds", "at_once", "timeout", "expect", "group",
    "member", "target", "network", "source", "on", "text",
]  # fmt: skip


async def test_no_question_is_a_fault(tmp_path: Path) -> None:
    """Every route, asked with scraps. (Probing is not among them: it would send packets.)"""
    from byway.api.message import Asked, Denied, Reply

    dice, statuses = random.Random(5), set[int]()
    text = (
        f"log: {{file: {tmp_path}/byway.log}}\ngroups: {{g: {{type: select, members: [direct]}}}}"
    )
    async with App(load_text(text)) as app:
        routes = Routes(app, reread)
        for (method, pattern), _ in itertools.product(sorted(routes.table), range(60)):
            path = pattern.replace("{id}", str(dice.choice([0, 1, 2, 10**17])))
            question: object = {
                dice.choice(KEYS): dice.choice(SCRAPS) for _ in range(dice.randrange(5))
            }
            if pattern == "/probe":
                assert isinstance(question, dict)
                question["names"] = "none"
            if not dice.randrange(4):
                question = dice.choice(SCRAPS)
            query = {
                dice.choice(["limit", "past", "sort", "name", "recent", "start"]): str(
                    dice.choice(SCRAPS)
                )
            }
            if pattern == "/resolve":
                query["name"] = dice.choice(["", "[", "a b", "127.0.0.1", "\ud800", "x" * 300])
            try:
                reply = await routes.answer(Asked(method, path, query), question)
            except Denied as why:
                statuses.add(why.status)
            else:
                if isinstance(reply, Reply):
                    reply.encode(keep=False)
                else:
                    await reply.lines.aclose()
    assert statuses <= {400, 404, 405, 409, 422}


async def test_those_who_hold_metrics_do_not_shut_out_the_owner(tmp_path: Path) -> None:
    from tests.interop.programs import free_port

    port = free_port()
    async with controlled(tmp_path, CONFIG.replace("{port}", str(port))):
        held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(MOST + 4)]
        assert (await ask(tmp_path, "GET", "/status"))["pid"]
        for _, writer in held:
            writer.close()
            await writer.wait_closed()


async def test_an_answer_to_head_has_no_content(tmp_path: Path) -> None:
    async with controlled(tmp_path):
        reader, writer = await asyncio.open_unix_connection(f"{tmp_path}/c.sock")
        writer.write(b"HEAD /status HTTP/1.1\r\nConnection: close\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        assert b" 405 " in head
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()
