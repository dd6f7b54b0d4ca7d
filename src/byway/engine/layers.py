"""Layers over a stream: sealed chunks and TLS, and the ciphers that handshakes need.

Python says which salts, keys, headers and certificates; every chunk and record is Rust's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal
from weakref import WeakValueDictionary

from byway import _engine
from byway.engine.stream import EngineStream
from byway.engine.tls_words import plain_faults
from byway.errors import PeerError
from byway.interfaces import Stream
from byway.sealing import Awaited, Cipher, Opening, Sealing

SaltFilter = _engine.SaltFilter

Version = Literal["1.2", "1.3"]


class KnownSalts:
    """Salts that were seen since a time."""

    __slots__ = ("__weakref__", "_filter", "since")

    def __init__(self, since: float, seen: SaltFilter) -> None:
        self.since = since
        self._filter = seen

    def fresh(self, salt: bytes, now: float) -> bool:
        """Note a salt. False when it was seen, or cannot be remembered."""
        return self._filter.fresh(salt, now)


class EngineCiphers:
    """`sealing.Ciphers` by the engine: what handshakes and streams of chunks are made with."""

    __slots__ = ("_raw", "_salts")

    def __init__(self, raw: _engine.Engine) -> None:
        self._raw = raw
        self._salts: WeakValueDictionary[bytes, KnownSalts] = WeakValueDictionary()

    def seal(self, cipher: Cipher, key: bytes, count: int, plain: bytes) -> bytes:
        """Seal with the count as nonce. Raises ValueError for a key of the wrong length."""
        return _engine.seal_piece(cipher, key, count, plain)

    def open(self, cipher: Cipher, key: bytes, count: int, sealed: bytes) -> bytes:
        """The plain bytes. Raises ValueError when they are not authentic."""
        return _engine.open_piece(cipher, key, count, sealed)

    def open_packet(
        self, cipher: Cipher, key: bytes, nonce: bytes, aad: bytes, sealed: bytes
    ) -> bytes:
        """The plain bytes of a packet with a nonce and header of its own. Raises ValueError."""
        return _engine.open_packet(cipher, key, nonce, aad, sealed)

    def aes_encrypt(self, key: bytes, block: bytes) -> bytes:
        """One block of 16 bytes, without a mode."""
        return _engine.aes_block(key, block)

    def aes_decrypt(self, key: bytes, block: bytes) -> bytes:
        """One block of 16 bytes, without a mode."""
        return _engine.aes_block(key, block, decrypt=True)

    def blake3(self, data: bytes) -> bytes:
        """The 32-byte hash."""
        return _engine.blake3(data)

    def blake3_key(self, context: str, material: bytes, size: int) -> bytes:
        """BLAKE3's key derivation, cut to `size` bytes."""
        return _engine.blake3_derive(context, material, size)

    def hkdf_sha1(self, master: bytes, salt: bytes, info: bytes, size: int) -> bytes:
        """HKDF with SHA-1 (RFC 5869). Raises ValueError past 5100 bytes."""
        return _engine.hkdf_sha1(master, salt, info, size)

    def salts(
        self, key: bytes, now: float, capacity: int, window: float | None = None
    ) -> KnownSalts:
        """A filter that knows the last `capacity` salts, or those of a window of seconds. It takes
        80 bytes for each at the most. Whoever holds one of this key shares it: a server that takes
        another's place must know what that one has seen."""
        known = self._salts.get(key)
        if known is None:
            known = self._salts[key] = KnownSalts(now, SaltFilter(capacity, window))
        return known

    def chunked(
        self,
        stream: Stream,
        cipher: Cipher,
        sealing: Sealing,
        opening: Opening | Awaited,
        limit: int,
    ) -> EngineStream:
        """A stream of sealed chunks over `stream`, which it consumes; what that has read is taken
        for sealed. Raises ValueError on wrong lengths.

        Reads raise PeerError for what is not authentic, empty, longer than `limit`, or no answer to
        our request, and ConnectionResetError when the stream is cut inside a chunk.
        """
        if not isinstance(stream, EngineStream):
            raise TypeError(f"not a stream of the engine: {stream!r}")
        opened: tuple[bytes, int] | tuple[bytes, bytes | None]
        if isinstance(opening, Opening):
            opened = (opening.key, opening.count)
        else:
            opened = (opening.master, opening.request)
        seal = (sealing.key, sealing.prefix, sealing.lead)
        return EngineStream(self._raw.chunked(stream.raw, (cipher, seal, opened, limit)))


@dataclass(frozen=True, slots=True)
class TlsClientOptions:
    """How a client speaks TLS. PEM texts are bytes; empty means none."""

    name: str  # to ask for (SNI), and that the certificate must carry; a host name or an address
    alpn: Sequence[str] = ()
    sni: bool = True
    versions: tuple[Version, ...] = ("1.2", "1.3")
    ca: bytes = b""  # whose signature counts; empty: the system's CAs
    pins: Sequence[bytes] = ()  # SHA-256 of certificates or public keys; only these then count
    insecure: bool = False  # take any certificate
    certificate: bytes = b""  # our own chain
    key: bytes = field(default=b"", repr=False)
    resume: int = 256  # sessions remembered; 0: none


@dataclass(frozen=True, slots=True)
class TlsServerOptions:
    """How a server speaks TLS. Certificates are chosen by the name asked for, else the first."""

    certificates: Sequence[tuple[bytes, bytes]] = field(repr=False)  # (chain, key), PEM
    alpn: Sequence[str] = ()
    versions: tuple[Version, ...] = ("1.2", "1.3")
    clients: bytes = b""  # CAs; a client must show a certificate that one of them has signed
    resume: bool = True  # stateless tickets


class NotTls(PeerError):  # noqa: N818  (named as those of errors.py)
    """What came first is no beginning of TLS. `stream` is the raw one, each byte of it in place."""

    def __init__(self, stream: EngineStream) -> None:
        super().__init__("the other side does not speak TLS")
        self.stream = stream


class TlsClient:
    """One outbound's side of TLS: certificates read, sessions remembered. Share it.

    Raises ValueError when a name, a PEM text or the system's CAs are not what they should be.
    """

    __slots__ = ("raw",)

    def __init__(self, options: TlsClientOptions) -> None:
        with plain_faults():
            self.raw = _engine.TlsClient(
                (
                    options.name,
                    options.sni,
                    list(options.alpn),
                    list(options.versions),
                    options.ca,
                    list(options.pins),
                    options.insecure,
                    options.certificate,
                    options.key,
                    options.resume,
                )
            )


class TlsServer:
    """One inbound's side of TLS. Raises ValueError when a PEM text is not what it should be."""

    __slots__ = ("raw",)

    def __init__(self, options: TlsServerOptions) -> None:
        with plain_faults():
            self.raw = _engine.TlsServer(_server(options))

    def reload(self, options: TlsServerOptions) -> None:
        """Use these for connections from now on; tickets stay valid. Raises ValueError, and
        changes nothing then."""
        with plain_faults():
            self.raw.reload(_server(options))


def _server(
    options: TlsServerOptions,
) -> tuple[list[tuple[bytes, bytes]], list[str], list[str], bytes, bool]:
    return (
        list(options.certificates),
        list(options.alpn),
        list(options.versions),
        options.clients,
        options.resume,
    )
