"""Finds the protocol in a flow's first bytes, and the name that is asked for inside it.

Pure: the bytes so far in, the best answer so far out, and whether more of them could tell more.
Nothing here fails: what is not understood is nothing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from byway.facts.hello import Malformed, host_name, message_length, server_name
from byway.facts.quic import crypto, looks_like_quic, version_of
from byway.flow import UNHEARD, Sniffed
from byway.interfaces import MOST_HEARD
from byway.sealing import Ciphers

Heard = tuple[Sniffed, bool]
"""The findings, and whether more bytes could add to them."""

_NOTHING: Heard = (UNHEARD, True)
_UNDECIDED: Heard = (UNHEARD, False)
_RECORD = 5  # bytes of the head of a TLS record
_MOST_RECORD = 16384
_BITTORRENT = b"\x13BitTorrent protocol"
_H2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_REQUEST = re.compile(rb"[A-Z]{3,20} [^\r\n ]+ HTTP/1\.[01]\r?\n")
_REQUEST_BEGUN = re.compile(rb"[A-Z]{1,20}( [^\r\n]*)?\r?")
_HOST = re.compile(rb"\nhost[ \t]*:[ \t]*([^\r\n]*?)[ \t]*\r?\n", re.IGNORECASE)
_HEAD_END = re.compile(rb"\r?\n\r?\n")
_STUN_COOKIE = bytes.fromhex("2112a442")  # RFC 8489 section 5
_TRACKER = bytes.fromhex("0000041727101980")  # BEP 15
_DHT = (b"d1:ad2:id20:", b"d1:rd2:id20:", b"d1:eli20", b"d2:ip")  # BEP 5


def sniff_stream(data: bytes) -> Heard:
    """The first bytes of a connection."""
    if not data:
        return _UNDECIDED
    if data[0] == 0x16:
        return _tls(data)
    if data[: len(_BITTORRENT)] == _BITTORRENT[: len(data)]:
        return _whole("bittorrent", data, _BITTORRENT)
    if data[:4] == b"SSH-"[: len(data)]:
        return _whole("ssh", data, b"SSH-")
    if 0x41 <= data[0] <= 0x5A:
        return _http(data)
    return _dns_stream(data)


def sniff_packets(packets: Sequence[bytes], ciphers: Ciphers) -> Heard:
    """The first packets of a flow."""
    if not packets:
        return _UNDECIDED
    first = packets[0]
    if looks_like_quic(first):
        return _quic(packets, ciphers)
    if _is_stun(first):
        return Sniffed("stun"), True
    if _is_dtls(first):
        return Sniffed("dtls"), True
    if is_dns_query(first):
        return Sniffed("dns"), True
    if _is_bittorrent(first):
        return Sniffed("bittorrent"), True
    return _NOTHING


def is_dns_query(message: bytes) -> bool:
    """Whether it is one whole question of DNS (RFC 1035 section 4.1, RFC 6891)."""
    if len(message) < 17 or message[2] & 0xF8 or message[3] & 0x8F:
        return False
    counts = [int.from_bytes(message[at : at + 2]) for at in (4, 6, 8, 10)]
    if counts[:3] != [1, 0, 0] or counts[3] > 2:
        return False
    at = 12
    while at < len(message) and message[at]:
        if message[at] > 63:
            return False
        at += 1 + message[at]
    end = at + 5
    if end > len(message) or at - 12 > 254:
        return False
    return end == len(message) if counts[3] == 0 else end < len(message)


def _tls(data: bytes) -> Heard:
    """Records of a handshake until the ClientHello in them is whole (RFC 8446 section 5.1)."""
    if len(data) >= 3 and (data[1] != 3 or data[2] > 4):
        return _NOTHING
    message, at, seen = b"", 0, UNHEARD
    while at + _RECORD <= len(data):
        kind, size = data[at], int.from_bytes(data[at + 3 : at + 5])
        if kind != 0x16 or data[at + 1] != 3 or not 0 < size <= _MOST_RECORD:
            return seen, True
        message += data[at + _RECORD : at + _RECORD + size]
        at += _RECORD + size
        try:
            whole = message_length(message)
            seen = Sniffed("tls") if message else UNHEARD
            if whole is not None and len(message) >= whole:
                return Sniffed("tls", server_name(message[:whole])), True
        except Malformed:
            return seen, True
    return seen, len(data) >= MOST_HEARD


def _http(data: bytes) -> Heard:
    """The head of a request of HTTP/1 (RFC 9112), or the preface of HTTP/2 (RFC 9113)."""
    if data[: len(_H2)] == _H2[: len(data)]:
        if len(data) >= len(_H2):
            return Sniffed("http"), True
        if len(data) > 3:  # shorter, it may still be a method
            return _UNDECIDED
    if not _REQUEST.match(data):
        return _UNDECIDED if _REQUEST_BEGUN.fullmatch(data) else _NOTHING
    end = _HEAD_END.search(data)
    head = data if end is None else data[: end.start()] + b"\n"
    found = _HOST.search(head)
    if found:
        return Sniffed("http", _authority(found[1])), True
    return Sniffed("http"), end is not None or len(data) >= MOST_HEARD


def _authority(text: bytes) -> str:
    """The name in `name`, `name:port` or `[address]:port`."""
    host, colon, port = text.rpartition(b":")
    return host_name(host if colon and port.isdigit() else text)


def _dns_stream(data: bytes) -> Heard:
    """A question behind its length (RFC 1035 section 4.2.2)."""
    size = int.from_bytes(data[:2])
    if len(data) < 2 or (17 <= size <= 1024 and len(data) < 2 + size):
        plausible = len(data) < 5 or not data[4] & 0xF8
        return (UNHEARD, not plausible)
    return (Sniffed("dns"), True) if is_dns_query(data[2 : 2 + size]) else _NOTHING


def _quic(packets: Sequence[bytes], ciphers: Ciphers) -> Heard:
    if version_of(packets[0]) is None:
        # a version to be negotiated, or one to come; a client pads its first packet (RFC 9000 14.1)
        return (Sniffed("quic"), True) if len(packets[0]) >= 1200 else _NOTHING
    try:
        message = crypto(packets, ciphers)
    except Malformed:
        return _NOTHING
    try:
        whole = message_length(message)
        if whole is not None and len(message) >= whole:
            return Sniffed("quic", server_name(message[:whole])), True
    except Malformed:
        return Sniffed("quic"), True
    return Sniffed("quic"), False


def _is_stun(packet: bytes) -> bool:
    length = int.from_bytes(packet[2:4])
    return (
        len(packet) >= 20
        and packet[0] < 0x40
        and packet[4:8] == _STUN_COOKIE
        and length % 4 == 0
        and length == len(packet) - 20
    )


def _is_dtls(packet: bytes) -> bool:
    """A ClientHello of DTLS (RFC 6347 section 4.1, RFC 9147 section 5.2)."""
    if len(packet) < 25 or packet[0] != 0x16 or packet[1] != 0xFE or packet[2] not in (0xFF, 0xFD):
        return False
    return packet[13] == 1 and 13 + int.from_bytes(packet[11:13]) <= len(packet)


def _is_bittorrent(packet: bytes) -> bool:
    """A question of the DHT (BEP 5), to a tracker (BEP 15), or the first packet of uTP (BEP 29)."""
    if packet.startswith(_DHT) and packet.endswith(b"e"):
        return True
    if packet[:8] == _TRACKER and len(packet) >= 16 and packet[8:12] == bytes(4):
        return True
    return (
        20 <= len(packet) <= 64
        and packet[0] == 0x41  # ST_SYN, version 1
        and packet[1] <= 2
        and packet[8:12] == bytes(4)  # no difference of clocks is known yet
        and packet[16:18] == b"\0\1"  # the first number
        and packet[18:20] == bytes(2)
    )


def _whole(protocol: str, data: bytes, mark: bytes) -> Heard:
    return (Sniffed(protocol), True) if len(data) >= len(mark) else _UNDECIDED
