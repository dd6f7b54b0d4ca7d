"""QUIC's first packets: the published vectors, and ClientHellos cut into pieces in any order."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given, settings
from hypothesis import strategies as st

from byway.engine import Engine
from byway.facts import quic
from byway.facts.hello import Malformed, server_name
from byway.facts.sniffing import sniff_packets
from byway.flow import Sniffed
from byway.sealing import Ciphers
from byway.streams.ciphers import PureCiphers

PURE = PureCiphers()
CONNECTION = bytes.fromhex("8394c8f03e515708")

# RFC 9001 appendix A.2, RFC 9369 appendix A.2: a ClientHello for example.com in a CRYPTO frame.
FRAME = bytes.fromhex(
    "060040f1010000ed0303ebf8fa56f12939b9584a3896472ec40bb863cfd3e868"
    "04fe3a47f06a2b69484c00000413011302010000c000000010000e00000b6578"
    "616d706c652e636f6dff01000100000a00080006001d00170018001000070005"
    "04616c706e000500050100000000003300260024001d00209370b2c9caa47fba"
    "baf4559fedba753de171fa71f50f1ce15d43e994ec74d748002b000302030400"
    "0d0010000e0403050306030203080408050806002d00020101001c0002400100"
    "3900320408ffffffffffffffff05048000ffff07048000ffff08011001048000"
    "75300901100f088394c8f03e51570806048000ffff"
)
HELLO = FRAME[4:]
V1, V2 = 0x00000001, 0x6B3343CF


def varint(number: int) -> bytes:
    return (number | 0x40 << 8).to_bytes(2)


def initial(version: int, frames: bytes, number: int = 2, token: bytes = b"") -> bytes:
    """An Initial packet as RFC 9001 section 5 seals it, by other code than ours."""
    about = quic.VERSIONS[version]
    keys = quic.client_keys(about, CONNECTION)
    first = 0xC3 | about.initial << 4
    head = bytes([first]) + version.to_bytes(4) + bytes([len(CONNECTION)]) + CONNECTION + b"\0"
    head += varint(len(token)) if token else b"\0"
    head += token + varint(4 + len(frames) + 16) + number.to_bytes(4)
    nonce = int.from_bytes(keys.iv) ^ number
    sealed = AESGCM(keys.key).encrypt(nonce.to_bytes(12), frames, head)
    mask = Cipher(algorithms.AES(keys.mask), modes.ECB()).encryptor().update(sealed[:16])
    hidden = bytes([head[0] ^ mask[0] & 0x0F]) + head[1:-4]
    return hidden + bytes(a ^ b for a, b in zip(head[-4:], mask[1:], strict=False)) + sealed


@pytest.mark.parametrize(
    ("version", "key", "iv", "mask", "head"),
    [
        (
            V1,
            "1f369613dd76d5467730efcbe3b1a22d",
            "fa044b2f42a3fd3b46fb255c",
            "9f50449e04a0e810283a1e9933adedd2",
            "c000000001088394c8f03e5157080000449e7b9aec34d1b1c98dd7689fb8ec11",
        ),
        (
            V2,
            "8b1a0bc121284290a29e0971b5cd045d",
            "91f73e2351d8fa91660e909f",
            "45b95e15235d6f45a6b19cbcb0294ba9",
            "d76b3343cf088394c8f03e5157080000449ea0c95e82ffe67b6abcdb4298b485",
        ),
    ],
)
def test_the_published_packets_are_opened(
    version: int, key: str, iv: str, mask: str, head: str
) -> None:
    keys = quic.client_keys(quic.VERSIONS[version], CONNECTION)
    packet = initial(version, FRAME.ljust(1162, b"\0"))

    assert (keys.key.hex(), keys.iv.hex(), keys.mask.hex()) == (key, iv, mask)
    assert packet.hex().startswith(head)
    assert len(packet) == 1200
    assert quic.crypto([packet], PURE) == HELLO
    assert server_name(HELLO) == "example.com"
    assert sniff_packets([packet], PURE) == (Sniffed("quic", "example.com"), True)


async def test_the_engine_opens_what_the_pure_double_opens() -> None:
    packet = initial(V1, FRAME.ljust(1162, b"\0"))
    engine = Engine()
    try:
        ciphers: Ciphers = engine.ciphers
        assert quic.crypto([packet], ciphers) == HELLO
        with pytest.raises(Malformed, match="not authentic"):
            quic.crypto([packet[:-1] + b"\0"], ciphers)
        with pytest.raises(ValueError, match="length"):
            ciphers.open_packet("aes-128-gcm", b"short", bytes(12), b"", bytes(32))
    finally:
        await engine.close()


@st.composite
def cut_hellos(draw: st.DrawFn) -> tuple[list[bytes], bytes]:
    """A long handshake message cut into CRYPTO frames, shuffled over packets and datagrams."""
    message = HELLO + draw(st.binary(max_size=1500))
    ends = draw(st.lists(st.integers(1, len(message) - 1), max_size=5, unique=True).map(sorted))
    cuts = [0, *ends, len(message)]
    pieces = [(a, message[max(0, a - draw(st.integers(0, 3))) : b]) for a, b in pairwise(cuts)]
    frames = [
        b"\x06" + varint(b_end - len(piece)) + varint(len(piece)) + piece
        for (_, piece), b_end in zip(pieces, cuts[1:], strict=True)
    ]
    random.Random(draw(st.integers(0, 99))).shuffle(frames)
    datagrams: list[bytes] = []
    for at, frame in enumerate(frames):
        ping = draw(st.sampled_from([b"", b"\1", b"\2\0\0\0\0", b"\0\0\0"]))
        packet = initial(V1, ping + frame + bytes(4), at)
        joins: bool = draw(st.booleans())
        if datagrams and joins:
            datagrams[-1] += packet
        else:
            datagrams.append(packet)
    return datagrams, message


@settings(max_examples=100)
@given(cut_hellos())
def test_pieces_are_put_together_in_any_order(case: tuple[list[bytes], bytes]) -> None:
    datagrams, message = case

    assert quic.crypto(datagrams, PURE) == message
    seen, done = sniff_packets(datagrams, PURE)
    assert (seen, done) == (Sniffed("quic", "example.com"), True)
    for count in range(1, len(datagrams)):
        seen, done = sniff_packets(datagrams[:count], PURE)
        assert seen.protocol == "quic"
        assert seen.name in ("", "example.com")
        assert done == bool(seen.name)


@settings(max_examples=200)
@given(st.data())
def test_a_forged_packet_is_nothing(data: st.DataObject) -> None:
    packet = bytearray(initial(V1, FRAME.ljust(300, b"\0")))
    packet[data.draw(st.integers(0, len(packet) - 1))] ^= data.draw(st.integers(1, 255))
    seen, done = sniff_packets([bytes(packet)], PURE)

    assert seen == Sniffed()
    assert done


@given(st.lists(st.binary(max_size=80).map(lambda rest: b"\xc0\0\0\0\1" + rest), max_size=3))
def test_no_packets_break_it(packets: list[bytes]) -> None:
    seen, _ = sniff_packets(packets, PURE)

    assert seen == Sniffed()


def test_a_real_client_is_understood() -> None:
    for version in (V1, V2):
        configuration = QuicConfiguration(server_name="www.example.org", alpn_protocols=["h3"])
        configuration.original_version = version
        configuration.supported_versions = [version]
        client = QuicConnection(configuration=configuration)
        client.connect(("192.0.2.1", 443), now=0.0)
        packets = [datagram for datagram, _ in client.datagrams_to_send(now=0.0)]

        assert sniff_packets(packets, PURE) == (Sniffed("quic", "www.example.org"), True)
