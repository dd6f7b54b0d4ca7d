"""TLS beyond what every stream keeps: trust, names, versions, sessions, strangers.

And sealed chunks against their twin in plain Python, byte for byte.
"""

from __future__ import annotations

import asyncio
import hashlib
import ssl
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from byway import _engine
from byway.engine import (
    Engine,
    EngineStream,
    NotTls,
    SaltFilter,
    TlsClient,
    TlsClientOptions,
    TlsServer,
    TlsServerOptions,
)
from byway.engine.layers import Version
from byway.errors import PeerError
from byway.ledger.deadline import Deadline
from byway.sealing import Awaited, Cipher, Opening, Sealing
from byway.streams.ciphers import PureCiphers, hkdf_sha1
from byway.streams.memory import pair
from tests.streams.certificates import authority, certificate
from tests.streams.conformance import read_all

CIPHERS: tuple[Cipher, ...] = ("aes-128-gcm", "aes-256-gcm", "chacha20-poly1305")
NAME = "test.example"


@pytest.fixture
async def engine() -> AsyncIterator[Engine]:
    made = Engine(1)
    yield made
    await made.close()


def server(**options: object) -> TlsServer:
    return TlsServer(TlsServerOptions(**{"certificates": [certificate(NAME).pair], **options}))  # type: ignore[arg-type]


def client(name: str = NAME, **options: object) -> TlsClient:
    return TlsClient(TlsClientOptions(name, **{"ca": authority().pem, **options}))  # type: ignore[arg-type]


async def shake(
    engine: Engine, client: TlsClient, server: TlsServer
) -> tuple[EngineStream, EngineStream]:
    """Both ends, or the client's error (the server's is the same told back)."""
    one, two = engine.pair()
    async with asyncio.timeout(60):
        ends = await asyncio.gather(
            engine.tls_client(one, client), engine.tls_server(two, server), return_exceptions=True
        )
    for end in ends:
        if isinstance(end, BaseException):
            for other in ends:
                if isinstance(other, EngineStream):
                    other.close()
            raise end
    at_client, at_server = ends
    assert isinstance(at_client, EngineStream)
    assert isinstance(at_server, EngineStream)
    return at_client, at_server


async def exchange(one: EngineStream, two: EngineStream) -> None:
    await one.write(b"ping")
    assert await two.read_exactly(4) == b"ping"
    await two.write(b"pong")
    assert await one.read_exactly(4) == b"pong"
    one.close()
    two.close()


@pytest.mark.parametrize("version", ["1.2", "1.3"])
async def test_what_was_settled_can_be_read(engine: Engine, version: Version) -> None:
    one, two = await shake(
        engine,
        client(versions=(version,), alpn=("h2", "http/1.1")),
        server(alpn=("http/1.1",)),
    )
    for end in (one, two):
        assert end.tls is not None
        assert (end.tls.version, end.tls.alpn, end.tls.name) == (version, "http/1.1", NAME)
        assert "AES_128_GCM" in end.tls.cipher
        assert not end.tls.resumed
    await exchange(one, two)


@pytest.mark.parametrize("version", ["1.2", "1.3"])
async def test_a_session_is_taken_up_again(engine: Engine, version: Version) -> None:
    ours, theirs = client(versions=(version,)), server()
    for resumed in (False, True, True):
        one, two = await shake(engine, ours, theirs)
        assert one.tls is not None
        assert two.tls is not None
        assert one.tls.resumed is two.tls.resumed is resumed
        await exchange(one, two)
    fresh = client(versions=(version,), resume=0)
    for _ in range(2):
        one, two = await shake(engine, fresh, theirs)
        assert one.tls is not None
        assert not one.tls.resumed
        await exchange(one, two)


async def test_tickets_outlive_new_certificates(engine: Engine) -> None:
    ours, theirs = client(), server()
    await exchange(*await shake(engine, ours, theirs))
    theirs.reload(TlsServerOptions([certificate(NAME, "other.example").pair]))
    one, two = await shake(engine, ours, theirs)
    assert one.tls is not None
    assert one.tls.resumed
    await exchange(one, two)
    pinned = client(pins=[hashlib.sha256(certificate(NAME, "other.example").der).digest()])
    await exchange(*await shake(engine, pinned, theirs))


def test_a_bad_reload_changes_nothing() -> None:
    theirs = server()
    with pytest.raises(ValueError, match="PEM"):
        theirs.reload(TlsServerOptions([(b"nothing", b"at all")]))
    with pytest.raises(ValueError, match="certificate"):
        theirs.reload(TlsServerOptions([]))
    strange = (certificate(NAME).pair[0], certificate("else.example").pair[1])
    with pytest.raises(ValueError, match="the key does not belong to the certificate"):
        theirs.reload(TlsServerOptions([strange]))
    with pytest.raises(ValueError, match="the key does not belong"):
        server(certificates=[strange])
    with pytest.raises(ValueError, match="the key does not belong"):
        client(certificate=strange[0], key=strange[1])


