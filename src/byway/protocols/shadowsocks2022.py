"""Shadowsocks, the 2022 edition: both ends. The editions before it are in `shadowsocks`.

Sources: SIP022 (the edition), SIP023 (several users on one port, by identity headers).

    request: salt | identities | seal(00, time, length) | seal(address, padding, payload) | chunks
    answer:  salt | seal(01, time, request's salt, length) | seal(payload) | chunks

The headers are framed as the chunks are, with more in front of the first length (`Sealing.lead`).
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from byway.errors import PeerError, Reason, Refused
from byway.flow import Target
from byway.interfaces import Stream
from byway.protocols import address
from byway.protocols.shadowsocks import (
    TAG,
    Kit,
    Method,
    Request,
    ShadowsocksOptions,
    opened,
    remembered,
    replayed,
)
from byway.sealing import Awaited, Ciphers, Opening, Sealing

LONGEST_CHUNK = 0xFFFF
MOST_PADDING = 900
"""Bytes of padding that a client sends at the most (SIP022 section 3.1.4)."""

WINDOW = 30.0
"""Seconds that the two clocks may differ (SIP022 section 3.1.3)."""

KEEP = 60.0
"""Seconds for which a salt must not come again: as long as its time stays valid at the least."""

KEPT = 1 << 20
"""Salts that may come within that time, which is 17,000 connections a second; then no more are
accepted until it is over. They take 80 MB at the most, and at 1,000 a second 10 MB."""

IDENTITY = 16  # bytes of an identity header


def keys_of(method: Method, password: str) -> tuple[bytes, ...]:
    """The keys in a password: `key`, or `server's:user's`, each base64 of the method's key size.

    Raises ValueError, which does not show the password.
    """
    parts = password.split(":")
    if len(parts) > 1 and not method.has_identities:
        raise ValueError(f"{method.name} has one key: only the AES methods support several users")
    return tuple(_key(method, part) for part in parts)


def new_key(method: Method, entropy: bytes) -> str:
    """Random bytes, of the method's key size, as the password of a config."""
    if len(entropy) != method.size:
        raise ValueError(f"{method.name} wants {method.size} bytes")
    return base64.b64encode(entropy).decode("ascii")


def session_key(ciphers: Ciphers, key: bytes, salt: bytes) -> bytes:
    """The key of one direction of one connection (SIP022 section 2.2)."""
    return ciphers.blake3_key("shadowsocks 2022 session subkey", key + salt, len(key))


def identity_key(ciphers: Ciphers, key: bytes, salt: bytes) -> bytes:
    """The key of the identity header that a server with this key reads (SIP023 section 2)."""
    return ciphers.blake3_key("shadowsocks 2022 identity subkey", key + salt, len(key))


async def connect(stream: Stream, target: Target, options: ShadowsocksOptions, kit: Kit) -> Stream:
    """Ask the server on `stream` for `target`: the stream that leads there.

    Nothing is sent yet: all headers go out in one write with the first payload, or alone after a
    few milliseconds. There is always padding, so that the first packet's size tells little.
    """
    method, ciphers, keys = options.method, kit.ciphers, options.keys
    salt = kit.entropy(method.size)
    identities = [
        ciphers.aes_encrypt(identity_key(ciphers, key, salt), ciphers.blake3(after)[:IDENTITY])
        for key, after in pairwise(keys)
    ]
    sealing = Sealing(
        session_key(ciphers, keys[-1], salt), b"".join((salt, *identities)), b"\x00" + bytes(8)
    )
    framed = ciphers.chunked(stream, method.cipher, sealing, Awaited(keys[-1], salt), LONGEST_CHUNK)
    padding = 1 + int.from_bytes(kit.entropy(2)) % MOST_PADDING
    framed.hold(address.pack(target) + padding.to_bytes(2) + bytes(padding))
    return framed


@dataclass(frozen=True, slots=True)
class User:
    """One of several users of a port. With `relay` the key is that of the server there, and what
    they send is passed on to it."""

    name: str
    key: bytes = field(repr=False)
    relay: Target | None = None


