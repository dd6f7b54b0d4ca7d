"""The 2022 edition of shadowsocks at both ends, against vectors and played from bytes."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from byway.errors import PeerError, Refused
from byway.flow import Target
from byway.protocols import address
from byway.protocols.shadowsocks import METHODS, Kit, Method, ShadowsocksOptions
from byway.protocols.shadowsocks2022 import (
    MOST_PADDING,
    Server,
    User,
    connect,
    identity_key,
    keys_of,
    new_key,
    session_key,
)
from byway.streams.ciphers import PureCiphers
from byway.streams.memory import WouldWait, pair, play, scripted
from tests.protocols.kits import NOON, kit
from tests.protocols.targets import targets

METHODS_2022 = [method for method in METHODS.values() if method.is_2022]
SMALL = METHODS["2022-blake3-aes-128-gcm"]
PURE = PureCiphers(lambda: NOON)
SALT = bytes(range(0xA0, 0xC0))
IPSK, UPSK = bytes(range(16)), bytes(range(16, 32))
EXAMPLE = Target.of("example.com", 80)
REQUEST = (
    "a0a1a2a3a4a5a6a7a8a9aaabacadaeaf904ad8f6b400e3d668a1ea8cbea72462b3f62e91a11d0882c3cd8c"
    "11962579c8c69f9fc885c7e304634b58d937d8dff82c78b24e947562ff19d530748e0aab5b19"
)
REQUEST_OF_USER = (
    "a0a1a2a3a4a5a6a7a8a9aaabacadaeaf5db1f8184d60811e073b93269accbec2"
    "6cc7417707291769f353ae7cd04d407371eb78a772a59a4bd0d30f"
    "87b8ffb8ffe10c42d1446056ffb1adbbcb964d682f77092d6da02651ba4591d888307a116774"
)
ANSWER = (
    "c0c1c2c3c4c5c6c7c8c9cacbcccdcecfc1b3ab154843fd6fa2c970e271de3af3d57030f054082fc15a01ed"
    "aeb9f1dc8a18e5edd8cb151256c6b567df02160bdc9a3e7018a6198b7a1c640c0b7c"
)


def psk(method: Method) -> bytes:
    """The key of the vectors."""
    return bytes(range(method.size))


def server(
    method: Method, lent: Kit | None = None, users: Mapping[str, bytes] | None = None
) -> Server:
    """A server of the vectors' key."""
    listed = [User(name, key) for name, key in (users or {}).items()]
    return Server(method, psk(method), lent or kit(), listed)


def recorded(
    method: Method,
    keys: tuple[bytes, ...] = (),
    said: bytes = b"hi",
    target: Target = EXAMPLE,
    lent: Kit | None = None,
) -> bytes:
    """The first packet of a client."""
    stream, far = pair(capacity=1 << 20)
    options = ShadowsocksOptions(method, keys or (psk(method),))
    framed = play(connect(stream, target, options, lent or kit(SALT[: method.size])))
    play(framed.write(said))
    return far.read_nowait()


def made(
    method: Method,
    fixed: bytes | None = None,
    variable: bytes | None = None,
    when: float = NOON,
) -> bytes:
    """A request whose headers are these."""
    if variable is None:
        variable = address.pack(EXAMPLE) + b"\0\3\0\0\0hi"
    if fixed is None:
        fixed = b"\0" + int(when).to_bytes(8) + len(variable).to_bytes(2)
    salt = SALT[: method.size]
    key = session_key(PURE, psk(method), salt)
    sealed = PURE.seal(method.cipher, key, 0, fixed)
    return salt + sealed + PURE.seal(method.cipher, key, 1, variable)


def test_keys_of_the_vectors() -> None:
    big = METHODS["2022-blake3-aes-256-gcm"]
    salt = SALT[:16]
    assert session_key(PURE, IPSK, salt).hex() == "4d0d7016c8028969edf2d6ca7fc30b93"
    assert session_key(PURE, UPSK, salt).hex() == "54fdb933d4229a07b728fe37229466d3"
    assert identity_key(PURE, IPSK, salt).hex() == "f8d2fa2437bce45dd951e5b0cd667866"
    assert session_key(PURE, psk(big), SALT).hex() == (
        "8a54bdc58e8c56998e5570a1903596333229fcba141429f380cceda6a647b700"
    )