async def test_a_stranger_is_not_trusted(engine: Engine) -> None:
    with pytest.raises(PeerError, match="UnknownIssuer"):
        await shake(engine, client(ca=authority("Another").pem), server())


async def test_another_name_is_not_trusted(engine: Engine) -> None:
    with pytest.raises(PeerError, match="not valid for name"):
        await shake(engine, client("else.example"), server())


async def test_an_address_can_be_a_name(engine: Engine) -> None:
    theirs = server(certificates=[certificate("192.0.2.1").pair])
    one, two = await shake(engine, client("192.0.2.1"), theirs)
    assert two.tls is not None
    assert two.tls.name is None  # RFC 6066, section 3: addresses are not said
    await exchange(one, two)


async def test_pins_replace_all_else(engine: Engine) -> None:
    shown = certificate(NAME)
    for der in (shown.der, shown.spki):
        pins = [bytes(32), hashlib.sha256(der).digest()]
        await exchange(*await shake(engine, client("else.example", pins=pins, ca=b""), server()))
    with pytest.raises(PeerError, match="certificate"):
        await shake(engine, client(pins=[bytes(32)]), server())


async def test_insecure_trusts_whatever_is_shown(engine: Engine) -> None:
    await exchange(*await shake(engine, client("else.example", insecure=True), server()))


async def test_clients_show_certificates_too(engine: Engine) -> None:
    theirs = server(clients=authority("Clients").pem)
    own = certificate("me", ca="Clients")
    await exchange(*await shake(engine, client(certificate=own.pem, key=own.key), theirs))
    with pytest.raises(PeerError):
        await shake(engine, client(versions=("1.2",)), theirs)


async def test_the_certificate_fits_the_name(engine: Engine) -> None:
    several = [certificate("one.example").pair, certificate("two.example").pair]
    theirs = server(certificates=several)
    await exchange(*await shake(engine, client("two.example"), theirs))
    await exchange(*await shake(engine, client("one.example"), theirs))
    pins = [hashlib.sha256(certificate("one.example").der).digest()]
    await exchange(*await shake(engine, client("three.example", pins=pins), theirs))


async def test_the_name_can_be_kept_silent(engine: Engine) -> None:
    one, two = await shake(engine, client(sni=False), server())
    assert two.tls is not None
    assert two.tls.name is None
    await exchange(one, two)


async def test_no_protocol_in_common(engine: Engine) -> None:
    with pytest.raises(PeerError, match=r"(?i)alert"):
        await shake(engine, client(alpn=("h2",)), server(alpn=("http/1.1",)))


@pytest.mark.parametrize(
    "said",
    [
        b"GET / HTTP/1.1\r\nHost: test\r\n\r\n",
        b"\x15\x03\x03\x00\x02\x02\x28",
        b"",
        bytes(range(256)),
    ],
)
async def test_what_is_no_tls_comes_back_whole(engine: Engine, said: bytes) -> None:
    one, two = engine.pair()
    await one.write(said)
    await one.end()
    with pytest.raises(NotTls) as caught:
        await engine.tls_server(two, server())
    raw = caught.value.stream
    if said:
        assert await raw.read_exactly(len(said)) == said
    with pytest.raises(EOFError):
        await raw.read()
    await raw.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    assert await one.read_exactly(12) == b"HTTP/1.1 400"
    raw.close()
    one.close()


@pytest.mark.parametrize(
    ("said", "alert"),
    [
        (b"\x16", b""),
        (b"\x16\x03\x01\x02\x00\x01\x00", b""),
        (b"\x16\x03\x01\x00\x00", b""),
        (b"\x16GET /", b""),
        (b"\x80 is how SSL 2 begins", b""),
        (b"\x16\x03\x01\x00\x04\x02\x00\x00\x00", b"\x15\x03\x03\x00\x02\x02\x0a"),
        (b"\x16\x03\x01\x00\x04\x01\x00\x00\x00", b"\x15\x03\x03\x00\x02\x02\x32"),
        (b"\x16\x03\x01\xff\xff\x01", b"\x15\x03\x03\x00\x02\x02\x16"),
    ],
)
async def test_what_begins_as_tls_is_answered_as_tls(
    engine: Engine, said: bytes, alert: bytes
) -> None:
    one, two = engine.pair()
    await one.write(said)
    await one.end()
    with pytest.raises((PeerError, EOFError)) as caught:
        await engine.tls_server(two, server())
    assert not isinstance(caught.value, NotTls)
    if alert:
        assert await one.read_exactly(len(alert)) == alert
    with pytest.raises(EOFError):
        await one.read()
    one.close()


