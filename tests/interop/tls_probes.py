"""What a prober sends to find out which TLS server it has before it, and what it sees."""

from __future__ import annotations

import random
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass

PATIENCE = 2.0
"""Seconds without a word after which a server counts as one that waits."""

_DICE = random.Random(5)


@dataclass(frozen=True, slots=True)
class Seen:
    """The records that came, and how it ended: `fin`, `rst`, or `open`."""

    records: tuple[str, ...]
    end: str


def probed(port: int, sent: bytes, *, half_close: bool = False) -> Seen:
    """Send this, and see what comes of it."""
    got, end = b"", "fin"
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as prober:
        try:
            prober.sendall(sent)
            if half_close:
                prober.shutdown(socket.SHUT_WR)
            while data := prober.recv(65536):
                got += data
        except TimeoutError:
            end = "open"
        except OSError:  # whatever comes of writing to who has hung up
            got, end = b"", "rst"  # a reset may overtake what was sent before it
    return Seen(tuple(_named(got)), end)


def hello(version: ssl.TLSVersion, alpn: Sequence[str] = ("h2", "http/1.1")) -> bytes:
    """A true ClientHello, in its record."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.maximum_version = version
    context.set_alpn_protocols(list(alpn))
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    side = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
    try:
        side.do_handshake()
    except ssl.SSLWantReadError:
        return outgoing.read()
    raise AssertionError("a handshake without a server")


def probes() -> dict[str, bytes]:
    """What is TLS at first sight and is not, or is none that one can agree with."""
    new, old = hello(ssl.TLSVersion.TLSv1_3), hello(ssl.TLSVersion.TLSv1_2)
    front, back = _record(22, new[5:105]), _record(22, new[105:])
    noise = _DICE.randbytes
    plain = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
    return {
        "random": b"\x16\3\1\0\x40" + noise(64),
        "random, long": b"\x16\3\1\2\0" + noise(512),
        "zeros": b"\x16" + bytes(64),
        "text": b"\x16" + plain,
        "one byte": b"\x16",
        "a header": new[:5],
        "half a hello": new[:100],
        "all of a hello but a byte": new[:-1],
        "another major version": b"\x16\2\1\0\x40" + noise(64),
        "major version zero": b"\x16\0\0\0\x40\1" + noise(63),
        "another minor version": b"\x16\3\x09" + new[3:],
        "oversized": b"\x16\3\1\xff\xff\1" + noise(70),
        "oversized, whole": b"\x16\3\1\xff\xff\1" + noise(65_534),
        "oversized by a little": b"\x16\3\1\x40\x01\1\0\x3f\xfd" + noise(0x3FFD),
        "oversized, two records": b"\x16\3\1\x48\x01\1" + noise(0x4800),
        "empty": _record(22, b""),
        "empty, then a hello": _record(22, b"") + new,
        "too many empty": _record(22, b"") * 40 + new,
        "a hello in two records": front + back,
        "a hello in two and an empty one": front + _record(22, b"") + back,
        "a hello with data inside": front + _record(23, noise(20)),
        "a hello with an alert inside": front + _record(21, b"\1\0"),
        "a hello with noise inside": front + b"\x16\2\2\0\4" + noise(4),
        "a hello with more in its record": _record(22, new[5:] + noise(20)),
        "another message": _record(22, b"\2\0\0\x40" + noise(64)),
        "the last message first": _record(22, b"\x14\0\0\x0c" + noise(12)),
        "a hello of noise": _record(22, b"\1\0\0\x40" + noise(64)),
        "a hello of nothing": _record(22, b"\1\0\0\0"),
        "a hello without end": _record(22, b"\1\xff\xff\xff" + noise(64)),
        "a hello of 64 KiB": _record(22, b"\1\1\0\0" + noise(64)),
        "SSL 3": _old_hello(0),
        "TLS 1.0": _old_hello(1),
        "TLS 1.1": _old_hello(2),
        "TLS 1.2, no cipher of today": _old_hello(3),
        "SSL 2": _ssl2(b"\0\2"),
        "SSL 2 for SSL 3": _ssl2(b"\3\0"),
        "SSL 2 for TLS 1.0": _ssl2(b"\3\1"),
        "SSL 2 for TLS 1.1": _ssl2(b"\3\2"),
        "SSL 2 for TLS 1.2": _ssl2(b"\3\3"),
        "SSL 2 for TLS 1.3": _ssl2(b"\3\4"),
        "SSL 2, too short": b"\x80\x05\1\3\1\0\0",
        "SSL 2, lengths that lie": b"\x80\x20\1\3\1" + b"\0\x30\0\0\0\x10" + noise(23),
        "SSL 2, another message": b"\x80\x20\2" + noise(30),
        "the high bit": b"\x80" + noise(1) + b"\7" + noise(62),
        "all ones": b"\xff" * 64,
        "a protocol that nobody speaks": hello(ssl.TLSVersion.TLSv1_3, ["nobody"]),
        "a hello": new,
        "a hello of TLS 1.2": old,
        "a hello, then noise": new + _DICE.randbytes(200),
        "a hello, then a record of noise": new + _record(22, noise(64)),
        "a hello, then data of noise": new + _record(23, noise(64)),
        "a hello, then plain text": new + plain,
        "a hello, then an alert": new + _record(21, b"\2\x28"),
        "a hello twice": new + new,
        "TLS 1.2, then noise": old + b"\x99" + noise(200),
        "TLS 1.2, then plain text": old + plain,
        "TLS 1.2, then a record of TLS 1.0": old + _record(22, noise(64)),
        "TLS 1.2, then data of noise": old + _record(23, noise(64), minor=3),
    }


def _record(kind: int, body: bytes, minor: int = 1) -> bytes:
    return bytes([kind, 3, minor]) + len(body).to_bytes(2) + body


def _old_hello(minor: int) -> bytes:
    """A hello without extensions, that offers AES in CBC mode alone."""
    body = bytes([3, minor]) + _DICE.randbytes(32) + b"\0\0\4\0\x2f\0\x35\1\0"
    return _record(22, b"\1" + len(body).to_bytes(3) + body, minor=min(minor, 1))


def _ssl2(version: bytes) -> bytes:
    ciphers = bytes.fromhex("00002f 000035 010080 0700c0")
    body = (
        b"\1" + version + len(ciphers).to_bytes(2) + b"\0\0\0\x10" + ciphers + _DICE.randbytes(16)
    )
    return (0x8000 | len(body)).to_bytes(2) + body


def _named(data: bytes) -> list[str]:
    """Records by their kind. What is encrypted is one: how a server cuts it up is its own affair,
    as is which messages of TLS 1.2 share a record."""
    names: list[str] = []
    at = 0
    while at < len(data):
        kind, size = data[at], int.from_bytes(data[at + 3 : at + 5])
        if kind not in (20, 21, 22, 23) or data[at + 1] != 3:
            return [*names, f"no TLS: {data[at : at + 40]!r}"]
        body = data[at + 5 : at + 5 + size]
        name = {20: "change of cipher", 22: "handshake", 23: "encrypted"}.get(kind)
        name = name or f"alert {list(body)} of 3.{data[at + 2]}"
        if names[-1:] != [name]:
            names.append(name)
        at += 5 + size
    return names
