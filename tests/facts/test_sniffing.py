"""First bytes: real ClientHellos and requests, whole, cut anywhere, damaged, and of anything."""

from __future__ import annotations

import ssl
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from byway.facts.sniffing import is_dns_query, sniff_packets, sniff_stream
from byway.flow import PROTOCOLS, UNHEARD, Sniffed
from byway.streams.ciphers import PureCiphers

PURE = PureCiphers()


def client_hello(name: str | None, alpn: list[str] | None = None) -> bytes:
    """What OpenSSL says first: one record."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if alpn:
        context.set_alpn_protocols(alpn)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()


HELLO = client_hello("www.example.com", ["h2", "http/1.1"])


def records(message: bytes, sizes: list[int]) -> bytes:
    """A handshake message in records of these sizes, the rest in one more."""
    made = b""
    for size in [*sizes, len(message)]:
        part, message = message[:size], message[size:]
        if part:
            made += b"\x16\3\1" + struct.pack(">H", len(part)) + part
    return made


def question(name: str, extra: bytes = b"", more: int = 0) -> bytes:
    labels = b"".join(bytes([len(one)]) + one.encode() for one in name.split("."))
    head = struct.pack(">HHHHHH", 7, 0x0100, 1, 0, 0, more)
    return head + labels + b"\0" + struct.pack(">HH", 1, 1) + extra


STREAMS = [
    (HELLO, Sniffed("tls", "www.example.com")),
    (client_hello(None), Sniffed("tls")),
    (client_hello("192.0.2.1"), Sniffed("tls")),
    (records(HELLO[5:], [1, 2, 3, 50, 60]), Sniffed("tls", "www.example.com")),
    (
        b"GET / HTTP/1.1\r\nAccept: */*\r\nHOST:\twww.Example.com:8080 \r\n\r\n",
        Sniffed("http", "www.example.com"),
    ),
    (b"POST /x?y HTTP/1.0\nHost: a.example\n\nbody", Sniffed("http", "a.example")),
    (b"OPTIONS * HTTP/1.1\r\nHost: [2001:db8::1]:80\r\n\r\n", Sniffed("http")),
    (b"GET / HTTP/1.0\r\n\r\nHost: not.a.field\r\n", Sniffed("http")),
    (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0", Sniffed("http")),
    (b"PROPFIND /dav HTTP/1.1\r\nHost: dav.example\r\n\r\n", Sniffed("http", "dav.example")),
    (b"SSH-2.0-OpenSSH_9.9\r\n", Sniffed("ssh")),
    (b"\x13BitTorrent protocol" + bytes(48), Sniffed("bittorrent")),
    (struct.pack(">H", len(question("a.example"))) + question("a.example"), Sniffed("dns")),
]


@pytest.mark.parametrize(("data", "expected"), STREAMS)
def test_a_stream_is_understood_wherever_it_is_cut(data: bytes, expected: Sniffed) -> None:
    assert sniff_stream(data) == (expected, True)
    ended = False
    for count in range(len(data)):
        seen, done = sniff_stream(data[:count])
        assert seen in (UNHEARD, Sniffed(expected.protocol), expected), count
        assert seen == expected or not done, count
        assert not ended or done, count
        ended = done


@pytest.mark.parametrize(
    "data",
    [
        b"EHLO mail.example\r\n",
        b"GET / HTTP/3\r\n",
        b"\0\0\0\0\0\0\0\0",
        b"\x16\x16\x16\x16\x16\x16",
        b"\x16\3\1\0\0",
        b"\x16\3\1\0\x04\2\0\0\0",
        b"\5\1\0",
        b"hello",
        b"\xff" * 40,
    ],
)
def test_what_is_something_else_is_nothing_at_once(data: bytes) -> None:
    assert sniff_stream(data) == (UNHEARD, True)


def test_a_head_without_an_end_has_no_name() -> None:
    assert sniff_stream(b"GET / HTTP/1.1\r\nX: " + b"y" * 20000) == (Sniffed("http"), True)
    assert sniff_stream(b"\x16\3\1\x40\0\1\0\x3f\xfc" + bytes(16384)) == (Sniffed("tls"), True)


def test_encrypted_hellos_and_grease_are_passed_over() -> None:
    """The outer name of an encrypted ClientHello is what there is to see."""
    name = b"public.example"
    sni = struct.pack(">HBH", len(name) + 3, 0, len(name)) + name
    parts = [(0x0A0A, b""), (0xFE0D, bytes(200)), (0x7A7A, b"\0"), (0, sni), (43, b"\x02\x03\x04")]
    extensions = b"".join(struct.pack(">HH", kind, len(body)) + body for kind, body in parts)
    body = b"\3\3" + bytes(32) + b"\0" + b"\0\2\x13\1" + b"\1\0"
    body += struct.pack(">H", len(extensions)) + extensions
    message = b"\1" + len(body).to_bytes(3) + body

    assert sniff_stream(records(message, [])) == (Sniffed("tls", "public.example"), True)


@given(st.lists(st.integers(1, 200), max_size=8), st.integers(0, 2000))
def test_a_hello_in_many_records_is_put_together(sizes: list[int], cut: int) -> None:
    data = records(HELLO[5:], sizes)
    seen, done = sniff_stream(data[:cut])

    assert sniff_stream(data) == (Sniffed("tls", "www.example.com"), True)
    assert done == (cut >= len(data))
    assert seen.name == ("www.example.com" if done else "")


@settings(max_examples=300)
@given(st.sampled_from(STREAMS), st.data())
def test_damage_breaks_nothing(case: tuple[bytes, Sniffed], data: st.DataObject) -> None:
    content = bytearray(case[0])
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    seen, _ = sniff_stream(bytes(content))

    assert seen.protocol in ("", *PROTOCOLS)


@given(st.binary(max_size=200), st.sampled_from([b"", b"\x16\3\1", b"GET ", b"\x01\0\0"]))
def test_anything_breaks_nothing(rest: bytes, begin: bytes) -> None:
    seen, _ = sniff_stream(begin + rest)
    assert seen.protocol in ("", *PROTOCOLS)
    seen, _ = sniff_packets([begin + rest], PURE)
    assert seen.protocol in ("", *PROTOCOLS)


STUN = b"\0\1\0\0\x21\x12\xa4\x42" + bytes(12)
DTLS = b"\x16\xfe\xff" + bytes(8) + struct.pack(">H", 12) + b"\1" + bytes(11)
OPT = b"\0\0\x29\x10\0\0\0\0\0\0\0"


@pytest.mark.parametrize(
    ("packet", "protocol"),
    [
        (STUN, "stun"),
        (b"\0\1\0\4\x21\x12\xa4\x42" + bytes(12) + b"abcd", "stun"),
        (STUN[:-1], ""),
        (b"\0\1\0\0" + bytes(16), ""),
        (DTLS, "dtls"),
        (DTLS[:-1], ""),
        (question("a.example"), "dns"),
        (question("a.example", OPT, 1), "dns"),
        (question("a.example", b"x"), ""),
        (question("a.example")[:-1], ""),
        (question("a" * 63), "dns"),
        (b"d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:qe", "bittorrent"),
        (bytes.fromhex("0000041727101980") + bytes(8), "bittorrent"),
        (bytes.fromhex("41000001000000000000000000100000000100 00"), "bittorrent"),
        (b"\xc0\xfa\xce\xb0\x0c\0\0".ljust(1200, b"\0"), "quic"),
        (b"\xc0\xfa\xce\xb0\x0c\0\0", ""),
        (b"\xc0\0\0\0\1\4abcd\0\0\x20".ljust(1200, b"\0"), ""),
        (b"", ""),
        (b"hello", ""),
        (bytes(1200), ""),
    ],
)
def test_a_packet_is_understood(packet: bytes, protocol: str) -> None:
    assert sniff_packets([packet], PURE) == (Sniffed(protocol), True)


def test_nothing_yet_is_not_decided() -> None:
    assert sniff_stream(b"") == (UNHEARD, False)
    assert sniff_packets([], PURE) == (UNHEARD, False)


@given(st.binary(max_size=60))
def test_only_questions_are_questions(message: bytes) -> None:
    if is_dns_query(message):
        assert len(message) >= 17
        assert message[2] & 0x80 == 0
