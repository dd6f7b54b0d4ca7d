"""Queries of clients, read; answers, made to fit."""

from __future__ import annotations

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest
from hypothesis import given
from hypothesis import strategies as st

from byway.dns import reply
from byway.dns.reply import Unanswered

QUERY = dns.message.make_query("Www.Example.", "A", id=7)


def read(wire: bytes) -> reply.Asked | None:
    """A query, or None for what is answered with a head or nothing."""
    try:
        return reply.read(wire)
    except Unanswered as none:
        told = none.reply
    assert told is None or told[:2] == wire[:2]
    return None


@given(st.binary(max_size=80), st.booleans())
def test_any_bytes_are_a_query_an_error_or_nothing(data: bytes, headed: bool) -> None:
    wire = b"\0\7\1\0\0\1\0\0\0\0\0\0" + data if headed else data
    asked = read(wire)
    if asked is None:
        return
    said = reply.sized(reply.made(asked.message, reply.NOERROR), asked.message, False)
    assert said[:2] == wire[:2]
    assert said[2] & 0x80


@given(st.integers(0, len(QUERY.to_wire()) - 1), st.integers(0, 255))
def test_one_changed_byte(at: int, byte: int) -> None:
    wire = bytearray(QUERY.to_wire())
    wire[at] = byte
    asked = read(bytes(wire))
    assert asked is None or asked.kind > 0


def test_a_query() -> None:
    asked = reply.read(QUERY.to_wire())
    assert (asked.name, asked.kind, asked.records.secure) == ("www.example", 1, False)
    secure = dns.message.make_query("www.example.", "TXT", want_dnssec=True)
    secure.flags |= dns.flags.CD
    records = reply.read(secure.to_wire()).records
    assert (records.kind, records.secure, records.unchecked) == (16, True, True)
    assert reply.read(dns.message.make_query(".", "NS").to_wire()).name == "."


@pytest.mark.parametrize(("size", "room"), [(None, 512), (600, 600), (100, 512), (60000, 4096)])
def test_what_is_too_long_is_cut(size: int | None, room: int) -> None:
    query = dns.message.make_query("www.example.", "TXT")
    if size is not None:
        query.use_edns(0, payload=size)
    asked = reply.read(query.to_wire())
    texts = [f'"{n:04d}{"x" * 100}"' for n in range(60)]
    record = dns.rrset.from_text("www.example.", 60, "IN", "TXT", *texts)
    said = reply.made(asked.message, reply.NOERROR, [record])
    whole = reply.sized(said, asked.message, True)
    assert len(whole) > 4096
    cut = reply.sized(said, asked.message, False)
    assert len(cut) <= room
    message = dns.message.from_wire(cut)
    assert message.flags & dns.flags.TC
    assert not message.answer
    assert (message.edns >= 0) is (size is not None)


@pytest.mark.parametrize(
    ("name", "packed"),
    [
        ("5.2.0.192.in-addr.arpa", bytes((192, 0, 2, 5))),
        ("256.2.0.192.in-addr.arpa", None),
        ("2.0.192.in-addr.arpa", None),
        (f"1.{'0.' * 27}0.0.c.f.ip6.arpa", b"\xfc" + bytes(14) + b"\x01"),
        (f"x.{'0.' * 27}0.0.c.f.ip6.arpa", None),
        ("www.example", None),
    ],
)
def test_reverse_names(name: str, packed: bytes | None) -> None:
    assert reply.reversed_address(name) == packed


def test_service_records_lose_their_addresses() -> None:
    query = dns.message.make_query("www.example.", "HTTPS")
    text = "1 . mandatory=alpn,ipv4hint alpn=h2 ipv4hint=192.0.2.1 ipv6hint=::1"
    record = dns.rrset.from_text("www.example.", 60, "IN", "HTTPS", text)
    said = reply.without_hints(reply.made(query, reply.NOERROR, [record]))
    assert "hint" not in said.to_text()
    assert 'mandatory="alpn" alpn="h2"' in said.to_text()
    dns.message.from_wire(said.to_wire())