async def test_no_tls_is_seen_at_its_first_byte(engine: Engine) -> None:
    one, two = engine.pair()
    await one.write(b"G")
    async with asyncio.timeout(60):
        with pytest.raises(NotTls) as caught:
            await engine.tls_server(two, server())
    assert await caught.value.stream.read() == b"G"
    caught.value.stream.close()
    one.close()


async def test_a_client_meets_no_tls(engine: Engine) -> None:
    one, two = engine.pair()
    await two.write(b"SSH-2.0-something\r\n")
    with pytest.raises(PeerError, match="TLS"):
        await engine.tls_client(one, client())
    two.close()


async def test_a_cancelled_handshake_closes(engine: Engine) -> None:
    one, two = engine.pair()
    shaking = asyncio.create_task(engine.tls_client(one, client()))
    await two.read()
    shaking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await shaking
    async with asyncio.timeout(60):
        await read_all(two)
    two.close()


@pytest.mark.parametrize("ends", ["client", "server"])
async def test_a_handshake_out_of_time_leaves_nothing(engine: Engine, ends: str) -> None:
    one, two = engine.pair()
    mine = (
        engine.tls_client(one, client()) if ends == "client" else engine.tls_server(one, server())
    )
    with pytest.raises(TimeoutError, match="too late"), Deadline(0.05, "too late"):
        await mine
    assert (await read_all(two))[:1] in (b"\x16", b"")  # a hello, and then the end
    assert engine.stats()["waiting"] == 0


async def test_an_authority_shown_by_a_server_is_no_certificate_of_its_own(engine: Engine) -> None:
    own = authority("Self CA")
    with pytest.raises(PeerError, match=r"CA:TRUE.*as pin"):
        await shake(engine, client(ca=own.pem), server(certificates=[own.pair]))
    pinned = client(pins=[hashlib.sha256(own.der).digest()])
    await exchange(*await shake(engine, pinned, server(certificates=[own.pair])))


async def test_an_end_that_tls_did_not_say_is_a_reset(engine: Engine) -> None:
    below, away = engine.pair()
    through, two = engine.pair()
    relay = engine.relay(away, through)
    shaking = asyncio.create_task(engine.tls_server(two, server()))
    one = await engine.tls_client(below, client())
    other = await shaking
    await one.write(b"whole")
    assert await other.read_exactly(5) == b"whole"
    relay.cut("in the middle")
    for end in (one, other):
        with pytest.raises(ConnectionResetError):
            await end.read()
        end.close()


@pytest.mark.parametrize("version", ["1.2", "1.3"])
async def test_the_standard_library_is_a_client(
    engine: Engine, tmp_path: Path, version: Version
) -> None:
    listener = engine.listen_unix(str(tmp_path / "socket"))
    context = ssl.create_default_context(cadata=authority().pem.decode())
    chosen = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}[version]
    context.minimum_version = context.maximum_version = chosen
    opening = asyncio.create_task(
        asyncio.open_unix_connection(str(tmp_path / "socket"), ssl=context, server_hostname=NAME)
    )
    (raw,) = await listener.accept()
    stream = await engine.tls_server(raw, server())
    reader, writer = await opening
    data = bytes(range(256)) * 4096
    writer.write(data)
    assert await stream.read_exactly(len(data)) == data
    writing = asyncio.create_task(stream.write(data))
    assert await reader.readexactly(len(data)) == data
    await writing
    stream.close()
    assert await reader.read() == b""
    writer.transport.abort()
    listener.close()


@pytest.mark.parametrize("cipher", CIPHERS)
@pytest.mark.parametrize("modern", [False, True])
@pytest.mark.parametrize("size", [1, 0x3FFF, 0x4001, 200_000])
async def test_chunks_are_what_plain_python_makes(
    engine: Engine, cipher: Cipher, modern: bool, size: int
) -> None:
    """The engine as client, plain Python as server, over bytes carried by hand."""
    now = 1_700_000_000.0
    pure = PureCiphers(lambda: now)
    keys = 16 if cipher == "aes-128-gcm" else 32
    up, master, request, salt = (bytes([n]) * keys for n in range(4))
    limit = 0xFFFF if modern else 0x3FFF
    far, wire = engine.pair()
    framed = engine.ciphers.chunked(
        far,
        cipher,
        Sealing(up, b"prefix", b"\x00" + bytes(8) if modern else b""),
        Awaited(master, request if modern else None),
        limit,
    )
    data = bytes(range(256)) * 1000
    framed.hold(data[:10])
    await framed.write(data[10:size])
    await framed.end()
    sealed = await read_all(wire)
    assert sealed.startswith(b"prefix")
    opening = Opening(up)
    plain = bytearray()
    count, at = 0, 6
    while at < len(sealed):
        head = 2 + (9 if modern and count == 0 else 0) + 16
        length = pure.open(cipher, opening.key, count, sealed[at : at + head])
        body = int.from_bytes(length[-2:]) + 16
        at += head
        plain += pure.open(cipher, opening.key, count + 1, sealed[at : at + body])
        at, count = at + body, count + 2
    assert plain == data[: max(size, 10)]
    wire.close()
    framed.close()
    assert hkdf_sha1(master, salt, b"ss-subkey", keys) != up


