"""What may be said about a question, and that nothing else gets through."""

from __future__ import annotations

import dns.message
import dns.rcode
import pytest
from hypothesis import given
from hypothesis import strategies as st

from byway.dns.message import Answer, Failed, Stray, Truncated, answer, question
from byway.engine import Outcome
from byway.flow import packed_address
from tests.dns.authority import Asked

SOA = "example. 900 IN SOA ns.example. root.example. 1 60 60 60 30"


def asked(name: str = "www.example", number: int = 7) -> Asked:
    return Asked(question(name, 4, number).wire, "udp")


def said(wire: bytes, name: str = "www.example") -> Answer:
    return answer(question(name, 4, 7), wire)


def test_a_question_is_small_and_asks_for_small_answers() -> None:
    plain, padded = question("www.example", 4, 7), question("www.example", 6, 0, padded=True)

    assert plain.message.payload == 1232
    assert plain.id == b"\0\7"
    assert len(padded.wire) == 128  # RFC 8467


@pytest.mark.parametrize("name", ["a" * 64, "a..b", "ü.example", ".".join(["a" * 60] * 5)])
def test_names_that_the_dns_cannot_hold(name: str) -> None:
    with pytest.raises(ValueError, match="not a DNS name"):
        question(name, 4, 1)


def test_addresses() -> None:
    found = said(asked().reply("192.0.2.1", "192.0.2.2", ttl=90))

    assert (found.outcome, found.lifetime, found.alias) == (Outcome.FOUND, 90, None)
    assert set(found.addresses) == {b"\xc0\0\2\1", b"\xc0\0\2\2"}


def test_an_address_in_the_clothes_of_another_family_is_what_it_is() -> None:
    query = question("www.example", 6, 7)
    found = answer(query, Asked(query.wire, "udp").reply("::ffff:127.0.0.1", "2001:db8::1"))

    assert set(found.addresses) == {b"\x7f\0\0\1", packed_address("2001:db8::1")}


def test_aliases_are_followed_and_live_as_long_as_the_shortest() -> None:
    records = [
        "www.example. 300 IN CNAME a.example.",
        "a.example. 20 IN CNAME b.example.",
        "b.example. 60 IN A 192.0.2.9",
    ]

    assert said(asked().reply(records=records)) == Answer(Outcome.FOUND, (b"\xc0\0\2\x09",), 20)


def test_an_alias_without_addresses_is_left_to_who_asked() -> None:
    wire = asked().reply(records=["www.example. 300 IN CNAME cdn.example."])

    assert said(wire) == Answer(Outcome.EMPTY, (), 300, "cdn.example")


def test_aliases_that_go_round_make_no_sense() -> None:
    records = ["www.example. 9 IN CNAME a.example.", "a.example. 9 IN CNAME www.example."]

    with pytest.raises(Failed, match="invalid answer"):
        said(asked().reply(records=records))


@pytest.mark.parametrize(
    ("code", "outcome"),
    [(dns.rcode.NXDOMAIN, Outcome.UNKNOWN), (dns.rcode.NOERROR, Outcome.EMPTY)],
)
def test_nothing_lives_as_long_as_the_zone_says(code: dns.rcode.Rcode, outcome: Outcome) -> None:
    assert said(asked().reply(code=code, authority=[SOA])) == Answer(outcome, (), 30)


@pytest.mark.parametrize("code", [dns.rcode.SERVFAIL, dns.rcode.REFUSED])
def test_a_server_that_cannot_tell(code: dns.rcode.Rcode) -> None:
    with pytest.raises(Failed, match=dns.rcode.to_text(code)):
        said(asked().reply(code=code))


def test_an_answer_that_was_cut() -> None:
    with pytest.raises(Truncated):
        said(asked().reply(cut=True))
    with pytest.raises(Truncated):
        said(asked().reply("192.0.2.1", cut=True)[:14])


@pytest.mark.parametrize(
    "wire",
    [
        b"",
        b"\0\7",
        asked(number=8).reply("192.0.2.1"),  # another number
        asked("other.example").reply("192.0.2.1"),  # another name
        Asked(question("www.example", 6, 7).wire, "udp").reply("2001:db8::1"),  # another type
        asked().wire,  # the question itself
        asked().reply("192.0.2.1") + b"more",
        asked().reply("192.0.2.1")[:-1],
    ],
    ids=["nothing", "short", "number", "name", "type", "query", "long", "cut"],
)
def test_what_is_no_answer_to_the_question(wire: bytes) -> None:
    with pytest.raises(Stray):
        said(wire)


GOOD = asked().reply("192.0.2.1", records=["www.example. 9 IN CNAME a.example."], authority=[SOA])


@given(st.binary(max_size=200))
def test_any_bytes_end_in_an_answer_or_its_errors(data: bytes) -> None:
    for wire in (data, GOOD[:12] + data, GOOD[:2] + b"\x84\0" + data):
        try:
            found = said(wire)
        except (Stray, Truncated, Failed):
            continue
        assert all(len(packed) in (4, 16) for packed in found.addresses)


@given(st.lists(st.tuples(st.integers(2, len(GOOD) - 1), st.integers(0, 255)), max_size=4))
def test_a_damaged_answer_ends_so_too(damage: list[tuple[int, int]]) -> None:
    wire = bytearray(GOOD)
    for at, byte in damage:
        wire[at] = byte
    try:
        found = said(bytes(wire))
    except (Stray, Truncated, Failed):
        return
    assert dns.message.from_wire(bytes(wire)).question
    assert len(found.addresses) <= 64
