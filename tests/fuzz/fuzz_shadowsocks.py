"""Any bytes, and any bytes sealed under the right key, to the servers of both shadowsocks editions.

Run: python tests/fuzz/fuzz_shadowsocks.py -max_total_time=20
"""

from __future__ import annotations

import contextlib
import sys

import atheris  # type: ignore[import-untyped,import-not-found,unused-ignore]

with atheris.instrument_imports(include=["byway"]):
    from byway.errors import PeerError, Refused
    from byway.interfaces import Stream
    from byway.protocols import address, shadowsocks, shadowsocks2022
    from byway.protocols.shadowsocks import METHODS, Kit
    from byway.streams.ciphers import PureCiphers
    from byway.streams.memory import play, scripted

NOW = 1_700_000_000.0
FRAMINGS = PureCiphers(lambda: NOW)
KIT = Kit(FRAMINGS, bytes, lambda: NOW)
OLD, NEW = METHODS["aes-128-gcm"], METHODS["2022-blake3-aes-128-gcm"]
KEY, USER, SALT = bytes(range(16)), bytes([7]) * 16, bytes([9]) * 16


def one_input(data: bytes) -> None:
    """The first byte picks the edition and how much is right; the second where the rest is cut."""
    if len(data) < 2:
        return
    kind, cut, said = data[0] % 6, data[1], data[2:]
    if kind == 1:
        said = sealed_old(said)
    elif kind in (3, 5):
        said = sealed_new(said, kind == 5)
    near, far = scripted(*[part for part in (said[:cut], said[cut:]) if part])
    with contextlib.suppress(PeerError, Refused, EOFError):
        play(served(near, kind))
    far.close()


async def served(stream: Stream, kind: int) -> None:
    """What is accepted names a host that can be, and is read to its end."""
    users = [shadowsocks2022.User("ann", USER)] if kind > 3 else []
    server: shadowsocks.Server | shadowsocks2022.Server
    if kind < 2:
        server = shadowsocks.Server(OLD, KEY, KIT)
    else:
        server = shadowsocks2022.Server(NEW, KEY, KIT, users)
    request = await server.accept(stream)
    address.unpack(address.pack(request.target))
    while True:
        await request.stream.read()


def sealed_old(plain: bytes) -> bytes:
    """One chunk."""
    plain = plain[: shadowsocks.LONGEST_CHUNK]
    key = shadowsocks.session_key(FRAMINGS, KEY, SALT)
    length = FRAMINGS.seal(OLD.cipher, key, 0, len(plain).to_bytes(2))
    return SALT + length + FRAMINGS.seal(OLD.cipher, key, 1, plain)


def sealed_new(plain: bytes, several: bool) -> bytes:
    """A fixed header, whose type and time the input may change, and what it announces."""
    key = shadowsocks2022.session_key(FRAMINGS, USER if several else KEY, SALT)
    kind, drift, plain = plain[:1] or b"\0", plain[1:2], plain[2:]
    time = int(NOW) + int.from_bytes(drift, signed=True)
    fixed = kind + time.to_bytes(8) + len(plain).to_bytes(2)
    identity = b""
    if several:
        identity = FRAMINGS.aes_encrypt(
            shadowsocks2022.identity_key(FRAMINGS, KEY, SALT), FRAMINGS.blake3(USER)[:16]
        )
    head = FRAMINGS.seal(NEW.cipher, key, 0, fixed)
    return SALT + identity + head + FRAMINGS.seal(NEW.cipher, key, 1, plain)


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
