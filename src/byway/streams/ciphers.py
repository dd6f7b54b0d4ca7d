"""The engine's ciphers and sealed chunks in plain Python, for tests of handshakes.

It does byte for byte what the engine's does, slowly, over any stream. Ciphers come from the
`cryptography` library, which only tests have.
"""

from __future__ import annotations

import asyncio
import hmac
import struct
from collections.abc import Callable

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher as BlockCipher
from cryptography.hazmat.primitives.ciphers import algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from byway.engine import KnownSalts, SaltFilter
from byway.errors import PeerError
from byway.interfaces import Stream, StreamInfo
from byway.sealing import Awaited, Cipher, Opening, Sealing

TAG = 16
WINDOW = 30  # seconds that two clocks may differ (SIP022 section 3.1.3)
SUBKEY_2022 = "shadowsocks 2022 session subkey"


class PureCiphers:
    """`sealing.Ciphers` without the engine. `now` is the clock, in seconds since 1970, and
    `since` the time from which its filters say that they know all salts."""

    def __init__(self, now: Callable[[], float] = lambda: 0.0, since: float = 0.0) -> None:
        self._now = now
        self._since = since

    def seal(self, cipher: Cipher, key: bytes, count: int, plain: bytes) -> bytes:
        """Seal with the count as nonce."""
        return _aead(cipher, key).encrypt(count.to_bytes(12, "little"), plain, None)

    def open(self, cipher: Cipher, key: bytes, count: int, sealed: bytes) -> bytes:
        """The plain bytes. Raises ValueError."""
        try:
            return _aead(cipher, key).decrypt(count.to_bytes(12, "little"), sealed, None)
        except InvalidTag:
            raise ValueError("not authentic") from None

    def open_packet(
        self, cipher: Cipher, key: bytes, nonce: bytes, aad: bytes, sealed: bytes
    ) -> bytes:
        """The plain bytes of a packet. Raises ValueError."""
        try:
            return _aead(cipher, key).decrypt(nonce, sealed, aad)
        except InvalidTag:
            raise ValueError("not authentic") from None

    def aes_encrypt(self, key: bytes, block: bytes) -> bytes:
        """One block."""
        return BlockCipher(algorithms.AES(key), modes.ECB()).encryptor().update(block)  # noqa: S305

    def aes_decrypt(self, key: bytes, block: bytes) -> bytes:
        """One block."""
        return BlockCipher(algorithms.AES(key), modes.ECB()).decryptor().update(block)  # noqa: S305

    def salts(
        self, key: bytes, now: float, capacity: int, window: float | None = None
    ) -> KnownSalts:
        """A new one, of the engine's kind: there is no other."""
        return KnownSalts(self._since, SaltFilter(capacity, window))

    def blake3(self, data: bytes) -> bytes:
        """The hash of at most 1024 bytes."""
        return _blake3(data, _IV, 0)

    def blake3_key(self, context: str, material: bytes, size: int) -> bytes:
        """Key derivation from at most 1024 bytes."""
        key = struct.unpack("<8I", _blake3(context.encode(), _IV, _DERIVE_CONTEXT))
        return _blake3(material, key, _DERIVE_MATERIAL)[:size]

    def hkdf_sha1(self, master: bytes, salt: bytes, info: bytes, size: int) -> bytes:
        """HKDF with SHA-1 (RFC 5869)."""
        return hkdf_sha1(master, salt, info, size)

    def chunked(
        self,
        stream: Stream,
        cipher: Cipher,
        sealing: Sealing,
        opening: Opening | Awaited,
        limit: int,
    ) -> ChunkedStream:
        """A stream of sealed chunks."""
        return ChunkedStream(self, stream, cipher, sealing, opening, limit, self._now)


