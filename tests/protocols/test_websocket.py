"""WebSocket and HTTPUpgrade at both ends; who asks for another page is left alone."""

from __future__ import annotations

import asyncio
import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from byway.errors import PeerError
from byway.protocols import websocket
from byway.protocols.websocket import PROTOCOL, Wanted
from byway.streams.memory import pair, play, scripted

KEY = base64.b64decode("dGhlIHNhbXBsZSBub25jZQ==")
ASK = (
    b"GET /ws HTTP/1.1\r\nHost: a.example:8443\r\nConnection: keep-alive, Upgrade\r\n"
    b"Upgrade: WebSocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)
BARE = b"GET /ws HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"


WS = Wanted("/ws")


def accepted(*chunks: bytes, wanted: Wanted = WS) -> tuple[bytes | None, bytes, bytes]:
    """The early data, what is left to read, and what the client was told."""
    near, client = scripted(*chunks, end=True)
    early = play(websocket.accept(near, wanted))
    rest = b""
    while play(near.peek(1, 0)):
        rest += play(near.read())
    return early, rest, client.read_nowait()


def test_the_example_of_rfc_6455() -> None:
    assert websocket.accept_of(b"dGhlIHNhbXBsZSBub25jZQ==") == b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    early, rest, told = accepted(ASK + b"\r\n\x82\x80")
    assert (early, rest) == (b"", b"\x82\x80")
    assert told.startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
    assert b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in told


@pytest.mark.parametrize("keyed", [True, False])
def test_both_ends_agree(keyed: bool) -> None:
    near, far = pair()

    async def both() -> bytes | None:
        key = KEY if keyed else None
        fields = ((b"User-Agent", b"other"), (b"host", b"a.example"))
        async with asyncio.TaskGroup() as group:
            group.create_task(websocket.connect(near, "/x?y=1", "ignored", fields, key))
            wanted = Wanted("/x?y=1", "a.example", keyed=keyed)
            return await group.create_task(websocket.accept(far, wanted))

    assert asyncio.run(both()) == b""


@pytest.mark.parametrize("padded", [b"", b"=="])
def test_early_data(padded: bytes) -> None:
    field = b"sec-websocket-protocol: -_-_YQ" + padded + b"\r\n\r\n"
    early, _, told = accepted(ASK + field)
    assert early == b"\xfb\xff\xbfa"
    assert PROTOCOL.encode() + b": -_-_YQ" in told
    behind = ASK.replace(b"/ws", b"/ws-_-_YQ") + b"\r\n"
    assert accepted(behind, wanted=Wanted("/ws", early=""))[0] == b"\xfb\xff\xbfa"
    assert accepted(ASK + b"\r\n", wanted=Wanted("/ws", early=""))[0] == b""


def test_a_protocol_that_is_no_early_data_is_agreed_to() -> None:
    early, _, told = accepted(ASK + b"Sec-WebSocket-Protocol: chat, more\r\n\r\n")
    assert early == b""
    assert b"Sec-WebSocket-Protocol: chat, more" in told


@pytest.mark.parametrize(
    "asked",
    [
        ASK.replace(b"/ws", b"/wss") + b"\r\n",
        ASK.replace(b"GET", b"POST") + b"\r\n",
        ASK.replace(b"HTTP/1.1", b"HTTP/1.0") + b"\r\n",
        ASK.replace(b"WebSocket", b"h2c") + b"\r\n",
        ASK.replace(b"keep-alive, Upgrade", b"close") + b"\r\n",
        ASK.replace(b": 13", b": 8") + b"\r\n",
        ASK.replace(b"dGhl", b"xx") + b"\r\n",
        ASK.replace(b"Host", b"Hos") + b"\r\n",
        ASK + b" folded\r\n\r\n",
        BARE,
        b"\x16\x03\x01\x02\x00\x01",
        b"GET /ws HTTP/1.1\r\nHost: a",
        b"G",
        b"GET /" + b"x" * 20_000,
    ],
)
def test_anything_else_is_left_as_it_came(asked: bytes) -> None:
    assert accepted(asked) == (None, asked, b"")


def test_another_host_is_left_alone() -> None:
    asked = ASK + b"\r\n"
    assert accepted(asked, wanted=Wanted("/ws", "b.example")) == (None, asked, b"")
    assert accepted(asked, wanted=Wanted("/ws", "a.example"))[0] == b""


def test_an_upgrade_has_no_key() -> None:
    bare = Wanted("/ws", keyed=False)
    assert accepted(BARE, wanted=bare)[0] == b""
    assert accepted(ASK + b"\r\n", wanted=bare)[0] is None


@pytest.mark.parametrize("size", [1, 7, 100])
def test_pieces_are_waited_for(size: int) -> None:
    asked = ASK + b"\r\n"
    pieces = [asked[at : at + size] for at in range(0, len(asked), size)]
    assert accepted(*pieces)[0] == b""


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 101 x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
        b"HTTP/1.1 101 x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        b"HTTP/1.1 101 x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOO=\r\n\r\n",
        b"SSH-2.0-x\r\n\r\n",
    ],
)
def test_a_server_that_does_not_agree(answer: bytes) -> None:
    near, _ = scripted(answer)
    with pytest.raises(PeerError):
        play(websocket.connect(near, "/", "a.example", (), KEY))


@given(st.binary(max_size=300), st.booleans())
def test_any_bytes_are_a_request_or_untouched(data: bytes, begun: bool) -> None:
    said = b"GET /ws HTTP/1.1\r\n" + data if begun else data
    if said:
        early, rest, told = accepted(said)
        assert (rest, told) == (said, b"") if early is None else said.endswith(rest)
