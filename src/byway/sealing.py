"""How the bytes of a stream are sealed: the words that wires and the engine share.

A wire gives the key, the first count and the size of the chunks; the engine seals.
"""

from __future__ import annotations

from dataclasses import field
from typing import Literal, Protocol

from byway.flow import frozen
from byway.interfaces import Stream

Cipher = Literal["aes-128-gcm", "aes-256-gcm", "chacha20-poly1305"]
"""An AEAD with 12-byte nonces (little-endian counters here) and 16-byte tags."""


@frozen
class Sealing:
    """How what we write is sealed: `prefix | seal(lead | u16 length) | seal(payload)` first, all in
    one write, then `seal(u16 length) | seal(payload)`; nonces count seals from 0. A lead holds the
    time behind its first byte (u64, seconds): it is put in there at the moment of sealing."""

    key: bytes = field(repr=False)
    prefix: bytes = b""
    lead: bytes = b""


@frozen
class Opening:
    """How what we read is opened: so many seals under this key were opened already."""

    key: bytes = field(repr=False)
    count: int = 0


@frozen
class Awaited:
    """How an answer is opened whose salt is still to come, as long as `master` is.

    `request` None: shadowsocks AEAD, the key is HKDF-SHA1 ("ss-subkey"). Else the 2022 edition's
    request salt: the key is BLAKE3's, and the first length stands behind type 1, a time within
    30 s of now, and this salt.
    """

    master: bytes = field(repr=False)
    request: bytes | None = None


class Salts(Protocol):
    """Salts of accepted requests, kept so that a replayed one shows itself. Exact, and bounded."""

    @property
    def since(self) -> float:
        """From when on they are known, in seconds since 1970."""

    def fresh(self, salt: bytes, now: float) -> bool:
        """Note a salt whose request was authentic. False when it is not to be accepted."""


class Ciphers(Protocol):
    """Ciphers, hashes and streams of sealed chunks. Lent to the protocols by the
    engine; in tests, by a pure double."""

    def seal(self, cipher: Cipher, key: bytes, count: int, plain: bytes) -> bytes: ...
    def open(self, cipher: Cipher, key: bytes, count: int, sealed: bytes) -> bytes:
        """The plain bytes. Raises ValueError when they are not authentic."""

    def open_packet(
        self, cipher: Cipher, key: bytes, nonce: bytes, aad: bytes, sealed: bytes
    ) -> bytes:
        """The plain bytes of a packet with a nonce and header of its own. Raises ValueError when
        they are not authentic."""

    def aes_encrypt(self, key: bytes, block: bytes) -> bytes:
        """One block of 16 bytes, without a mode."""

    def aes_decrypt(self, key: bytes, block: bytes) -> bytes: ...
    def blake3(self, data: bytes) -> bytes:
        """The 32-byte hash."""

    def blake3_key(self, context: str, material: bytes, size: int) -> bytes:
        """BLAKE3's key derivation, cut to `size` bytes (16 or 32)."""

    def hkdf_sha1(self, master: bytes, salt: bytes, info: bytes, size: int) -> bytes:
        """HKDF with SHA-1 (RFC 5869), `size` bytes of it."""

    def salts(self, key: bytes, now: float, capacity: int, window: float | None = None) -> Salts:
        """A filter that knows the last `capacity` salts at least; with a window (seconds) all of
        that long, and it accepts no more than `capacity` in it: rather none than a replay. The one
        that has this key, while somebody holds it, and else a new one that begins now."""

    def chunked(
        self,
        stream: Stream,
        cipher: Cipher,
        sealing: Sealing,
        opening: Opening | Awaited,
        limit: int,
    ) -> Stream:
        """A stream of sealed chunks of at most `limit` bytes over `stream`, which it consumes.

        What is unauthentic, empty or longer ends its reading with PeerError.
        """