class ChunkedStream:
    """A framed stream. See `interfaces.Stream` for the contract."""

    def __init__(
        self,
        ciphers: PureCiphers,
        stream: Stream,
        cipher: Cipher,
        sealing: Sealing,
        opening: Opening | Awaited,
        limit: int,
        now: Callable[[], float],
    ) -> None:
        self._ciphers = ciphers
        self._stream = stream
        self._cipher = cipher
        self._sealing = sealing
        self._opening = opening
        self._limit = limit
        self._now = now
        self._sealed = 0
        self._opened = opening.count if isinstance(opening, Opening) else 0
        self._length: int | None = None  # of the chunk whose length was opened already
        self._plain = b""
        self._held = b""
        self._flush: asyncio.Task[None] | None = None

    @property
    def home(self) -> int | None:
        """The inner stream's."""
        return self._stream.home

    @property
    def info(self) -> StreamInfo:
        """The inner stream's."""
        return self._stream.info

    async def read(self, limit: int = 65536) -> bytes:
        """1..limit bytes. Raises EOFError at the end."""
        while not self._plain:
            await self._more()
        return self._take(limit)

    async def read_exactly(self, n: int) -> bytes:
        """Just n bytes. Raises EOFError, and what came stays."""
        while len(self._plain) < n:
            await self._more()
        return self._take(n)

    async def read_until(self, mark: bytes, limit: int) -> bytes:
        """Up to and including mark. Raises EOFError, or ValueError past limit."""
        while (at := self._plain.find(mark, 0, limit)) < 0:
            if len(self._plain) >= limit:
                raise ValueError(f"no {mark!r} within {limit} bytes")
            await self._more()
        return self._take(at + len(mark))

    async def peek(self, limit: int, within: float) -> bytes:
        """The bytes that are there, or the first to come in time; left in place."""
        if not self._plain:
            try:
                async with asyncio.timeout(within):
                    await self._more()
            except (TimeoutError, EOFError):
                return b""
        return self._plain[:limit]

    def unread(self, data: bytes) -> None:
        """Put bytes back in front."""
        self._plain = data + self._plain

    async def write(self, data: bytes) -> None:
        """Send all of it, after what was held."""
        data, self._held = self._held + data, b""
        frames = [
            self._frame(data[at : at + self._limit]) for at in range(0, len(data), self._limit)
        ]
        if frames:
            await self._stream.write(b"".join(frames))

    def hold(self, data: bytes) -> None:
        """Send with the next write; this double has no timer of its own."""
        self._held += data

    async def end(self) -> None:
        """Half-close."""
        await self.write(b"")
        await self._stream.end()

    def close(self) -> None:
        """Close both ways."""
        self._stream.close()

    def _take(self, limit: int) -> bytes:
        data, self._plain = self._plain[:limit], self._plain[limit:]
        return data

    def _frame(self, payload: bytes) -> bytes:
        sealing = self._sealing
        first = self._sealed == 0
        lead = sealing.lead if first else b""
        if lead:
            lead = lead[:1] + int(self._now()).to_bytes(8) + lead[9:]
        length = self._seal(lead + len(payload).to_bytes(2))
        return (sealing.prefix if first else b"") + length + self._seal(payload)

    def _seal(self, plain: bytes) -> bytes:
        self._sealed += 1
        key = self._sealing.key
        return self._ciphers.seal(self._cipher, key, self._sealed - 1, plain)

    def _open(self, key: bytes, sealed: bytes) -> bytes:
        try:
            plain = self._ciphers.open(self._cipher, key, self._opened, sealed)
        except ValueError:
            raise PeerError("the other side sent a chunk that is not authentic") from None
        self._opened += 1
        return plain

    async def _more(self) -> None:
        """One more chunk. A cancel loses nothing."""
        if isinstance(self._opening, Awaited):
            await self._answered(self._opening)
        assert isinstance(self._opening, Opening)
        key = self._opening.key
        if self._length is None:
            sealed = await self._stream.read_exactly(2 + TAG)
            self._length = int.from_bytes(self._open(key, sealed))
            if self._length > self._limit:
                raise PeerError(f"the other side sent a chunk of {self._length} bytes")
        payload = await self._stream.read_exactly(self._length + TAG)
        self._length = None
        self._plain += self._open(key, payload)

    async def _answered(self, awaited: Awaited) -> None:
        """Take the answer's salt, and for 2022 its header."""
        size = len(awaited.master)
        if awaited.request is None:
            salt = await self._stream.read_exactly(size)
            self._opening = Opening(hkdf_sha1(awaited.master, salt, b"ss-subkey", size))
            return
        head_size = 1 + 8 + size + 2
        data = await self._stream.read_exactly(size + head_size + TAG)
        key = self._ciphers.blake3_key(SUBKEY_2022, awaited.master + data[:size], size)
        head = self._open(key, data[size:])
        if head[0] != 1:
            raise PeerError("the server's answer is no answer")
        if abs(int.from_bytes(head[1:9]) - self._now()) > WINDOW:
            raise PeerError("the server's clock and ours are more than 30 s apart")
        if not hmac.compare_digest(head[9 : 9 + size], awaited.request):
            raise PeerError("the server answers another request")
        self._opening = Opening(key, 1)
        self._length = int.from_bytes(head[-2:])


