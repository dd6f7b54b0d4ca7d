"""The PAC file at the proxy's own port: for a browser, not for a page in it."""

from __future__ import annotations

import asyncio

import pytest

from byway.app import App
from byway.config import load_text

CONFIG = "log: {level: error}\ninbounds: {home: {type: mixed, listen: '127.0.0.1:0'}}"


@pytest.mark.parametrize(
    ("head", "status"),
    [
        ("GET /proxy.pac HTTP/1.1\r\nHost: 127.0.0.1:1080", 200),
        ("GET /proxy.pac HTTP/1.1\r\nHost: 127.0.0.1:1080\r\nSec-Fetch-Site: none", 200),
        ("GET /proxy.pac HTTP/1.1\r\nHost: 127.0.0.1:1080\r\nSec-Fetch-Site: cross-site", 400),
        ("GET /proxy.pac HTTP/1.1\r\nHost: localhost:1080", 200),
        ("GET /proxy.pac HTTP/1.1\r\nHost: [::1]:1080", 200),
        ("GET /proxy.pac HTTP/1.1\r\nHost: rebind.evil.example", 400),
        ("GET /proxy.pac HTTP/1.1\r\nHost: rebind.evil.example:1080", 400),
        ("GET /proxy.pac HTTP/1.1\r\nHost: localhost.evil.example", 400),
        ("GET /proxy.pac HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: rebind.evil.example", 400),
        ("GET /proxy.pac HTTP/1.1", 400),
        ("POST /proxy.pac HTTP/1.1\r\nHost: 127.0.0.1:1080", 400),
        ("GET /other HTTP/1.1\r\nHost: 127.0.0.1:1080", 400),
    ],
)
async def test_who_gets_it(head: str, status: int) -> None:
    async with App(load_text(CONFIG)) as app:
        place = app.addresses["home"][0]
        reader, writer = await asyncio.open_connection("127.0.0.1", int(place[10:]))
        writer.write(f"{head}\r\n\r\n".encode())
        answer = await reader.read()
        writer.close()
        assert answer.startswith(f"HTTP/1.1 {status} ".encode())
        assert (f"PROXY {place}".encode() in answer) is (status == 200)
        assert not app.ledger.past