@pytest.mark.parametrize("wrong", ["type", "time", "request", "flipped", "cut"])
async def test_a_wrong_answer_is_refused(engine: Engine, wrong: str) -> None:
    """The 2022 edition's checks of an answer (SIP022, section 3.1.3)."""
    size = 16
    master, request, salt = (bytes([n]) * size for n in range(3))
    ciphers = engine.ciphers
    far, wire = engine.pair()
    framed = ciphers.chunked(far, "aes-128-gcm", Sealing(master), Awaited(master, request), 0xFFFF)
    key = ciphers.blake3_key("shadowsocks 2022 session subkey", master + salt, size)
    kind = 0 if wrong == "type" else 1
    when = 1 if wrong == "time" else int(time.time())
    head = bytes([kind]) + when.to_bytes(8) + (salt if wrong == "request" else request)
    sealed = ciphers.seal("aes-128-gcm", key, 0, head + (5).to_bytes(2))
    body = ciphers.seal("aes-128-gcm", key, 1, b"hello")
    if wrong == "flipped":
        body = bytes([body[0] ^ 1]) + body[1:]
    await wire.write(salt + sealed + (body[:-1] if wrong == "cut" else body))
    await wire.end()
    expected = ConnectionResetError if wrong == "cut" else PeerError
    with pytest.raises(expected):
        await framed.read()
    framed.close()
    wire.close()


async def test_chunks_take_only_engine_streams(engine: Engine) -> None:
    one, two = pair()
    with pytest.raises(TypeError):
        engine.ciphers.chunked(one, "aes-128-gcm", Sealing(bytes(16)), Opening(bytes(16)), 1)
    one.close()
    two.close()


async def test_wrong_lengths_are_said(engine: Engine) -> None:
    ciphers = engine.ciphers
    one, two = engine.pair()
    with pytest.raises(ValueError, match="length"):
        ciphers.chunked(one, "aes-256-gcm", Sealing(bytes(16)), Opening(bytes(16)), 0x3FFF)
    two.close()
    with pytest.raises(ValueError, match="length"):
        ciphers.seal("aes-128-gcm", bytes(15), 0, b"")
    with pytest.raises(ValueError, match="16 or 32"):
        ciphers.aes_encrypt(bytes(24), bytes(16))


def test_primitives_are_what_plain_python_makes() -> None:
    pure = PureCiphers()
    block, material = bytes(range(16)), bytes(range(200))
    for key in (bytes(16), bytes(range(32))):
        assert _engine.aes_block(key, block) == pure.aes_encrypt(key, block)
        assert _engine.aes_block(key, block, decrypt=True) == pure.aes_decrypt(key, block)
    assert _engine.blake3(material) == pure.blake3(material)
    assert _engine.blake3_derive("a context", material, 16) == pure.blake3_key(
        "a context", material, 16
    )
    for cipher in CIPHERS:
        key = bytes(range(16 if cipher == "aes-128-gcm" else 32))
        sealed = _engine.seal_piece(cipher, key, 300, material)
        assert sealed == pure.seal(cipher, key, 300, material)
        assert _engine.open_piece(cipher, key, 300, sealed) == material
        with pytest.raises(ValueError, match="authentic"):
            _engine.open_piece(cipher, key, 301, sealed)
        with pytest.raises(ValueError, match="authentic"):
            _engine.open_piece(cipher, key, 300, sealed[:15])


def test_a_salt_is_fresh_once() -> None:
    seen = SaltFilter(2, 60.0)
    assert seen.fresh(b"a" * 16, 0.0)
    assert not seen.fresh(b"a" * 16, 59.0)
    assert seen.fresh(b"b" * 32, 59.0)
    assert not seen.fresh(b"c" * 32, 59.0), "full: rather none than a replay"
    assert seen.fresh(b"c" * 32, 61.0)
    assert len(seen) == 3
