"""Shadowsocks with AEAD ciphers: both ends. The 2022 edition is in `shadowsocks2022`.

Sources: the AEAD document of shadowsocks.org (SIP004), RFC 5869 (HKDF), RFC 8439, RFC 1928 for
the address form. Ciphers, and the sealing of all that follows the handshake, are lent by a `Kit`.

A stream is, in each direction, a random salt and sealed chunks under a key made of it. The server
says nothing until it has something to relay, so a failed request must not be answered either: see
`inbounds/silence.py`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field

from byway.errors import PeerError, Reason, Refused
from byway.flow import Target, frozen
from byway.interfaces import Stream
from byway.protocols import address
from byway.sealing import Awaited, Cipher, Ciphers, Opening, Sealing

TAG = 16
LONGEST_CHUNK = 0x3FFF
"""Bytes in a chunk (SIP004; its two top bits are reserved)."""

REMEMBERED = 1 << 17
"""Requests whose salts are known at the least, which takes 10 MB at the most."""


@dataclass(frozen=True, slots=True)
class Method:
    """A cipher of shadowsocks; `size` is the bytes of its key, and of a salt."""

    name: str
    cipher: Cipher
    size: int

    @property
    def is_2022(self) -> bool:
        """Whether it belongs to the 2022 edition, which has handshakes and keys of its own."""
        return self.name.startswith("2022-")

    @property
    def has_identities(self) -> bool:
        """Whether several users can share a port (SIP023 needs AES)."""
        return self.is_2022 and "aes" in self.cipher


METHODS = {
    method.name: method
    for method in (
        Method("2022-blake3-aes-128-gcm", "aes-128-gcm", 16),
        Method("2022-blake3-aes-256-gcm", "aes-256-gcm", 32),
        Method("2022-blake3-chacha20-poly1305", "chacha20-poly1305", 32),
        Method("aes-128-gcm", "aes-128-gcm", 16),
        Method("aes-256-gcm", "aes-256-gcm", 32),
        Method("chacha20-ietf-poly1305", "chacha20-poly1305", 32),
    )
}
"""The methods that are spoken, the ones to choose first."""


@dataclass(frozen=True, slots=True)
class Kit:
    """Lent to both ends: ciphers, random bytes, and the time in seconds since 1970."""

    ciphers: Ciphers
    entropy: Callable[[int], bytes]
    now: Callable[[], float]


@dataclass(frozen=True, slots=True)
class ShadowsocksOptions:
    """How to speak to a server. One key; with the 2022 edition also those of the servers before."""

    method: Method
    keys: tuple[bytes, ...] = field(repr=False)


@frozen
class Request:
    """What a client asked for. `stream` takes the place of the one it came by."""

    stream: Stream
    target: Target
    user: str | None = None
    relayed: bool = False
    """Whether the target is the next server, and the stream what that is to get."""


def method_named(name: str) -> Method:
    """The method of this name. Raises ValueError that says why there is none, and what to use."""
    method = METHODS.get(name.lower())
    if method is not None:
        return method
    if why := why_refused(name):
        raise ValueError(f"{why}; use {SUGGESTED}")
    raise ValueError(f"unknown shadowsocks method {name[:40]!r}; known: {', '.join(METHODS)}")


def why_refused(name: str) -> str | None:
    """Why a method that others know is not supported here; None for names that mean nothing."""
    name = name.lower()
    if name in ("none", "plain", "table"):
        return f"the method {name} encrypts nothing"
    if name in _STREAM_CIPHERS:
        return (
            f"the stream cipher {name} does not protect what it carries from being changed, and"
            " lets servers be found and traffic be read by probing"
        )
    if name in _UNSPOKEN:
        return f"the method {name} is rare and not supported"
    return None


def key_of(method: Method, password: str) -> bytes:
    """The key that a password stands for (OpenSSL's EVP_BytesToKey with MD5, no salt, 1 round)."""
    made, block = b"", b""
    while len(made) < method.size:
        block = hashlib.md5(block + password.encode(), usedforsecurity=False).digest()
        made += block
    return made[: method.size]


def session_key(ciphers: Ciphers, key: bytes, salt: bytes) -> bytes:
    """The key of one direction of one connection: HKDF-SHA1 (RFC 5869), as long as `key`."""
    return ciphers.hkdf_sha1(key, salt, b"ss-subkey", len(key))


async def connect(stream: Stream, target: Target, options: ShadowsocksOptions, kit: Kit) -> Stream:
    """Ask the server on `stream` for `target`: the stream that leads there.

    Nothing is sent yet: salt and address go out in one write with the first payload, or alone
    after a few milliseconds. The server never says no; a refusal looks like an early end.
    """
    method, key = options.method, options.keys[-1]
    salt = kit.entropy(method.size)
    sealing = Sealing(session_key(kit.ciphers, key, salt), salt)
    framed = kit.ciphers.chunked(stream, method.cipher, sealing, Awaited(key), LONGEST_CHUNK)
    framed.hold(address.pack(target))
    return framed


class Server:
    """The server's end, for one key."""

    def __init__(self, method: Method, key: bytes, kit: Kit, user: str | None = None) -> None:
        self._method = method
        self._key = key
        self._kit = kit
        self._user = user
        self._seen = kit.ciphers.salts(remembered(method, key), kit.now(), REMEMBERED)

    async def accept(self, stream: Stream) -> Request:
        """Read a client's request. What it sent beyond its address stays readable.

        Raises Refused (CREDENTIALS) for what is not authentic or is a replay, PeerError for what is
        no request, EOFError. Nothing was answered then, and nothing must be.
        """
        method, ciphers = self._method, self._kit.ciphers
        head = await stream.read_exactly(method.size + 2 + TAG)
        salt = head[: method.size]
        key = session_key(ciphers, self._key, salt)
        length = int.from_bytes(opened(ciphers, method, key, 0, head[method.size :]))
        if length > LONGEST_CHUNK:  # an empty one is read past, as all later ones are
            raise PeerError(f"the client sent a first chunk of {length} bytes")
        sealed = await stream.read_exactly(length + TAG)
        plain = opened(ciphers, method, key, 1, sealed)
        parsed = address.unpack(plain)
        if not self._seen.fresh(salt, self._kit.now()):
            raise replayed()
        own = self._kit.entropy(method.size)
        framed = ciphers.chunked(
            stream,
            method.cipher,
            Sealing(session_key(ciphers, self._key, own), own),
            Opening(key, 2),
            LONGEST_CHUNK,
        )
        while parsed is None:
            plain += await framed.read(address.LONGEST)
            parsed = address.unpack(plain)
        target, end = parsed
        if len(plain) > end:
            framed.unread(plain[end:])
        return Request(framed, target, self._user)


def opened(ciphers: Ciphers, method: Method, key: bytes, count: int, sealed: bytes) -> bytes:
    """The plain bytes of a client's chunk. Raises Refused (CREDENTIALS)."""
    try:
        return ciphers.open(method.cipher, key, count, sealed)
    except ValueError:
        raise Refused(
            "the client's request is not authentic: another password or method, or a probe",
            Reason.CREDENTIALS,
        ) from None


def remembered(method: Method, key: bytes) -> bytes:
    """By what the salts of a server are known; the key itself cannot be found by it."""
    return hashlib.sha256(method.name.encode() + b"\0" + key).digest()


def replayed() -> Refused:
    """The refusal of a salt that was seen before."""
    return Refused("the request is a replay of an earlier one", Reason.CREDENTIALS)


SUGGESTED = "2022-blake3-aes-128-gcm, or chacha20-ietf-poly1305 for older peers"

_STREAM_CIPHERS = frozenset(
    {
        *(f"aes-{bits}-{mode}" for bits in (128, 192, 256) for mode in ("cfb", "ctr", "ofb")),
        *(f"aes-{bits}-cfb{n}" for bits in (128, 192, 256) for n in (1, 8, 128)),
        *(f"camellia-{bits}-cfb" for bits in (128, 192, 256)),
        *("rc4", "rc4-md5", "rc4-md5-6", "bf-cfb", "cast5-cfb", "des-cfb", "idea-cfb"),
        *("rc2-cfb", "seed-cfb", "chacha20", "chacha20-ietf", "salsa20", "xchacha20"),
    }
)
_UNSPOKEN = frozenset(
    {
        *("aes-192-gcm", "xchacha20-ietf-poly1305", "xchacha20-poly1305"),
        *("2022-blake3-chacha8-poly1305", "2022-blake3-chacha12-poly1305"),
        *("aes-128-ccm", "aes-256-ccm", "aes-128-gcm-siv", "aes-256-gcm-siv", "sm4-gcm"),
    }
)
