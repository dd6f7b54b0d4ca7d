"""The SOCKS address form."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from byway.errors import PeerError
from byway.flow import Target
from byway.protocols import address
from tests.protocols.targets import targets

VECTORS = [
    ("192.0.2.1", 80, "01 c0000201 0050"),
    ("2001:db8::1", 443, "04 20010db8000000000000000000000001 01bb"),
    ("example.com", 65535, "03 0b 6578616d706c652e636f6d ffff"),
]


@pytest.mark.parametrize(("host", "port", "wire"), VECTORS)
def test_vectors(host: str, port: int, wire: str) -> None:
    target, data = Target.of(host, port), bytes.fromhex(wire)
    assert address.pack(target) == data
    assert address.unpack(b"xx" + data + b"rest", 2) == (target, 2 + len(data))


@given(targets())
def test_round_trip_and_every_cut(target: Target) -> None:
    data = address.pack(target)
    assert len(data) <= address.LONGEST
    assert address.unpack(data) == (target, len(data))
    for cut in range(len(data)):
        assert address.unpack(data[:cut]) is None


def test_a_name_that_is_an_address_becomes_one() -> None:
    assert address.unpack(b"\x03\x09127.0.0.1\x00\x50") == (Target.of("127.0.0.1", 80), 13)
    assert address.unpack(b"\x03\x03::1\x00\x50") == (Target.of("::1", 80), 7)


def test_a_mapped_address_becomes_ipv4() -> None:
    mapped = b"\x04" + bytes(10) + b"\xff\xff\x7f\x00\x00\x01\x00\x50"
    assert address.unpack(mapped) == (Target.of("127.0.0.1", 80), 19)


@pytest.mark.parametrize(
    "data", [b"\x00\x01", b"\x02abcdefgh", b"\x03\x00\x00\x50", b"\x03\x01 \x00\x50"]
)
def test_what_is_no_address_is_the_peers_fault(data: bytes) -> None:
    with pytest.raises(PeerError, match="the other side sent"):
        address.unpack(data)


@given(st.binary(max_size=300), st.integers(0, 300))
def test_any_bytes_give_a_target_or_a_peer_error(data: bytes, at: int) -> None:
    try:
        found = address.unpack(data, at)
    except PeerError:
        return
    assert found is None or found[1] <= len(data)