@pytest.mark.parametrize(
    ("name", "sealed"),
    [
        (
            "2022-blake3-aes-256-gcm",
            "54292f5cde354b9034b04ac54e02ff74b8978f4cbfd64cd27ce8e9",
        ),
        (
            "2022-blake3-chacha20-poly1305",
            "cb9c0407521e400c1ff6316c300f6c942d09456cf5625db4dc30dd",
        ),
    ],
)
def test_fixed_headers_of_the_vectors(name: str, sealed: str) -> None:
    method = METHODS[name]
    assert made(method)[32 : 32 + 27].hex() == sealed


def test_the_server_reads_the_vector_and_answers_as_it_does() -> None:
    assert made(SMALL) == bytes.fromhex(REQUEST)
    near, client = scripted(bytes.fromhex(REQUEST))
    request = play(server(SMALL, kit(bytes(range(0xC0, 0xD0)))).accept(near))
    assert (request.target, request.user) == (EXAMPLE, None)
    assert play(request.stream.read()) == b"hi"
    play(request.stream.write(b"ok"))
    assert client.read_nowait() == bytes.fromhex(ANSWER)


def test_the_server_knows_the_user_of_the_vector() -> None:
    users = {"ann": bytes(16), "bob": UPSK}
    near, _ = scripted(bytes.fromhex(REQUEST_OF_USER))
    request = play(server(SMALL, users=users).accept(near))
    assert (request.target, request.user) == (EXAMPLE, "bob")
    assert play(request.stream.read()) == b"hi"


def test_the_client_writes_the_identity_of_the_vector() -> None:
    wire = recorded(SMALL, (IPSK, UPSK))
    assert wire[:32] == bytes.fromhex(REQUEST_OF_USER)[:32]
    request = play(server(SMALL, users={"bob": UPSK}).accept(scripted(wire)[0]))
    assert request.user == "bob"


def test_the_client_reads_the_answer_of_the_vector() -> None:
    near, far = pair()
    options = ShadowsocksOptions(SMALL, (IPSK,))
    framed = play(connect(near, EXAMPLE, options, kit(SALT[:16])))
    far.write_nowait(bytes.fromhex(ANSWER))
    assert play(framed.read()) == b"ok"


