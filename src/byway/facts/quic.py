"""The first packets of QUIC: the ClientHello in them (RFC 9000, 9001; version 2: RFC 9369).

Initial packets are sealed with keys that everybody can derive from their head, so that no middlebox
takes them for something else. Pure: datagrams in, CRYPTO bytes out; ciphers are lent.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from byway.facts.hello import Cursor, Malformed
from byway.sealing import Ciphers

MOST_CRYPTO = 16384  # bytes of a ClientHello that are put together
MOST_PACKETS = 16  # Initial packets that are opened for one flow
_LONG, _FIXED = 0x80, 0x40
_SAMPLE = 16
_PADDING, _PING, _ACK, _ACK_ECN, _CRYPTO = 0, 1, 2, 3, 6


@dataclass(frozen=True, slots=True)
class Version:
    """The differences of QUIC versions in their first packets."""

    salt: bytes
    prefix: bytes  # of the labels of keys
    initial: int  # the type of Initial packets; that of Retry is one before it, modulo 4


VERSIONS = {
    0x00000001: Version(bytes.fromhex("38762cf7f55934b34d179ae6a4c80cadccbb7f0a"), b"quic ", 0),
    0x6B3343CF: Version(bytes.fromhex("0dede3def700a6db819381be6e269dcbf9bd2ed9"), b"quicv2 ", 1),
}


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of the client's Initial packets."""

    key: bytes
    iv: bytes
    mask: bytes  # the key of header protection


def looks_like_quic(datagram: bytes) -> bool:
    """Whether it begins with the long head that every version has (RFC 8999 section 5.1)."""
    return len(datagram) >= 7 and datagram[0] & _LONG != 0 and any(datagram[1:5])


def version_of(datagram: bytes) -> Version | None:
    """The version of a long head, when it is a known one."""
    return VERSIONS.get(int.from_bytes(datagram[1:5]))


def crypto(datagrams: Sequence[bytes], ciphers: Ciphers) -> bytes:
    """The handshake bytes in the client's Initial packets, as far as they are complete.

    Raises Malformed when none of the packets can be opened.
    """
    pieces: list[tuple[int, bytes]] = []
    opened = 0
    for datagram in datagrams:
        try:
            for frames in _initials(datagram, ciphers):
                opened += 1
                pieces += _crypto_frames(frames)
                if opened >= MOST_PACKETS:
                    break
        except Malformed:
            if not opened:
                raise
    if not opened:
        raise Malformed("no Initial packet")
    return _joined(pieces)


def client_keys(version: Version, connection: bytes) -> Keys:
    """The keys by the connection id that the client chose for the server (RFC 9001 section 5.2)."""
    initial = hmac.digest(version.salt, connection, "sha256")
    secret = _expanded(initial, b"client in", 32)
    return Keys(
        _expanded(secret, version.prefix + b"key", 16),
        _expanded(secret, version.prefix + b"iv", 12),
        _expanded(secret, version.prefix + b"hp", 16),
    )


def _initials(datagram: bytes, ciphers: Ciphers) -> Iterator[bytes]:
    """The frames of each Initial packet in a datagram (RFC 9000 sections 12.2, 17.2)."""
    at = 0
    while at + 7 <= len(datagram) and datagram[at] & _LONG:
        packet = datagram[at:]
        version = version_of(packet)
        if version is None or not packet[0] & _FIXED:
            raise Malformed("of an unknown version")
        kind = (packet[0] >> 4) - version.initial & 3
        fields = Cursor(packet)
        fields.take(5)
        connection, _ = fields.vector(1), fields.vector(1)
        if kind == 3:
            return  # Retry; only servers send it
        if kind == 0:
            fields.take(_varint(fields))  # the token
        length = _varint(fields)
        head = len(packet) - fields.left
        fields.take(length)
        if kind == 0:
            keys = client_keys(version, connection)
            yield _opened(packet[: head + length], head, keys, ciphers)
        at += head + length


def _opened(packet: bytes, head: int, keys: Keys, ciphers: Ciphers) -> bytes:
    """Take off header protection and seal (RFC 9001 sections 5.3, 5.4)."""
    sample = packet[head + 4 : head + 4 + _SAMPLE]
    if len(sample) < _SAMPLE:
        raise Malformed("too short to be protected")
    mask = ciphers.aes_encrypt(keys.mask, sample)
    first = packet[0] ^ mask[0] & 0x0F
    size = (first & 3) + 1
    hidden = packet[head : head + size]
    number = bytes(a ^ b for a, b in zip(hidden, mask[1:], strict=False))
    shown = bytes([first]) + packet[1:head] + number
    counter = int.from_bytes(keys.iv) ^ int.from_bytes(number)
    try:
        return ciphers.open_packet(
            "aes-128-gcm", keys.key, counter.to_bytes(12), shown, packet[head + size :]
        )
    except ValueError:
        raise Malformed("not authentic") from None


def _crypto_frames(frames: bytes) -> Iterator[tuple[int, bytes]]:
    """Offsets and bytes of CRYPTO frames (RFC 9000 section 19); what else there is ends them."""
    fields = Cursor(frames)
    while fields.left:
        kind = fields.number(1)
        if kind == _PADDING:
            fields.pass_zeros()  # most of a packet is that
        elif kind == _PING:
            continue
        elif kind == _CRYPTO:
            offset = _varint(fields)
            yield offset, fields.take(_varint(fields))
        elif kind in (_ACK, _ACK_ECN):
            _pass_ack(fields, kind)
        else:
            return


def _pass_ack(fields: Cursor, kind: int) -> None:
    _varint(fields)
    _varint(fields)
    ranges = _varint(fields)
    _varint(fields)
    for _ in range(min(ranges, fields.left) * 2 + (3 if kind == _ACK_ECN else 0)):
        _varint(fields)


def _joined(pieces: Sequence[tuple[int, bytes]]) -> bytes:
    """The bytes from 0 on without a gap. Pieces may come in any order, and overlap."""
    joined = bytearray()
    for offset, piece in sorted(pieces):
        if offset > len(joined) or len(joined) >= MOST_CRYPTO:
            break
        joined += piece[len(joined) - offset :]
    return bytes(joined[:MOST_CRYPTO])


def _varint(fields: Cursor) -> int:
    """RFC 9000 section 16."""
    first = fields.number(1)
    size = 1 << (first >> 6)
    return (first & 0x3F) << (size - 1) * 8 | fields.number(size - 1)


def _expanded(secret: bytes, label: bytes, size: int) -> bytes:
    """HKDF-Expand-Label of TLS 1.3 (RFC 8446 section 7.1), for at most one block."""
    full = b"tls13 " + label
    info = size.to_bytes(2) + bytes([len(full)]) + full + b"\0"
    return hmac.digest(secret, info + b"\1", "sha256")[:size]