def hkdf_sha1(master: bytes, salt: bytes, info: bytes, size: int) -> bytes:
    """HKDF (RFC 5869) with SHA-1."""
    pseudo = hmac.digest(salt, master, "sha1")
    made, block, at = b"", b"", 1
    while len(made) < size:
        block = hmac.digest(pseudo, block + info + bytes([at]), "sha1")
        made, at = made + block, at + 1
    return made[:size]


def _aead(cipher: Cipher, key: bytes) -> AESGCM | ChaCha20Poly1305:
    return ChaCha20Poly1305(key) if cipher == "chacha20-poly1305" else AESGCM(key)


# BLAKE3 of one chunk (the specification, sections 2.2 to 2.4): all that keys and salts need.


def _blake3(data: bytes, key: tuple[int, ...], flags: int) -> bytes:
    if len(data) > 1024:
        raise ValueError("more than one chunk")
    chain = key
    blocks = [data[at : at + 64] for at in range(0, len(data), 64)] or [b""]
    for number, block in enumerate(blocks):
        now = flags | (_CHUNK_START if number == 0 else 0)
        if number == len(blocks) - 1:
            now |= _CHUNK_END | _ROOT
        words = struct.unpack("<16I", block.ljust(64, b"\0"))
        chain = _compressed(chain, words, len(block), now)
    return struct.pack("<8I", *chain)


def _compressed(
    chain: tuple[int, ...], words: tuple[int, ...], size: int, flags: int
) -> tuple[int, ...]:
    state = [*chain, *_IV[:4], 0, 0, size, flags]
    for _ in range(7):
        for at, (a, b, c, d) in enumerate(_MIXED):
            _mix(state, a, b, c, d, words[2 * at], words[2 * at + 1])
        words = tuple(words[at] for at in _PERMUTATION)
    return tuple(state[at] ^ state[at + 8] for at in range(8))


def _mix(state: list[int], a: int, b: int, c: int, d: int, x: int, y: int) -> None:
    for word, turn_d, turn_b in ((x, 16, 12), (y, 8, 7)):
        state[a] = (state[a] + state[b] + word) & _MASK
        state[d] = _turned(state[d] ^ state[a], turn_d)
        state[c] = (state[c] + state[d]) & _MASK
        state[b] = _turned(state[b] ^ state[c], turn_b)


def _turned(word: int, by: int) -> int:
    return (word >> by | word << 32 - by) & _MASK


_MASK = 0xFFFF_FFFF
_CHUNK_START, _CHUNK_END, _ROOT = 1, 2, 8
_DERIVE_CONTEXT, _DERIVE_MATERIAL = 32, 64
_IV = struct.unpack(
    ">8I", bytes.fromhex("6a09e667bb67ae853c6ef372a54ff53a510e527f9b05688c1f83d9ab5be0cd19")
)
_MIXED = (
    (0, 4, 8, 12),
    (1, 5, 9, 13),
    (2, 6, 10, 14),
    (3, 7, 11, 15),
    (0, 5, 10, 15),
    (1, 6, 11, 12),
    (2, 7, 8, 13),
    (3, 4, 9, 14),
)
_PERMUTATION = (2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8)
