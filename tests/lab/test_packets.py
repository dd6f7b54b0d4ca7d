"""Packets made and read; answers to queries; captures."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from byway.lab.capture import Capture, Recorder
from byway.lab.dnswire import AAAA, A, answer, parse_query
from byway.lab.packets import ACK, RST, TCP, UDP, Packet, parse, tcp, udp

ENDS = [("192.0.2.1", "203.0.113.9"), ("2001:db8::1", "2001:db8::2")]
QUERY = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x03WwW\x07example\0\0\x01\0\x01"


def ones(data: bytes) -> int:
    total = sum(int.from_bytes(data[i : i + 2], "big") for i in range(0, len(data), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def test_what_is_made_can_be_read_and_its_checksum_holds() -> None:
    for near, far in ENDS:
        src, dst = ip_address(near).packed, ip_address(far).packed
        head = 20 if len(src) == 4 else 40
        reset = tcp(src, 80, dst, 5000, 7, 8, RST | ACK)
        assert parse(reset) == Packet(src, dst, TCP, 80, 5000, 7, 8, RST | ACK)
        pseudo = src + dst + (len(reset) - head).to_bytes(4, "big") + b"\0\0\0\x06"
        assert ones(pseudo + reset[head:]) == 0xFFFF
        for payload in (b"", b"odd", b"even"):
            packet = udp(src, 53, dst, 6000, payload)
            assert parse(packet) == Packet(src, dst, UDP, 53, 6000, payload=payload)


@given(st.binary(max_size=100))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    parse(data)
    parse(b"\x45" + data)
    parse_query(data)


def test_answers() -> None:
    question = parse_query(QUERY)
    assert question is not None
    assert (question.name, question.kind) == ("www.example", A)
    both = ["192.0.2.7", "2001:db8::7"]
    reply = answer(question, both)
    assert reply[:4] == b"\x12\x34\x85\x80"
    assert reply.endswith(b"\0\x04\xc0\0\x02\x07")
    assert answer(question, None)[3] & 15 == 3
    assert answer(question, [])[6:8] == b"\0\0"
    assert answer(question, both * 99, limit=512)[2] & 2
    six = parse_query(QUERY[:-4] + AAAA.to_bytes(2, "big") + b"\0\x01")
    assert six is not None
    assert answer(six, both).endswith(ip_address(both[1]).packed)
    assert parse_query(reply) is None


def test_captures_join_streams_and_are_bounded(tmp_path: Path) -> None:
    place = tmp_path / "x.pcap"
    recorder = Recorder(place, limit=200)
    src, dst = (ip_address(end).packed for end in ENDS[0])
    recorder.add(udp(src, 1, dst, 2, b"hello"), 1.5)
    recorder.add(udp(src, 1, dst, 2, b"x" * 200), 2.0)
    recorder.flush()
    capture = Capture.read(place, recorder.lost)
    assert (len(capture), capture.lost) == (1, 1)
    assert capture.packets[0].time == 1.5
    assert capture.find(b"ello") is capture.packets[0]
    recorder.restart()
    recorder.flush()
    assert len(Capture.read(place)) == 0
    recorder.close()


def test_a_needle_in_two_segments_is_found() -> None:
    near, far = b"\x01" * 4, b"\x02" * 4
    top = 0xFFFFFFFE
    pieces = [(2, b"needle in "), (top, b"this"), (top, b"this"), (12, b"hay")]
    capture = Capture([Packet(near, far, TCP, 1, 2, s, payload=p) for s, p in pieces])
    assert capture.find(b"thisneedle in hay")
    assert capture.find(b"hay this") is None
