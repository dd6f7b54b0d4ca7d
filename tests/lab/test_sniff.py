"""What an observer reads off the first bytes of a stream, in whatever pieces they come."""

from __future__ import annotations

import contextlib
import itertools
import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from byway.lab.packets import SYN, TCP, Packet
from byway.lab.sniff import ENOUGH, Streams, Unfinished, name_in

REQUEST = b"GET / HTTP/1.1\r\nUser-Agent: x\r\nhOsT:  WWW.Example.com:80\r\n\r\nbody"


def hello(name: str | None) -> bytes:
    """A ClientHello as a real TLS library writes it."""
    out = ssl.MemoryBIO()
    context = ssl.create_default_context()
    context.check_hostname = name is not None
    tls = context.wrap_bio(ssl.MemoryBIO(), out, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    return out.read()


@pytest.mark.parametrize(
    ("data", "port", "name"),
    [
        (REQUEST, 80, "www.example.com"),
        (b"CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n", 8080, "a.example"),
        (b"GET / HTTP/1.1\r\nHost: [2001:db8::1]:80\r\n\r\n", 80, "2001:db8::1"),
        (b"GET / HTTP/1.0\r\n\r\n", 80, None),
        (b"SSH-2.0-x\r\n", 22, None),
        (b"\x05\x01\x00", 1080, None),
        (b"\x16\x03\x01\x00\x05\x02\x00\x00\x01\x00", 443, None),
        (b"\x00\x11ab\x01\0\0\x01\0\0\0\0\0\0\x01a\0\0\x01\0\x01", 53, "a"),
    ],
)
def test_names(data: bytes, port: int, name: str | None) -> None:
    assert name_in(data, port) == name


def test_server_names_of_a_real_client() -> None:
    assert name_in(hello("news.example.com"), 443) == "news.example.com"
    assert name_in(hello(None), 443) is None


@pytest.mark.parametrize("data", [REQUEST[:-4].rstrip(), hello("news.example.com")])
def test_every_true_beginning_is_unfinished(data: bytes) -> None:
    end = data.find(b":80") if data.startswith(b"GET") else len(data)
    for n in range(end):
        with pytest.raises(Unfinished):
            name_in(data[:n], 443)


@given(data=st.binary(max_size=300), port=st.sampled_from([53, 80, 443]))
def test_any_bytes_are_judged_or_waited_for(data: bytes, port: int) -> None:
    for whole in (data, b"\x16\x03\x01\x01\x00\x01\x00\x00\xfc" + data):
        with contextlib.suppress(Unfinished):
            name_in(whole, port)


@given(
    cuts=st.lists(st.integers(1, len(REQUEST) - 1), unique=True, max_size=6),
    order=st.randoms(use_true_random=False),
    start=st.integers(0, 0xFFFFFFFF),
)
def test_pieces_in_any_order_with_repeats(cuts: list[int], order: object, start: int) -> None:
    edges = [0, *sorted(cuts), len(REQUEST)]
    pieces = [(a, REQUEST[a:b]) for a, b in itertools.pairwise(edges)]
    pieces += pieces[:2]
    order.shuffle(pieces)  # type: ignore[attr-defined]
    streams = Streams()
    streams.name(_packet((start - 1) & 0xFFFFFFFF, b"", SYN))
    names = [streams.name(_packet((start + at) & 0xFFFFFFFF, data)) for at, data in pieces]
    assert [name for name in names if name] == ["www.example.com"]


def test_gives_up_on_long_heads() -> None:
    streams = Streams()
    line = b"GET / HTTP/1.1\r\n" + b"x: " + b"y" * ENOUGH
    assert streams.name(_packet(0, line)) is None
    assert streams.name(_packet(len(line), b"\r\nHost: late.example\r\n\r\n")) is None


def _packet(seq: int, payload: bytes, flags: int = 0) -> Packet:
    return Packet(b"\x01" * 4, b"\x02" * 4, TCP, 1000, 80, seq, 0, flags, payload)