class Server:
    """The server's end: one key, or the server's own and one of each user (SIP023)."""

    def __init__(self, method: Method, key: bytes, kit: Kit, users: Sequence[User] = ()) -> None:
        self._method = method
        self._key = key
        self._kit = kit
        self._users = {kit.ciphers.blake3(user.key)[:IDENTITY]: user for user in users}
        self._seen = kit.ciphers.salts(remembered(method, key), kit.now(), KEPT, KEEP)

    async def accept(self, stream: Stream) -> Request:
        """Read a client's request. What it sent beyond its headers stays readable.

        Raises Refused (CREDENTIALS) for what is not authentic, too old or a replay, PeerError for
        what is no request, EOFError. Nothing was answered then, and nothing must be.
        """
        method, ciphers = self._method, self._kit.ciphers
        size = method.size + (IDENTITY if self._users else 0)
        head = await stream.read_exactly(size + 1 + 8 + 2 + TAG)
        salt = head[: method.size]
        user = self._identified(salt, head[method.size : size])
        if user is not None and user.relay is not None:
            return await self._passed_on(stream, salt, head[size:], user, user.relay)
        theirs = self._key if user is None else user.key
        key = session_key(ciphers, theirs, salt)
        length = self._checked(opened(ciphers, method, key, 0, head[size:]))
        sealed = await stream.read_exactly(length + TAG)
        target, payload = _asked(opened(ciphers, method, key, 1, sealed))
        if not self._seen.fresh(salt, self._kit.now()):
            raise replayed()
        own = self._kit.entropy(method.size)
        sealing = Sealing(session_key(ciphers, theirs, own), own, b"\x01" + bytes(8) + salt)
        framed = ciphers.chunked(stream, method.cipher, sealing, Opening(key, 2), LONGEST_CHUNK)
        if payload:
            framed.unread(payload)
        return Request(framed, target, None if user is None else user.name)

    async def _passed_on(
        self, stream: Stream, salt: bytes, head: bytes, user: User, server: Target
    ) -> Request:
        """The request as the next server gets it: without the identity that was ours. Whether it is
        authentic is that server's to see; who made the identity had our key."""
        more = (
            await stream.read()
        )  # one write onward: the next server wants its headers in one read
        if not self._seen.fresh(salt, self._kit.now()):
            raise replayed()
        stream.unread(salt + head + more)
        return Request(stream, server, user.name, relayed=True)

    def _identified(self, salt: bytes, block: bytes) -> User | None:
        """Who it is; None where there is one user."""
        if not self._users:
            return None
        ciphers = self._kit.ciphers
        found = self._users.get(ciphers.aes_decrypt(identity_key(ciphers, self._key, salt), block))
        if found is None:
            raise Refused("unknown user, another method, or a probe", Reason.CREDENTIALS)
        return found

    def _checked(self, fixed: bytes) -> int:
        """The length in a fixed header whose type and time are right."""
        if fixed[0] != 0:
            raise PeerError(f"the client's first message is of type {fixed[0]:#04x}, not 0")
        time = int.from_bytes(fixed[1:9])
        away = time - self._kit.now()
        if abs(away) > WINDOW:
            raise Refused(
                f"the client's clock is {abs(away):.0f} s {'ahead' if away > 0 else 'behind'}, or"
                " this is a replay",
                Reason.CREDENTIALS,
                "set both clocks",
            )
        if time < int(self._seen.since):  # nobody knows what was seen then
            raise Refused(
                "the request is from before this server began: a replay, or the client's clock is"
                " behind",
                Reason.CREDENTIALS,
            )
        return int.from_bytes(fixed[9:])


def _asked(variable: bytes) -> tuple[Target, bytes]:
    """The target in a variable header, and the payload behind its padding."""
    parsed = address.unpack(variable)
    if parsed is None or len(variable) < parsed[1] + 2:
        raise PeerError("the client's header is truncated")
    target, at = parsed
    start = at + 2 + int.from_bytes(variable[at : at + 2])
    if start > len(variable):
        raise PeerError("the client's padding is longer than its header")
    if len(variable) == at + 2:
        raise PeerError("the client's header has neither padding nor payload")
    return target, variable[start:]


def _key(method: Method, text: str) -> bytes:
    try:
        key = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(
            f"a key of {method.name} is {method.size} random bytes in base64"
        ) from None
    if len(key) != method.size:
        raise ValueError(f"a key of {method.name} has {method.size} bytes, not {len(key)}")
    return key
