"""VLESS's request at both ends, with its vectors; everything else must pass by untouched."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from byway.errors import PeerError
from byway.flow import Target
from byway.protocols import vless
from byway.protocols.vless import Command, Request, Users
from byway.streams.memory import pair, play, scripted
from tests.protocols.targets import targets

UUID = "b831381d-6324-4d53-ad4f-8cda48b30811"
ID = bytes.fromhex(UUID.replace("-", ""))
USERS = Users({"ann": UUID, "bob": "example"})
EXAMPLE = Target.of("example.com", 443)
WIRE = bytes.fromhex("00b831381d63244d53ad4f8cda48b30811 00 01 01bb 02 0b6578616d706c652e636f6d")
VISION = bytes.fromhex(
    "00b831381d63244d53ad4f8cda48b30811 12 0a1078746c732d727072782d766973696f6e"
    "01 01bb 02 0b6578616d706c652e636f6d"
)


def accepted(*chunks: bytes) -> tuple[Request | None, bytes]:
    """What a client's bytes ask for, and what is left to read of them."""
    near, client = scripted(*chunks, end=True)
    request = play(vless.accept(near, USERS))
    assert client.read_nowait() == b""
    rest = b""
    while play(near.peek(1, 0)):
        rest += play(near.read())
    return request, rest


def test_vectors() -> None:
    assert vless.request(ID, Command.CONNECT, EXAMPLE) == WIRE
    assert accepted(WIRE + b"hi") == (Request(Command.CONNECT, EXAMPLE, "ann"), b"hi")
    flow = Request(Command.CONNECT, EXAMPLE, "ann", vless.VISION)
    assert accepted(VISION) == (flow, b"")


def test_a_text_that_is_no_uuid_becomes_one() -> None:
    made = "feb54431-301b-52bb-a6dd-e1e93e81bb9e"
    assert vless.id_of("example") == bytes.fromhex(made.replace("-", ""))
    assert vless.id_of(UUID) == vless.id_of(UUID.replace("-", "")) == ID
    asked = vless.request(vless.id_of("example"), Command.MUX)
    assert accepted(asked) == (Request(Command.MUX, None, "bob"), b"")


def test_the_request_goes_with_the_first_payload() -> None:
    near, far = pair()
    stream = play(vless.connect(near, EXAMPLE, ID))
    play(stream.write(b"hello"))
    assert play(far.read()) == WIRE + b"hello"


@pytest.mark.parametrize("size", range(1, len(WIRE)))
def test_pieces_are_waited_for(size: int) -> None:
    assert accepted(WIRE[:size], WIRE[size:] + b"x")[0] == Request(Command.CONNECT, EXAMPLE, "ann")


@pytest.mark.parametrize(
    "said",
    [b"\x01" + WIRE[1:], WIRE[:1] + bytes(16) + WIRE[17:], b"GET / HTTP/1.1\r\n\r\n", WIRE[:20]],
)
def test_strangers_are_left_as_they_came(said: bytes) -> None:
    assert accepted(said) == (None, said)


@pytest.mark.parametrize(
    "wrong", [WIRE[:18] + b"\x09", WIRE[:21] + b"\x07xx", WIRE[:21] + b"\x02\x01 "]
)
def test_a_user_who_breaks_the_protocol(wrong: bytes) -> None:
    with pytest.raises(PeerError):
        accepted(wrong)


@given(targets(), st.sampled_from([Command.CONNECT, Command.ASSOCIATE]), st.binary(max_size=40))
def test_what_is_asked_is_read(target: Target, command: Command, rest: bytes) -> None:
    asked = vless.request(ID, command, target)
    assert accepted(asked + rest) == (Request(command, target, "ann"), rest)


@given(st.binary(min_size=1, max_size=60), st.booleans())
def test_any_bytes_are_a_request_or_untouched(data: bytes, known: bool) -> None:
    said = b"\0" + ID + data if known else data
    try:
        request, rest = accepted(said)
    except PeerError:
        return
    assert rest == said if request is None else said.endswith(rest)