@pytest.mark.parametrize("method", METHODS_2022, ids=lambda method: method.name)
class TestEachMethod:
    """What holds of every cipher."""

    def test_both_ends_talk(self, method: Method) -> None:
        stream, far = pair(capacity=1 << 20)
        options = ShadowsocksOptions(method, (psk(method),))
        near = play(connect(stream, EXAMPLE, options, kit()))
        play(near.write(b"hello"))
        request = play(server(method, kit(b"t" * method.size)).accept(far))
        assert play(request.stream.read()) == b"hello"
        play(request.stream.write(b"x" * 200_000))
        assert play(near.read_exactly(200_000)) == b"x" * 200_000

    def test_a_silent_client_pads(self, method: Method) -> None:
        for drawn in (b"\0\0", b"\xff\xff", b"\3\x83"):
            lent = kit(SALT[: method.size], drawn)
            wire = recorded(method, said=b"", lent=lent)
            plain = method.size + 11 + 16 + 16 + len(address.pack(EXAMPLE)) + 2
            assert 1 <= len(wire) - plain <= MOST_PADDING
            assert play(server(method).accept(scripted(wire)[0])).target == EXAMPLE

    def test_a_replay_is_refused_for_a_minute(self, method: Method) -> None:
        now = NOON
        wire, doorkeeper = recorded(method), server(method, kit(now=lambda: now))
        play(doorkeeper.accept(scripted(wire)[0]))
        for now in (NOON, NOON + 29.9, NOON + 30.0):  # noqa: B007  (the kit reads it)
            with pytest.raises(Refused, match="replay"):
                play(doorkeeper.accept(scripted(wire)[0]))

    @pytest.mark.parametrize(("off", "fine"), [(-30, True), (30, True), (-31, False), (31, False)])
    def test_clocks_may_differ_by_half_a_minute(self, method: Method, off: int, fine: bool) -> None:
        near, client = scripted(made(method, when=NOON + off))
        if fine:
            assert play(server(method).accept(near)).target == EXAMPLE
        else:
            with pytest.raises(Refused, match="31 s"):
                play(server(method).accept(near))
        assert client.read_nowait() == b""

    def test_what_is_from_before_the_server_began_is_refused(self, method: Method) -> None:
        lent = Kit(
            PureCiphers(lambda: NOON, since=NOON + 0.9), lambda size: b"s" * size, lambda: NOON
        )
        for off, fine in ((-1, False), (0, True), (30, True)):
            near, client = scripted(made(method, when=NOON + off))
            if fine:
                assert play(server(method, lent).accept(near)).target == EXAMPLE
            else:
                with pytest.raises(Refused, match="before this server began"):
                    play(server(method, lent).accept(near))
            assert client.read_nowait() == b""

    def test_any_flipped_bit_is_refused_in_silence(self, method: Method) -> None:
        wire = recorded(method, said=b"x" * 120)[:200]
        for at in range(len(wire)):
            flipped = wire[:at] + bytes([wire[at] ^ 0x80]) + wire[at + 1 :]
            near, client = scripted(flipped)
            with pytest.raises((Refused, EOFError)):
                play(server(method).accept(near))
            assert client.read_nowait() == b""

    def test_cut_anywhere_it_waits_or_ends(self, method: Method) -> None:
        wire = made(method)
        for size in range(len(wire)):
            with pytest.raises(EOFError):
                play(server(method).accept(scripted(wire[:size])[0]))
            near, client = scripted(wire[:size], end=False)
            with pytest.raises(WouldWait):
                play(server(method).accept(near))
            assert client.read_nowait() == b""

    @pytest.mark.parametrize(
        ("variable", "message"),
        [
            (b"\x01", "truncated"),
            (address.pack(EXAMPLE), "truncated"),
            (address.pack(EXAMPLE) + b"\0", "truncated"),
            (address.pack(EXAMPLE) + b"\0\0", "neither padding nor payload"),
            (address.pack(EXAMPLE) + b"\0\5pad", "padding is longer"),
            (b"\x07" + bytes(20), "address type"),
        ],
    )
    def test_bad_headers(self, method: Method, variable: bytes, message: str) -> None:
        with pytest.raises(PeerError, match=message):
            play(server(method).accept(scripted(made(method, variable=variable))[0]))

    def test_an_answer_is_no_request(self, method: Method) -> None:
        fixed = b"\1" + int(NOON).to_bytes(8) + b"\0\1"
        with pytest.raises(PeerError, match="type 0x01"):
            play(server(method).accept(scripted(made(method, fixed=fixed))[0]))

    def test_padding_beyond_what_senders_may_is_read(self, method: Method) -> None:
        variable = address.pack(EXAMPLE) + (2000).to_bytes(2) + bytes(2000)
        request = play(server(method).accept(scripted(made(method, variable=variable))[0]))
        assert request.target == EXAMPLE


class TestAnswers:
    """What a client takes for an answer."""

    def answered(self, head: bytes, when: float = NOON) -> bytes:
        near, far = pair()
        lent = kit(SALT[:16], now=lambda: when)
        framed = play(connect(near, EXAMPLE, ShadowsocksOptions(SMALL, (IPSK,)), lent))
        salt = bytes(16)
        key = session_key(PURE, IPSK, salt)
        wire = salt + PURE.seal(SMALL.cipher, key, 0, head) + PURE.seal(SMALL.cipher, key, 1, b"ok")
        far.write_nowait(wire)
        return play(framed.read())

    def test_right(self) -> None:
        head = b"\1" + int(NOON).to_bytes(8) + SALT[:16] + b"\0\2"
        assert self.answered(head) == b"ok"

    def test_wrong(self) -> None:
        now = int(NOON).to_bytes(8)
        for head, message in [
            (b"\0" + now + SALT[:16] + b"\0\2", "no answer"),
            (b"\1" + now + bytes(16) + b"\0\2", "another request"),
            (b"\1" + bytes(8) + SALT[:16] + b"\0\2", "30 s apart"),
        ]:
            with pytest.raises(PeerError, match=message):
                self.answered(head)


