"""UDP over TCP: the request of both versions, with its vectors, and what is no request."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from byway.errors import PeerError
from byway.flow import Target
from byway.protocols import address, uot
from byway.streams.memory import play, scripted
from tests.protocols.targets import targets

FIRST = Target.of("sp.udp-over-tcp.arpa", 0)


def accepted(*chunks: bytes, asked: Target = uot.SERVER) -> tuple[Target | None, bytes]:
    """The target of all packets, and what is left to read."""
    near, client = scripted(*chunks)
    target = play(uot.accept(near, asked))
    assert client.read_nowait() == b""
    return target, play(near.peek(4096, 0))


def test_hosts() -> None:
    assert uot.is_asked(Target.of("SP.v2.UDP-over-TCP.arpa", 443))
    assert uot.is_asked(FIRST)
    assert not uot.is_asked(Target.of("udp-over-tcp.arpa", 0))


def test_vectors() -> None:
    packet = bytes.fromhex("0008080808003500056868656c6c6f")
    wire = bytes.fromhex("0001080808080035")
    assert accepted(wire + packet) == (None, packet)
    assert accepted(b"\x01" + wire[1:] + b"\0\4U:hi") == (Target.of("8.8.8.8", 53), b"\0\4U:hi")
    assert accepted(packet, asked=FIRST) == (None, packet)


def test_a_client_asks_for_each_packet() -> None:
    wire = uot.EACH + address.pack(Target.of("8.8.8.8", 53))
    assert accepted(wire + b"packet") == (None, b"packet")


@given(targets(), st.booleans(), st.integers(1, 300))
def test_any_target_in_any_pieces(target: Target, connected: bool, size: int) -> None:
    wire = bytes([connected]) + address.pack(target) + b"rest"
    pieces = [wire[at : at + size] for at in range(0, len(wire), size)]
    if connected and target.port == 0:
        with pytest.raises(PeerError, match="port 0"):
            accepted(*pieces)
    else:
        assert accepted(*pieces)[0] == (target if connected else None)


@pytest.mark.parametrize("wire", [b"\2\1" + bytes(6), b"\0\2" + bytes(6), b"\1\3\0\0\x35"])
def test_what_is_no_request(wire: bytes) -> None:
    with pytest.raises(PeerError):
        accepted(wire)


@pytest.mark.parametrize("size", range(8))
def test_cut_short(size: int) -> None:
    with pytest.raises(EOFError):
        accepted(b"\0\1\x08\x08\x08\x08\0\x35"[:size])
