"""The engine's ciphers and framings once more, in plain Python: what tests play handshakes with.

It does byte for byte what the engine's does, slowly, over any stream. Ciphers come from the
`cryptography` library, which only tests have.
"""

from __future__ import annotations

import asyncio
import hmac
import struct

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher as BlockCipher
from cryptography.hazmat.primitives.ciphers import algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from byway.errors import PeerError
from byway.interfaces import Framing, Opener, Stream, StreamInfo

TAG = 16
WINDOW = 30  # seconds that two clocks may differ (SIP022 section 3.1.3)
SUBKEY_2022 = "shadowsocks 2022 session subkey"


class PureFramings:
    """`interfaces.Framings` without the engine."""

    def opener(self, method: str, key: bytes, salt: bytes) -> PureOpener:
        """The opener of one direction."""
        return PureOpener(method, key, salt)

    def blake3(self, data: bytes) -> bytes:
        """The hash of at most 1024 bytes."""
        return _blake3(data, _IV, 0)

    def blake3_derive(self, context: str, material: bytes, length: int) -> bytes:
        """Key derivation from at most 1024 bytes."""
        return blake3_derive(context, material, length)

    def aes_block(self, key: bytes, block: bytes, *, decrypt: bool = False) -> bytes:
        """One block."""
        cipher = BlockCipher(algorithms.AES(key), modes.ECB())  # noqa: S305
        return (cipher.decryptor() if decrypt else cipher.encryptor()).update(block)

    def shadowsocks(self, stream: Stream, framing: Framing) -> ChunkedStream:
        """A stream of sealed chunks."""
        return ChunkedStream(stream, framing)


class _Counted:
    """One direction's cipher, and the count of its nonces."""

    def __init__(self, method: str, key: bytes, salt: bytes) -> None:
        if method.startswith("2022-"):
            subkey = blake3_derive(SUBKEY_2022, key + salt, len(key))
        else:
            subkey = hkdf_sha1(key, salt, b"ss-subkey", len(key))
        self._aead = ChaCha20Poly1305(subkey) if "chacha20" in method else AESGCM(subkey)
        self._count = 0

    def _nonce(self) -> bytes:
        return self._count.to_bytes(12, "little")


class PureSealer(_Counted):
    """Seals one direction."""

    def seal(self, plain: bytes) -> bytes:
        """The sealed bytes; the count goes on."""
        sealed = self._aead.encrypt(self._nonce(), plain, None)
        self._count += 1
        return sealed


class PureOpener(_Counted):
    """Opens one direction."""

    def open(self, sealed: bytes) -> bytes:
        """The plain bytes. Raises PeerError, and counts on only when it was right."""
        try:
            plain = self._aead.decrypt(self._nonce(), sealed, None)
        except InvalidTag:
            raise PeerError("the other side sent a chunk that is not authentic") from None
        self._count += 1
        return plain


class ChunkedStream:
    """A framed stream. See `interfaces.Stream` for the contract."""

    def __init__(self, stream: Stream, framing: Framing) -> None:
        self._stream = stream
        self._framing = framing
        self._is_2022 = framing.method.startswith("2022-")
        self._limit = 0xFFFF if self._is_2022 else 0x3FFF
        self._sealer = PureSealer(framing.method, framing.key, framing.salt)
        self._opener: Opener | None = framing.opener
        self._begun = False
        self._length: int | None = None  # of the chunk whose length was opened already
        self._plain = b""
        self._held = b""

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
        if self._begun:
            return self._sealer.seal(len(payload).to_bytes(2)) + self._sealer.seal(payload)
        self._begun = True
        framing, lead = self._framing, b""
        if self._is_2022:
            kind = b"\1" if framing.request else b"\0"
            lead = kind + int(framing.now).to_bytes(8) + framing.request
        if self._is_2022 and not framing.request:
            address, payload = payload[: framing.head], payload[framing.head :]
            padding = b"" if payload else framing.padding
            payload = address + len(padding).to_bytes(2) + padding + payload
        length = self._sealer.seal(lead + len(payload).to_bytes(2))
        return framing.salt + framing.identity + length + self._sealer.seal(payload)

    async def _more(self) -> None:
        """One more chunk. A cancel loses nothing."""
        opener = self._opener
        if opener is None:
            opener = await self._answered()
        if self._length is None:
            self._length = int.from_bytes(opener.open(await self._stream.read_exactly(2 + TAG)))
            if not 0 < self._length <= self._limit:
                raise PeerError(f"the other side sent a chunk of {self._length} bytes")
        payload = await self._stream.read_exactly(self._length + TAG)
        self._length = None
        self._plain += opener.open(payload)

    async def _answered(self) -> Opener:
        """Take the answer's salt, and for 2022 its header."""
        framing, size = self._framing, len(self._framing.key)
        head_size = 1 + 8 + size + 2 + TAG if self._is_2022 else 0
        data = await self._stream.read_exactly(size + head_size)
        opener = self._opener = PureOpener(framing.method, framing.key, data[:size])
        if self._is_2022:
            head = opener.open(data[size:])
            if head[0] != 1:
                raise PeerError("the server's answer is no answer")
            if abs(int.from_bytes(head[1:9]) - framing.now) > WINDOW:
                raise PeerError("the server's clock and ours are more than 30 s apart")
            if not hmac.compare_digest(head[9 : 9 + size], framing.salt):
                raise PeerError("the server answers another request")
            self._length = int.from_bytes(head[-2:])
        return opener


def blake3_derive(context: str, material: bytes, length: int) -> bytes:
    """BLAKE3's key derivation from at most 1024 bytes, of at most 32."""
    key = struct.unpack("<8I", _blake3(context.encode(), _IV, _DERIVE_CONTEXT))
    return _blake3(material, key, _DERIVE_MATERIAL)[:length]


def hkdf_sha1(master: bytes, salt: bytes, info: bytes, size: int) -> bytes:
    """HKDF (RFC 5869) with SHA-1."""
    pseudo = hmac.digest(salt, master, "sha1")
    made, block, at = b"", b"", 1
    while len(made) < size:
        block = hmac.digest(pseudo, block + info + bytes([at]), "sha1")
        made, at = made + block, at + 1
    return made[:size]


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