class TestUsers:
    """Several on one port."""

    users: ClassVar = {"ann": bytes([1]) * 16, "bob": UPSK}

    def test_a_stranger_is_refused(self) -> None:
        wire = recorded(SMALL, (IPSK, bytes([9]) * 16))
        with pytest.raises(Refused, match="unknown user"):
            play(server(SMALL, users=self.users).accept(scripted(wire)[0]))

    def test_the_servers_own_key_is_nobody(self) -> None:
        wire = recorded(SMALL, (IPSK,), said=b"x" * 50)
        with pytest.raises(Refused, match="unknown user"):
            play(server(SMALL, users=self.users).accept(scripted(wire)[0]))

    def test_three_keys_make_two_headers(self) -> None:
        one = recorded(SMALL, (IPSK, UPSK))
        two = recorded(SMALL, (bytes([7]) * 16, IPSK, UPSK))
        assert len(two) == len(one) + 16
        assert two[32:48] == one[16:32]  # a relay takes its own away


class TestRelay:
    """Who is served by the next server."""

    there = Target.of("next.example", 8388)

    def relay(self) -> Server:
        return Server(SMALL, IPSK, kit(), [User("ann", UPSK, self.there), User("bob", bytes(16))])

    def test_the_next_server_gets_all_but_the_identity(self) -> None:
        wire = recorded(SMALL, (IPSK, UPSK), said=b"x" * 3000)
        request = play(self.relay().accept(scripted(wire)[0]))
        assert (request.target, request.user, request.relayed) == (self.there, "ann", True)
        passed = b""
        while len(passed) < len(wire) - 16:
            passed += play(request.stream.read())
        assert passed == wire[:16] + wire[32:]
        behind = play(Server(SMALL, UPSK, kit()).accept(scripted(passed)[0]))
        assert (behind.target, behind.relayed) == (EXAMPLE, False)

    def test_others_are_served_here(self) -> None:
        wire = recorded(SMALL, (IPSK, bytes(16)))
        request = play(self.relay().accept(scripted(wire)[0]))
        assert (request.target, request.user, request.relayed) == (EXAMPLE, "bob", False)

    def test_replays_and_strangers_get_no_further(self) -> None:
        relay, wire = self.relay(), recorded(SMALL, (IPSK, UPSK))
        play(relay.accept(scripted(wire)[0]))
        with pytest.raises(Refused, match="replay"):
            play(relay.accept(scripted(wire)[0]))
        with pytest.raises(Refused, match="unknown user"):
            play(relay.accept(scripted(recorded(SMALL, (IPSK, bytes([9]) * 16)))[0]))


class TestKeys:
    """Passwords of this edition are keys."""

    def test_lists_of_keys(self) -> None:
        text = base64.b64encode(IPSK).decode() + ":" + base64.b64encode(UPSK).decode()
        assert keys_of(SMALL, text) == (IPSK, UPSK)

    @pytest.mark.parametrize("text", ["", "secret", "AAAA", base64.b64encode(bytes(32)).decode()])
    def test_other_texts_are_refused_unseen(self, text: str) -> None:
        with pytest.raises(ValueError, match="16") as caught:
            keys_of(SMALL, text)
        assert not text or text not in str(caught.value)

    def test_chacha_has_one_user(self) -> None:
        key = base64.b64encode(bytes(32)).decode()
        method = METHODS["2022-blake3-chacha20-poly1305"]
        assert keys_of(method, key) == (bytes(32),)
        with pytest.raises(ValueError, match="only the AES"):
            keys_of(method, f"{key}:{key}")

    @pytest.mark.parametrize("method", METHODS_2022, ids=lambda method: method.name)
    def test_new_ones(self, method: Method) -> None:
        assert keys_of(method, new_key(method, psk(method))) == (psk(method),)
        with pytest.raises(ValueError, match="bytes"):
            new_key(method, b"")


@given(target=targets(), said=st.binary(max_size=3000))
def test_any_request_arrives(target: Target, said: bytes) -> None:
    near, _ = scripted(recorded(SMALL, said=said, target=target))
    request = play(server(SMALL).accept(near))
    assert request.target == target
    if said:
        assert play(request.stream.read()) == said


@given(wire=st.binary(max_size=300))
def test_random_bytes_are_no_request(wire: bytes) -> None:
    near, client = scripted(wire)
    with pytest.raises((Refused, EOFError)):
        play(server(SMALL, users={"bob": UPSK}).accept(near))
    assert client.read_nowait() == b""
