"""A prober plays everything it can think of; all of it must look the same from outside.

The list: a replay, times that are off, a flipped bit at each of the first 200 bytes, truncation at
every length, random bytes of every length up to 300, bad lengths and addresses.
"""

from __future__ import annotations

import asyncio
import random
import socket
import time
from collections.abc import Iterator

import pytest

from byway.config import load_text
from byway.flow import Target
from byway.protocols import address, shadowsocks, shadowsocks2022
from byway.protocols.shadowsocks import METHODS, Kit, Method, ShadowsocksOptions
from byway.streams.ciphers import PureCiphers, hkdf_sha1
from byway.streams.memory import pair, play
from tests.roads.conftest import RunRoad
from tests.roads.test_encrypted import at_server, word

pytestmark = pytest.mark.usefixtures("nowhere")

PATIENCE = 0.8  # seconds for a handshake at the server
AT_ONCE = 300  # probes on their way at a time

PURE = PureCiphers(time.time)
Seen = tuple[bytes, str]


def keys(method: Method) -> tuple[bytes, ...]:
    """The keys of the server's password."""
    if method.is_2022:
        return shadowsocks2022.keys_of(method, word(method.name))
    return (shadowsocks.key_of(method, word(method.name)),)


def recorded(method: Method, target: Target, off: float = 0.0) -> bytes:
    """The first packet of a client, whose clock may be off."""
    stream, far = pair()
    pure = PureCiphers(lambda: time.time() + off)
    kit = Kit(pure, random.randbytes, lambda: time.time() + off)
    connect = shadowsocks2022.connect if method.is_2022 else shadowsocks.connect
    framed = play(connect(stream, target, ShadowsocksOptions(method, keys(method)), kit))
    play(
        framed.write(
            b"GET / HTTP/1.1\r\nHost: a.example\r\n" + b"X-Long: %b\r\n\r\n" % (b"x" * 200)
        )
    )
    return far.read_nowait()


def sealed(method: Method, first: bytes, second: bytes = b"") -> bytes:
    """A request of which these are the first two things sealed: what only a client could send."""
    salt = random.randbytes(method.size)
    (key,) = keys(method)
    if method.is_2022:
        subkey = shadowsocks2022.session_key(PURE, key, salt)
    else:
        subkey = hkdf_sha1(key, salt, b"ss-subkey", len(key))
    return salt + b"".join(
        PURE.seal(method.cipher, subkey, count, plain)
        for count, plain in enumerate((first, second))
        if plain
    )


def probes(method: Method, target: Target) -> Iterator[bytes]:
    """Everything but a request."""
    wire = recorded(method, target)
    for at in range(200):
        broken = bytearray(recorded(method, target))
        broken[at] ^= 1 << at % 8
        yield bytes(broken)
    yield from (wire[:size] for size in range(1, len(wire)))
    yield from (random.randbytes(size) for size in range(1, 301))
    yield random.randbytes(20_000)
    if method.is_2022:
        yield from (recorded(method, target, off) for off in (-3600, -31, 90, 3600))
        now = int(time.time()).to_bytes(8)
        asked = address.pack(target)
        yield sealed(method, b"\1" + now + b"\0\x20", bytes(32))
        for header in (asked, asked + b"\0\0", asked + b"\0\x20x", b"\7" + bytes(32)):
            yield sealed(method, b"\0" + now + len(header).to_bytes(2), header)
    else:
        yield from (sealed(method, length) for length in (b"\0\0", b"\x40\0", b"\xff\xff"))
        yield sealed(method, b"\0\2", b"\7\7")


async def seen(place: Target, wire: bytes, gate: asyncio.Semaphore) -> tuple[Seen, float]:
    """What a prober sees: the answer, how it ended, and when."""
    async with gate:
        reader, writer = await asyncio.open_connection(place.host, place.port)
        began = asyncio.get_running_loop().time()
        writer.write(wire)
        try:
            answer = await reader.read()
            end = "end"
        except ConnectionResetError:
            answer, end = b"", "reset"
        took = asyncio.get_running_loop().time() - began
        writer.close()
        return (answer, end), took


@pytest.mark.parametrize(
    "name", ["aes-128-gcm", "chacha20-ietf-poly1305", *(n for n in METHODS if "2022" in n)]
)
async def test_all_probes_look_the_same(name: str, road: RunRoad, echo: Target) -> None:
    random.seed(name)
    method, gate = METHODS[name], asyncio.Semaphore(AT_ONCE)
    limits = f"limits: {{handshake: {PATIENCE}s}}\n"
    async with road(limits + at_server(name, ", allow_local: true")) as there:
        place = there.place("in")
        wire = recorded(method, echo)
        reader, writer = await asyncio.open_connection(place.host, place.port)
        writer.write(wire)
        assert await reader.read(1)  # the recorded one is a client's
        played = [wire, *probes(method, echo)]
        results = await asyncio.gather(*(seen(place, probe, gate) for probe in played))
        writer.close()
        slow = [at for at, (_, took) in enumerate(results) if took >= 2 * PATIENCE]
        # A busy machine delays any probe, a server that tells them apart the same ones again.
        few = asyncio.Semaphore(10)
        for at in slow:
            again = await asyncio.gather(*(seen(place, played[at], few) for _ in range(4)))
            results[at] = min(again, key=lambda result: result[1])
    assert {result for result, _ in results} == {(b"", "end")}
    times = [took for _, took in results]
    assert min(times) > 0.95 * PATIENCE
    assert max(times) < 2 * PATIENCE
    assert len(played) > 700


@pytest.mark.parametrize("name", ["aes-256-gcm", "2022-blake3-aes-128-gcm"])
async def test_what_was_seen_is_remembered_through_a_reload(
    name: str, road: RunRoad, echo: Target
) -> None:
    method, text = METHODS[name], at_server(name, ", allow_local: true")
    limits = "limits: {handshake: 100ms}\n"
    async with road(limits + text) as there:
        wire = recorded(method, echo)
        assert await _answered(there.place("in"), wire)
        await there.app.reload(load_text("limits: {handshake: 200ms}\n" + text))
        assert not await _answered(there.place("in"), wire)
        assert await _answered(there.place("in"), recorded(method, echo))


async def test_requests_of_before_the_start_are_refused(road: RunRoad, echo: Target) -> None:
    method = METHODS["2022-blake3-aes-256-gcm"]
    before = recorded(method, echo, off=-1.0)
    text = "limits: {handshake: 100ms}\n" + at_server(method.name, ", allow_local: true")
    async with road(text) as there:
        assert not await _answered(there.place("in"), before)
        assert await _answered(there.place("in"), recorded(method, echo))
    assert "from before this server began" in there.log.read_text()


async def _answered(place: Target, wire: bytes) -> bool:
    reader, writer = await asyncio.open_connection(place.host, place.port)
    writer.write(wire)
    answer = await reader.read(1)
    writer.close()
    return answer != b""


async def test_who_hangs_up_is_hung_up_on(road: RunRoad, echo: Target) -> None:
    method = METHODS["2022-blake3-aes-128-gcm"]
    async with road("limits: {handshake: 30s}\n" + at_server(method.name)) as there:
        place, wire = there.place("in"), recorded(method, echo)
        for probe in (wire[:5], wire[:60], bytes(20), bytes(500)):
            with socket.create_connection((place.host, place.port)) as prober:
                prober.setblocking(False)
                loop = asyncio.get_running_loop()
                await loop.sock_sendall(prober, probe)
                prober.shutdown(socket.SHUT_WR)
                async with asyncio.timeout(60):
                    assert await loop.sock_recv(prober, 100) == b""
