"""A prober sends everything it can think of to a server's packet port: nothing ever comes back.

The list: random packets of every length up to 300 and beyond, a client's packet cut at every length
and with every byte changed, replays, times that are off, another user's keys.
"""

from __future__ import annotations

import asyncio
import random
import socket
import time
from collections.abc import Iterator
from itertools import pairwise

import pytest

from byway.engine import Engine, PacketListener, SealedPackets
from byway.flow import Target
from byway.protocols import shadowsocks, shadowsocks2022
from byway.protocols.shadowsocks import METHODS, Method
from byway.streams.ciphers import PureCiphers, hkdf_sha1
from tests.roads import clients
from tests.roads.conftest import Road, RunRoad
from tests.roads.test_encrypted import at_client, at_server, word
from tests.roads.test_sealed_packets import echoed, key
from tests.roads.test_udp import associated

pytestmark = pytest.mark.usefixtures("nowhere")

PURE = PureCiphers(time.time)
AES = "2022-blake3-aes-128-gcm"


def packet(
    method: Method,
    target: Target,
    payload: bytes = b"hello",
    off: float = 0.0,
    kind: int = 0,
    keys: tuple[bytes, ...] = (),
    tail: bytes = b"",
) -> bytes:
    """A client's packet, made without the engine; ChaCha's is not (its cipher is XChaCha20)."""
    plain = clients.packed(target) + payload
    if not method.is_2022:
        salt = random.randbytes(method.size)
        master = keys[-1] if keys else shadowsocks.key_of(method, word(method.name))
        subkey = hkdf_sha1(master, salt, b"ss-subkey", method.size)
        return salt + PURE.seal(method.cipher, subkey, 0, tail or plain)
    keys = keys or shadowsocks2022.keys_of(method, word(method.name))
    ids = random.randbytes(8) + bytes(8)
    body = bytes([kind]) + int(time.time() + off).to_bytes(8) + b"\0\2xx" + plain
    identities = b"".join(
        PURE.aes_encrypt(one, bytes(a ^ b for a, b in zip(PURE.blake3(after), ids, strict=False)))
        for one, after in pairwise(keys)
    )
    subkey = shadowsocks2022.session_key(PURE, keys[-1], ids[:8])
    nonce = int.from_bytes(ids[4:], "little")
    head = PURE.aes_encrypt(keys[0], ids)
    return head + identities + PURE.seal(method.cipher, subkey, nonce, tail or body)


def probes(method: Method, target: Target, good: bytes) -> Iterator[bytes]:
    """Everything but a client's packet; `good` is one that was taken before."""
    yield from (random.randbytes(size) for size in range(301))
    yield from (random.randbytes(size) for size in (1400, 9000, 60_000))
    whole = packet(method, target)
    yield from (whole[:size] for size in range(len(whole)))
    for at in range(len(whole)):
        broken = bytearray(packet(method, target))
        broken[at] ^= 1 << at % 8
        yield bytes(broken)
    yield packet(method, target, tail=b"\7" + bytes(40))  # no address that there is
    yield packet(method, target, tail=b"\3")
    if good:
        yield good
    if method.is_2022:
        yield from (packet(method, target, off=off) for off in (-3600, -32, 32, 3600))
        yield packet(method, target, kind=1)
        yield packet(method, target, tail=b"\0" + int(time.time()).to_bytes(8) + b"\xff\xff")
        one, other = bytes([1]) * method.size, bytes([2]) * method.size
        yield packet(method, target, keys=(one,))
        yield packet(method, target, keys=(one, other))


@pytest.mark.parametrize(
    ("name", "users"),
    [("aes-128-gcm", False), ("chacha20-ietf-poly1305", False), (AES, False), (AES, True)],
)
async def test_no_probe_is_answered(
    name: str, users: bool, road: RunRoad, udp_echo: Target
) -> None:
    random.seed(name)
    method, more, keys = METHODS[name], "", ""
    if users:
        more, keys = f", users: [{{name: ann, password: '{key(7)}'}}]", f"{word(name)}:{key(7)}"
    async with road(at_server(name, more)) as there:
        place = there.place("in")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as prober:
            prober.setblocking(False)
            prober.connect((place.host, place.port))
            good = b""
            if not users:
                good = packet(method, udp_echo)
                prober.send(good)  # its answer is awaited, so that the replay comes after it
                await _readable(prober)
                assert len(prober.recv(2000)) > 5
            for probe in probes(method, udp_echo, good):
                prober.send(probe)
            # The server is well, and what it has answered since came by another socket.
            text = at_client(name, place, keys or None)
            async with road(text) as here, associated(here.place("in")) as (sock, _):
                await echoed(sock, udp_echo, b"hello", b"again")
            with pytest.raises(BlockingIOError):
                prober.recv(2000)
        assert len(there.app.ledger.live) + len(there.app.ledger.past) <= 2
    _said_nothing(there)


async def _readable(sock: socket.socket) -> None:
    """Wait until a packet has come."""
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(sock, ready.set)
    async with asyncio.timeout(60):
        await ready.wait()
    loop.remove_reader(sock)


def _said_nothing(there: Road) -> None:
    log = there.log.read_text()
    assert "Traceback" not in log
    assert word(AES) not in log


async def test_what_was_dropped_is_counted(udp_echo: Target) -> None:
    engine, method = Engine(1), METHODS[AES]
    (own,) = shadowsocks2022.keys_of(method, word(AES))
    listener = engine.listen_packets(Target.of("127.0.0.1", 0), SealedPackets(AES, own))
    try:
        place = listener.address
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as prober:
            prober.connect((place.host, place.port))
            good = packet(method, udp_echo)
            for probe in (good, good, packet(method, udp_echo, off=-60), bytes(100), b""):
                prober.send(probe)
            prober.send(packet(method, udp_echo, kind=1))
        (ask,) = await listener.accept()
        assert ask.target == udp_echo
        stats = await _counted(listener, 6)
        assert (stats["replayed"], stats["forged"], stats["malformed"]) == (2, 2, 1)
        ask.refuse()
    finally:
        listener.close()
        await engine.close()


async def _counted(listener: PacketListener, packets: int) -> dict[str, int]:
    async with asyncio.timeout(60):
        while (stats := listener.stats())["packets_up"] < packets:
            await asyncio.sleep(0)
    return stats
