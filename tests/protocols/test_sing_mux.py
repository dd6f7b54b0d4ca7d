"""sing-mux: what both sides begin with, with its vectors, and what is none."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from byway.errors import PeerError
from byway.flow import Network, Target
from byway.protocols import address, sing_mux
from byway.protocols.sing_mux import Request
from byway.streams.memory import play, scripted
from tests.protocols.targets import targets

LOCAL = Target.of("127.0.0.1", 9000)


def asked(wire: bytes) -> Request:
    near, client = scripted(wire)
    found = play(sing_mux.accept_stream(near))
    assert client.read_nowait() == b""
    return found


def test_vectors() -> None:
    assert sing_mux.hello("smux") == b"\0\0"
    assert sing_mux.hello("yamux") == b"\0\1"
    assert sing_mux.connect(LOCAL) == bytes.fromhex("0000 01 7f000001 2328")
    assert asked(bytes.fromhex("0001 01 7f000001 2328")) == Request(Network.UDP, LOCAL)
    assert asked(bytes.fromhex("0003 01 7f000001 2328")) == Request(Network.UDP, None)
    assert sing_mux.denied("no") == b"\1\2no"
    assert sing_mux.denied("x" * 999) == b"\1\xc8\1" + b"x" * 200


@pytest.mark.parametrize(
    ("wire", "spoken"), [(b"\0\1", "yamux"), (b"\1\2\0", "h2mux"), (b"\0\0", "smux")]
)
def test_what_a_client_speaks(wire: bytes, spoken: str) -> None:
    near, _ = scripted(wire)
    assert play(sing_mux.accept(near)) == spoken


@pytest.mark.parametrize(
    ("wire", "why"), [(b"\2\1", "version 2"), (b"\0\3", "protocol 3"), (b"\1\1\1", "pads")]
)
def test_what_it_does_not(wire: bytes, why: str) -> None:
    near, _ = scripted(wire)
    with pytest.raises(PeerError, match=why):
        play(sing_mux.accept(near))


@given(targets())
def test_any_target(target: Target) -> None:
    assert asked(sing_mux.connect(target)) == Request(Network.TCP, target)
    assert asked(sing_mux.associate() + address.pack(target)) == Request(Network.UDP, None)


@given(st.binary(max_size=300))
def test_any_bytes(wire: bytes) -> None:
    near, client = scripted(wire)
    client.close()
    with contextlib.suppress(PeerError, EOFError):
        play(sing_mux.accept_stream(near))
