"""Shadowsocks with AEAD ciphers at both ends, against vectors and played from bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from byway.errors import PeerError, Refused
from byway.flow import Target
from byway.protocols import address
from byway.protocols.shadowsocks import (
    METHODS,
    TAG,
    Kit,
    Method,
    Request,
    Server,
    ShadowsocksOptions,
    connect,
    key_of,
    method_named,
    session_key,
    why_refused,
)
from byway.streams.memory import MemoryStream, WouldWait, pair, play, scripted
from tests.protocols.kits import kit
from tests.protocols.targets import targets

AEAD = [method for method in METHODS.values() if not method.is_2022]
SALT = bytes(range(32))
HEADER = address.pack(Target.of("example.com", 80))
SAID = b"GET / HTTP/1.1\r\n\r\n"
VECTORS = {
    "aes-128-gcm": (
        "ed2a618d9490d1701de885d82aa80616",
        "5c0f946549da828843700377f286798d7a80"
        "ff1a7ea18456ee41050a92f7f435fa36315b8158837e9ceea5d9c92755d199ad3e5f2ed1e591579c48015c"
        "b40ede30d2be",
    ),
    "aes-256-gcm": (
        "ee187aed3f87574907a39db98606f60a526114831288097cac66054b33a9464f",
        "7e84dba3051e9d807cf295c514c2508f08af"
        "f62bba0d4b25261b49e432d754aa72014a5129bd461251e924ec0c6798380281488417686ef83586dad01c"
        "012508191456",
    ),
    "chacha20-ietf-poly1305": (
        "ee187aed3f87574907a39db98606f60a526114831288097cac66054b33a9464f",
        "ad69f94d8c5e4f6a2014d4dd503a61e01ece"
        "83c3ce5d825d5be9428b2bc98d01eea45c7fb1da8193ac2b754a322024f98b72d1bb7e3a16e9c9635d8bcf"
        "2c8ac747af84",
    ),
}


def options(method: Method) -> ShadowsocksOptions:
    """A client with the password that all vectors use."""
    return ShadowsocksOptions(method, (key_of(method, "password"),))


def server(method: Method, lent: Kit | None = None) -> Server:
    """The server to it."""
    return Server(method, key_of(method, "password"), lent or kit())


def recorded(method: Method, said: bytes = SAID, target: Target | None = None) -> bytes:
    """The first packet of a client."""
    stream, far = pair()
    lent = kit(SALT[: method.size])
    framed = play(connect(stream, target or Target.of("example.com", 80), options(method), lent))
    play(framed.write(said))
    return far.read_nowait()


def accepted(wire: bytes, method: Method, *, end: bool = True) -> tuple[Request, bytes]:
    """The request in a client's bytes, and the payload behind it."""
    near, _ = scripted(wire, end=end)
    request = play(server(method).accept(near))
    return request, play(request.stream.read())


