"""Trojan's request at both ends, with its vectors; everything else must pass by untouched."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from byway.flow import Target
from byway.protocols import trojan
from byway.protocols.trojan import Command, Request, Users
from byway.streams.memory import pair, play, scripted
from tests.protocols.targets import targets

HASH = "d63dc919e201d7bc4c825630d2cf25fdc93d4b2f0d46706d29038d01"
USERS = Users({"ann": "password", "bob": "other"})
EXAMPLE = Target.of("example.com", 443)
WIRE = HASH.encode() + b"\r\n" + bytes.fromhex("01030b6578616d706c652e636f6d01bb0d0a")


def accepted(*chunks: bytes, end: bool = True) -> tuple[Request | None, bytes]:
    """What a client's bytes ask for, and what is left to read of them."""
    near, client = scripted(*chunks, end=end)
    request = play(trojan.accept(near, USERS))
    assert client.read_nowait() == b""
    rest = b""
    while play(near.peek(1, 0)):
        rest += play(near.read())
    return request, rest


def test_vectors() -> None:
    assert trojan.hash_of("password") == HASH.encode()
    assert trojan.request("password", Command.CONNECT, EXAMPLE) == WIRE
    assert accepted(WIRE) == (Request(Command.CONNECT, EXAMPLE, "ann"), b"")


def test_the_request_goes_with_the_first_payload() -> None:
    near, far = pair()
    stream = play(trojan.connect(near, EXAMPLE, "password"))
    play(stream.write(b"hello"))
    assert play(far.read()) == WIRE + b"hello"


def test_packets_are_asked_for_without_an_address() -> None:
    wire = trojan.request("password", Command.ASSOCIATE, Target.of("0.0.0.0", 0))
    assert wire == HASH.encode() + b"\r\n\3\1" + bytes(6) + b"\r\n"
    assert accepted(wire + b"packet") == (
        Request(Command.ASSOCIATE, Target.of("0.0.0.0", 0), "ann"),
        b"packet",
    )


def test_pieces_are_waited_for() -> None:
    request, rest = accepted(WIRE[:20], WIRE[20:60], WIRE[60:] + b"x")
    assert request == Request(Command.CONNECT, EXAMPLE, "ann")
    assert rest == b"x"


@pytest.mark.parametrize("size", range(1, len(WIRE)))
def test_cut_anywhere_it_is_the_web_servers(size: int) -> None:
    for end in (True, False):
        assert accepted(WIRE[:size], end=end) == (None, WIRE[:size])


@pytest.mark.parametrize(
    "wire",
    [
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        HASH.upper().encode() + WIRE[56:],
        b"0" * 56 + WIRE[56:],
        WIRE[:56] + b"\n\n" + WIRE[58:],
        WIRE[:58] + b"\x02" + WIRE[59:],
        WIRE[:58] + b"\x7f" + WIRE[59:],
        WIRE[:59] + b"\x09" + WIRE[60:],
        WIRE[:-2] + b"xx",
        WIRE[:-1] + b"x",
        bytes(300),
    ],
)
def test_everything_else_is_the_web_servers(wire: bytes) -> None:
    assert accepted(wire) == (None, wire)
    assert accepted(wire + b"more", end=False) == (None, wire + b"more")


def test_dripping_comes_to_an_end() -> None:
    request, rest = accepted(*(WIRE[at : at + 1] for at in range(len(WIRE))))
    assert (request, rest) == (None, WIRE)


def test_nothing_at_all() -> None:
    with pytest.raises(EOFError):
        accepted()


@given(
    target=targets(), payload=st.binary(max_size=50), word=st.sampled_from(["other", "password"])
)
def test_any_request_arrives(target: Target, payload: bytes, word: str) -> None:
    request, rest = accepted(trojan.request(word, Command.CONNECT, target) + payload)
    assert request == Request(Command.CONNECT, target, "ann" if word == "password" else "bob")
    assert rest == payload


@given(wire=st.binary(min_size=1, max_size=300))
def test_any_bytes_stay_readable(wire: bytes) -> None:
    assert accepted(wire) == (None, wire)