@pytest.mark.parametrize("method", AEAD, ids=lambda method: method.name)
class TestEachMethod:
    """What holds of every cipher."""

    def test_vectors(self, method: Method) -> None:
        subkey, wire = VECTORS[method.name]
        salt = SALT[: method.size]
        assert session_key(kit().ciphers, key_of(method, "password"), salt).hex() == subkey
        assert recorded(method) == salt + bytes.fromhex(wire)

    def test_the_server_reads_the_vector(self, method: Method) -> None:
        wire = SALT[: method.size] + bytes.fromhex(VECTORS[method.name][1])
        request, rest = accepted(wire, method)
        assert (request.target, request.user, rest) == (Target.of("example.com", 80), None, SAID)

    def test_both_ends_talk(self, method: Method) -> None:
        stream, far = pair(capacity=1 << 20)
        near = play(
            connect(stream, Target.of("192.0.2.1", 443), options(method), kit(b"s" * method.size))
        )
        play(near.write(b"hello"))
        request = play(server(method, kit(b"t" * method.size)).accept(far))
        assert play(request.stream.read()) == b"hello"
        play(request.stream.write(b"x" * 100_000))
        assert play(near.read_exactly(100_000)) == b"x" * 100_000
        play(request.stream.end())
        with pytest.raises(EOFError):
            play(near.read())

    def test_a_replay_is_refused_and_only_that(self, method: Method) -> None:
        wire, doorkeeper = recorded(method), server(method)
        play(doorkeeper.accept(scripted(wire)[0]))
        with pytest.raises(Refused, match="replay"):
            play(doorkeeper.accept(scripted(wire)[0]))

    def test_a_salt_that_was_not_authentic_may_come_again(self, method: Method) -> None:
        wire, doorkeeper = recorded(method), server(method)
        broken = wire[:-1] + bytes([wire[-1] ^ 1])
        with pytest.raises(Refused):
            play(doorkeeper.accept(scripted(broken)[0]))
        assert play(doorkeeper.accept(scripted(wire)[0])).target.host == "example.com"

    def test_any_flipped_bit_is_refused_in_silence(self, method: Method) -> None:
        wire = recorded(method)
        for at in range(len(wire)):
            near, client = scripted(wire[:at] + bytes([wire[at] ^ 0x10]) + wire[at + 1 :])
            with pytest.raises(Refused, match="not authentic"):
                play(server(method).accept(near))
            assert client.read_nowait() == b""

    def test_cut_anywhere_it_waits_or_ends(self, method: Method) -> None:
        wire = recorded(method)
        for size in range(len(wire)):
            with pytest.raises(EOFError):
                play(server(method).accept(scripted(wire[:size])[0]))
            near, client = scripted(wire[:size], end=False)
            with pytest.raises(WouldWait):
                play(server(method).accept(near))
            assert client.read_nowait() == b""

    def test_single_bytes_are_enough(self, method: Method) -> None:
        wire = recorded(method)
        near, _ = scripted(*(wire[at : at + 1] for at in range(len(wire))))
        assert play(server(method).accept(near)).target == Target.of("example.com", 80)

    def test_an_address_may_be_split_over_chunks(self, method: Method) -> None:
        stream, far = pair()
        lent, key = kit(), key_of(method, "password")
        wire = SALT[: method.size]
        subkey = session_key(lent.ciphers, key, wire)
        for count, part in enumerate((HEADER[:3], HEADER[3:] + SAID)):
            seal = lent.ciphers.seal
            wire += seal(method.cipher, subkey, 2 * count, len(part).to_bytes(2))
            wire += seal(method.cipher, subkey, 2 * count + 1, part)
        far.write_nowait(wire)
        request = play(server(method).accept(stream))
        assert request.target == Target.of("example.com", 80)
        assert play(request.stream.read()) == SAID

    def test_empty_chunks_are_read_past(self, method: Method) -> None:
        lent, salt = kit(), SALT[: method.size]
        subkey = session_key(lent.ciphers, key_of(method, "password"), salt)
        chunks = (b"", address.pack(Target.of("a.example", 25)), b"", b"", b"EHLO", b"", b" b")
        wire, count = salt, 0
        for chunk in chunks:
            for piece in (len(chunk).to_bytes(2), chunk):
                wire += lent.ciphers.seal(method.cipher, subkey, count, piece)
                count += 1
        request = play(server(method).accept(scripted(wire)[0]))
        assert request.target == Target.of("a.example", 25)
        assert play(request.stream.read_exactly(6)) == b"EHLO b"

    @pytest.mark.parametrize("length", [0x4000, 0xFFFF])
    def test_a_bad_length_is_refused(self, method: Method, length: int) -> None:
        salt = SALT[: method.size]
        subkey = session_key(kit().ciphers, key_of(method, "password"), salt)
        head = kit().ciphers.seal(method.cipher, subkey, 0, length.to_bytes(2))
        with pytest.raises(PeerError, match=f"{length} bytes"):
            play(server(method).accept(scripted(salt + head)[0]))

    def test_an_unknown_address_is_refused(self, method: Method) -> None:
        lent, salt = kit(), SALT[: method.size]
        subkey = session_key(kit().ciphers, key_of(method, "password"), salt)
        wire = salt + lent.ciphers.seal(method.cipher, subkey, 0, b"\0\2")
        wire += lent.ciphers.seal(method.cipher, subkey, 1, b"\x09\x00")
        with pytest.raises(PeerError, match="address type"):
            play(server(method).accept(scripted(wire)[0]))


@given(target=targets(), said=st.binary(min_size=1, max_size=40_000))
def test_any_request_arrives(target: Target, said: bytes) -> None:
    method = METHODS["chacha20-ietf-poly1305"]
    request, rest = accepted(recorded(method, said, target), method)
    assert request.target == target
    assert said.startswith(rest)


@given(wire=st.binary(max_size=300))
def test_random_bytes_are_no_request(wire: bytes) -> None:
    for method in AEAD:
        near, client = scripted(wire)
        with pytest.raises((Refused, EOFError)):
            play(server(method).accept(near))
        assert client.read_nowait() == b""


def test_the_answer_of_another_key_is_refused() -> None:
    method = METHODS["aes-128-gcm"]
    stream, far = pair()
    framed = play(connect(stream, Target.of("a", 1), options(method), kit()))
    far.write_nowait(bytes(16 + 18))
    with pytest.raises(PeerError, match="not authentic"):
        play(framed.read())


def test_keys_of_passwords() -> None:
    short, long = METHODS["aes-128-gcm"], METHODS["aes-256-gcm"]
    assert key_of(short, "password").hex() == "5f4dcc3b5aa765d61d8327deb882cf99"
    assert key_of(long, "password").hex() == (
        "5f4dcc3b5aa765d61d8327deb882cf992b95990a9151374abd8ff8c5a7a0fe08"
    )
    assert len(key_of(long, "wörd")) == 32


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("aes-256-cfb", "stream cipher aes-256-cfb does not protect"),
        ("RC4-MD5", "stream cipher rc4-md5"),
        ("none", "encrypts nothing"),
        ("aes-192-gcm", "rare"),
        ("aes-512-gcm", "unknown shadowsocks method 'aes-512-gcm'; known: 2022-"),
    ],
)
def test_other_methods_are_refused_with_a_reason(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        method_named(name)


def test_methods_are_found_by_name() -> None:
    assert method_named("AES-128-GCM") is METHODS["aes-128-gcm"]
    assert why_refused("aes-128-gcm") is None


def test_secrets_do_not_show() -> None:
    held = options(METHODS["aes-128-gcm"])
    assert "5f4dcc" not in repr(held)
    assert str(held.keys[0]) not in repr(held)


def test_the_first_write_is_one_piece() -> None:
    method = METHODS["aes-128-gcm"]
    near, far = pair()
    framed = play(connect(near, Target.of("a.example", 1), options(method), kit()))
    assert isinstance(near, MemoryStream)
    play(framed.write(b"payload"))
    size = 16 + 2 + TAG + len(address.pack(Target.of("a.example", 1))) + 7 + TAG
    assert len(play(far.read())) == size
