"""SOCKS at both ends, played from lists of bytes."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from byway.errors import PeerError, Reason, Refused
from byway.flow import Target
from byway.interfaces import Stream
from byway.protocols import address, socks
from byway.protocols.credentials import Verify, verifier
from byway.protocols.socks import Command, Request, SocksOptions
from byway.streams.memory import MemoryStream, pair, play, scripted
from tests.protocols.targets import ipv4, names, targets

USERS = verifier({"ann": "secret", "bob": ""})
GREETING = "05 01 00"
CONNECT_5 = "05 01 00 03 0b 6578616d706c652e636f6d 01bb"
CONNECT_4 = "04 01 0050 c0000201 00"
CONNECT_4A = "04 01 01bb 00000001 626f6200 6578616d706c652e636f6d00"
EXAMPLE = Target.of("example.com", 443)


def named(host: str) -> str:
    """A request for port 80 of a host."""
    name = host.encode()
    return f"05 01 00 03 {len(name):02x} {name.hex()} 0050"


def accepted(wire: str, verify: Verify | None = None) -> tuple[Request, str, bytes]:
    """The request that a client's bytes make, what it was sent, and what is left to read."""
    near, client = scripted(bytes.fromhex(wire))
    request = play(socks.accept(near, verify))
    return request, client.read_nowait().hex(" "), _rest(near)


def refused(wire: str, verify: Verify | None = None) -> tuple[Exception, str]:
    """The error that a client's bytes make, and what it was sent."""
    near, client = scripted(bytes.fromhex(wire))
    with pytest.raises((PeerError, Refused)) as caught:
        play(socks.accept(near, verify))
    return caught.value, client.read_nowait().hex(" ")


class TestServer5:
    """The server's end of version 5."""

    @pytest.mark.parametrize(
        ("wire", "command", "target"),
        [
            (CONNECT_5, Command.CONNECT, EXAMPLE),
            ("05 01 00 01 c0000201 0050", Command.CONNECT, Target.of("192.0.2.1", 80)),
            ("05 02 00 01 c0000201 0050", Command.BIND, Target.of("192.0.2.1", 80)),
            (
                "05 01 00 04 20010db8000000000000000000000001 0050",
                Command.CONNECT,
                Target.of("2001:db8::1", 80),
            ),
            ("05 03 00 01 00000000 0000", Command.ASSOCIATE, Target.of("0.0.0.0", 0)),
            ("05 03 00 03 00 0000", Command.ASSOCIATE, Target.of("0.0.0.0", 0)),
            ("05 03 00 03 00 1234", Command.ASSOCIATE, Target.of("0.0.0.0", 0x1234)),
            ("05 03 00 03 02 2f2f 1234", Command.ASSOCIATE, Target.of("0.0.0.0", 0x1234)),
            (
                named("bücher.example"),
                Command.CONNECT,
                Target.of("xn--bcher-kva.example", 80),
            ),
            (
                named("例え.テスト。"),
                Command.CONNECT,
                Target.of("xn--r8jz45g.xn--zckzah.", 80),
            ),
            (  # what nameprep makes an address of is one, for rules and guards
                named("１２７.０.０.１"),
                Command.CONNECT,
                Target.of("127.0.0.1", 80),
            ),
        ],
    )
    def test_request(self, wire: str, command: Command, target: Target) -> None:
        assert accepted(GREETING + wire) == (Request(5, command, target), "05 00", b"")

    def test_a_pipelined_client_keeps_its_payload(self) -> None:
        login = "01 03 616e6e 06 736563726574"
        request, sent, rest = accepted("05 02 00 02" + login + CONNECT_5 + "de ad", USERS)
        assert request == Request(5, Command.CONNECT, EXAMPLE, "ann")
        assert (sent, rest) == ("05 02 01 00", b"\xde\xad")

    def test_an_empty_password_is_accepted(self) -> None:
        request, _, _ = accepted("05 01 02 01 03 626f62 00" + CONNECT_5, USERS)
        assert request.user == "bob"

    def test_credentials_are_not_asked_for_without_users(self) -> None:
        request, sent, _ = accepted("05 02 02 00" + CONNECT_5)
        assert (request.user, sent) == (None, "05 00")

    @pytest.mark.parametrize("login", ["01 03 616e6e 01 78", "01 01 ff 00", "01 00 00"])
    def test_wrong_credentials(self, login: str) -> None:
        error, sent = refused("05 01 02" + login + CONNECT_5, USERS)
        assert isinstance(error, Refused)
        assert error.reason is Reason.CREDENTIALS
        assert sent == "05 02 01 01"

    @pytest.mark.parametrize(
        ("greeting", "verify"), [(GREETING, USERS), ("05 00", USERS), ("05 01 02", None)]
    )
    def test_no_method_in_common(self, greeting: str, verify: Verify | None) -> None:
        error, sent = refused(greeting, verify)
        assert isinstance(error, Refused)
        assert error.reason is Reason.CREDENTIALS
        assert sent == "05 ff"

    @pytest.mark.parametrize(
        ("wire", "code", "message"),
        [
            ("05 09 00 01 c0000201 0050", "07", "unknown command 0x09"),
            ("05 01 00 02 c0000201 0050", "08", "unknown address type 0x02"),
            ("04 01 00 01 c0000201 0050", "01", "version 4 in a SOCKS5 request"),
            ("05 01 00 03 00 0050", "01", "bad host name"),
            ("05 01 00 03 02 ff41 0050", "01", "bad host name"),
            (named("ß.ch"), "01", "bad host name"),
            (named("é/..ch"), "01", "bad host name"),
        ],
    )
    def test_bad_requests_are_answered(self, wire: str, code: str, message: str) -> None:
        error, sent = refused(GREETING + wire)
        assert isinstance(error, PeerError)
        assert message in str(error)
        assert sent == f"05 00 05 {code} 00 01 00 00 00 00 00 00"

    def test_a_bad_login_version(self) -> None:
        error, sent = refused("05 01 02 05 03 616e6e 00 00", USERS)
        assert isinstance(error, PeerError)
        assert sent == "05 02 01 01"

    @pytest.mark.parametrize(
        ("reason", "code"),
        [
            (Reason.RULES, 2),
            (Reason.NETWORK_UNREACHABLE, 3),
            (Reason.HOST_UNREACHABLE, 4),
            (Reason.NAME_UNKNOWN, 4),
            (Reason.CONNECTION_REFUSED, 5),
            (Reason.TIMED_OUT, 6),
            (Reason.NOT_SUPPORTED, 7),
            (Reason.LIMIT, 1),
            (Reason.FAILURE, 1),
            (Reason.CREDENTIALS, 1),
        ],
    )
    def test_deny(self, reason: Reason, code: int) -> None:
        near, client = pair()
        play(socks.deny(near, Request(5, Command.CONNECT, EXAMPLE), reason))
        assert client.read_nowait() == b"\x05%c\x00\x01" % code + bytes(6)

    def test_grant(self) -> None:
        near, client = pair()
        request = Request(5, Command.BIND, EXAMPLE)
        play(socks.grant(near, request, Target.of("2001:db8::2", 258)))
        assert client.read_nowait() == bytes.fromhex(
            "05 00 00 04 20010db8000000000000000000000002 0102"
        )
        play(socks.grant(near, request, Target.of("peer.example", 1)))
        assert client.read_nowait() == b"\x05\x00\x00\x03\x0cpeer.example\x00\x01"
        play(socks.grant(near, request))
        assert client.read_nowait() == b"\x05\x00\x00\x01" + bytes(6)


class TestServer4:
    """The server's end of versions 4 and 4a."""

    def test_request(self) -> None:
        request, sent, rest = accepted(CONNECT_4 + "cafe")
        assert request == Request(4, Command.CONNECT, Target.of("192.0.2.1", 80))
        assert (sent, rest) == ("", b"\xca\xfe")

    def test_4a_request_in_utf_8(self) -> None:
        wire = "04 01 01bb 00000001 00" + "bücher.example".encode().hex() + "00"
        assert accepted(wire)[0].target == Target.of("xn--bcher-kva.example", 443)

    def test_4a_request(self) -> None:
        request, _, rest = accepted(CONNECT_4A + "cafe")
        assert request == Request(4, Command.CONNECT, EXAMPLE)  # an unverified user is none
        assert rest == b"\xca\xfe"

    def test_zero_is_no_marker(self) -> None:
        request, _, _ = accepted("04 02 0050 00000000 00")
        assert request == Request(4, Command.BIND, Target.of("0.0.0.0", 80))

    def test_a_user_without_a_password_passes(self) -> None:
        assert accepted(CONNECT_4A, USERS)[0].user == "bob"

    @pytest.mark.parametrize("user", ["616e6e", "", "ff"])
    def test_other_users_do_not(self, user: str) -> None:
        error, sent = refused("04 01 0050 c0000201" + user + "00", USERS)
        assert isinstance(error, Refused)
        assert error.reason is Reason.CREDENTIALS
        assert sent == "00 5d 00 00 00 00 00 00"

    @pytest.mark.parametrize(
        ("wire", "message"),
        [
            ("04 03 0050 c0000201 00", "unknown command 0x03"),
            ("04 01 0050 00000001 00 00", "bad host name"),
            ("04 01 0050 00000001 00 2000", "bad host name"),
            ("04 01 0050 c0000201" + "61" * 256, "a user longer than 255"),
            ("04 01 0050 00000001 00" + "61" * 256, "a host name longer than 255"),
        ],
    )
    def test_bad_requests_are_answered(self, wire: str, message: str) -> None:
        error, sent = refused(wire)
        assert isinstance(error, PeerError)
        assert message in str(error)
        assert sent == "00 5b 00 00 00 00 00 00"

    def test_answers(self) -> None:
        near, client = pair()
        request = Request(4, Command.BIND, Target.of("192.0.2.1", 80))
        play(socks.grant(near, request, Target.of("192.0.2.9", 258)))
        assert client.read_nowait() == bytes.fromhex("00 5a 0102 c0000209")
        play(socks.grant(near, request, Target.of("::1", 258)))  # which version 4 cannot say
        assert client.read_nowait() == bytes.fromhex("00 5a 0000 00000000")
        play(socks.deny(near, request, Reason.RULES))
        assert client.read_nowait() == bytes.fromhex("00 5b 0000 00000000")


class TestClient:
    """The client's end of all versions."""

    @pytest.mark.parametrize(
        ("options", "target", "answers", "sent"),
        [
            (SocksOptions(), EXAMPLE, ["0500", "05000001 00000000 0000"], GREETING + CONNECT_5),
            (
                SocksOptions("5", "ann", "secret"),
                EXAMPLE,
                ["0502", "0100", "05000003 01 61 0000"],
                "05 02 00 02  01 03 616e6e 06 736563726574" + CONNECT_5,
            ),
            (
                SocksOptions("5", "ann", "secret"),  # the server needs no login after all
                EXAMPLE,
                ["0500", "05000004 00000000000000000000000000000000 0000"],
                "05 02 00 02" + CONNECT_5,
            ),
            *(  # names that no host can have, in answers of which only yes matters
                (
                    SocksOptions(),
                    EXAMPLE,
                    ["0500", f"05000003 {len(name):02x} {name.hex()} 1f90"],
                    GREETING + CONNECT_5,
                )
                for name in (b"", b"my proxy", "прокси".encode(), b"\xff\0", b"x" * 255)
            ),
            (SocksOptions("4"), Target.of("192.0.2.1", 80), ["005a 0000 00000000"], CONNECT_4),
            (SocksOptions("4a"), Target.of("192.0.2.1", 80), ["005a 0000 00000000"], CONNECT_4),
            (
                SocksOptions("4a"),  # the marker of names, so the address goes as one
                Target.of("0.0.0.7", 80),
                ["005a 0000 00000000"],
                "04 01 0050 00000001 00" + b"0.0.0.7".hex() + "00",
            ),
            (SocksOptions("4a", "bob"), EXAMPLE, ["005a 0000 00000000"], CONNECT_4A),
        ],
    )
    @pytest.mark.parametrize("split", ["answers", "bytes", "one"])
    def test_connect(
        self, options: SocksOptions, target: Target, answers: list[str], sent: str, split: str
    ) -> None:
        pieces = [bytes.fromhex(answer) for answer in answers]
        pieces[-1] += b"payload"
        whole = b"".join(pieces)
        if split == "bytes":
            pieces = [whole[i : i + 1] for i in range(len(whole))]
        elif split == "one":
            pieces = [whole]
        near, server = scripted(*pieces)
        assert play(socks.connect(near, target, options)) is near
        assert server.read_nowait() == bytes.fromhex(sent)
        assert _rest(near) == b"payload"

    @pytest.mark.parametrize(
        ("version", "answer", "reason"),
        [
            ("5", "05 ff", Reason.CREDENTIALS),
            ("5", "0500 0501000100000000 0000", Reason.FAILURE),
            ("5", "0500 0502", Reason.RULES),
            ("5", "0500 0503", Reason.NETWORK_UNREACHABLE),
            ("5", "0500 0504", Reason.HOST_UNREACHABLE),
            ("5", "0500 0505000100000000 0000", Reason.CONNECTION_REFUSED),
            ("5", "0500 0506", Reason.TIMED_OUT),
            ("5", "0500 0507", Reason.NOT_SUPPORTED),
            ("5", "0500 0508", Reason.NOT_SUPPORTED),
            ("5", "0500 05f0", Reason.FAILURE),
            ("4a", "005b0000", Reason.FAILURE),  # half a reply, as one real server sends it
            ("4a", "005c 0000 00000000", Reason.CREDENTIALS),
            ("4a", "005d 0000 00000000", Reason.CREDENTIALS),
            ("4a", "0077", Reason.FAILURE),
        ],
    )
    def test_no(self, version: str, answer: str, reason: Reason) -> None:
        near, _ = scripted(bytes.fromhex(answer))
        options = SocksOptions("5") if version == "5" else SocksOptions("4a")
        with pytest.raises(Refused, match="SOCKS") as caught:
            play(socks.connect(near, EXAMPLE, options))
        assert caught.value.reason is reason

    @pytest.mark.parametrize("status", ["0101", "01ff", "0501"])
    def test_a_failed_login(self, status: str) -> None:
        near, _ = scripted(bytes.fromhex("0502" + status))
        with pytest.raises(Refused, match="user or password") as caught:
            play(socks.connect(near, EXAMPLE, SocksOptions("5", "ann", "x")))
        assert caught.value.reason is Reason.CREDENTIALS

    @pytest.mark.parametrize(
        ("version", "answer", "message"),
        [
            ("5", "4854", "does not speak SOCKS5"),
            ("5", "0502", "which was not offered"),
            ("5", "0500 0400", "reply of version 4"),
            ("5", "0500 050000 02 00000000", "unknown address type 0x02"),
            ("4a", "4854", "does not speak SOCKS4"),
        ],
    )
    def test_broken_servers(self, version: str, answer: str, message: str) -> None:
        near, _ = scripted(bytes.fromhex(answer))
        options = SocksOptions("5") if version == "5" else SocksOptions("4a")
        with pytest.raises(PeerError, match=message):
            play(socks.connect(near, EXAMPLE, options))

    def test_what_version_4_cannot_carry(self) -> None:
        near, server = pair()
        for target in (EXAMPLE, Target.of("::1", 80), Target.of("0.0.0.7", 80)):
            with pytest.raises(Refused, match="cannot carry") as caught:
                play(socks.connect(near, target, SocksOptions("4")))
            assert caught.value.reason is Reason.NOT_SUPPORTED
        with pytest.raises(Refused, match="not support UDP"):
            play(socks.associate(near, SocksOptions("4a")))
        assert server.read_nowait() == b""

    def test_associate(self) -> None:
        near, server = scripted(bytes.fromhex("0500 05000001 00000000 1f90"))
        where = play(socks.associate(near, SocksOptions(), Target.of("proxy.example", 1080)))
        assert where == Target.of("proxy.example", 8080)
        assert server.read_nowait().hex() == "050100" + "05030001" + "00000000" + "0000"

    def test_where_packets_go_must_be_a_host(self) -> None:
        server = Target.of("192.0.2.1", 1080)
        near, _ = scripted(bytes.fromhex("0500 05000003 00 1f90"))
        assert play(socks.associate(near, server=server)) == Target.of("192.0.2.1", 8080)
        near, _ = scripted(bytes.fromhex("0500 05000003 08" + b"my proxy".hex() + "1f90"))
        with pytest.raises(PeerError, match="takes packets at an invalid host"):
            play(socks.associate(near, server=server))
        near, _ = scripted(bytes.fromhex("0500 05000003 02 2f2f 1f90"))
        with pytest.raises(PeerError, match="lends a port at an invalid host"):
            play(socks.bind(near, EXAMPLE))

    def test_a_peer_of_any_name(self) -> None:
        near, _ = scripted(bytes.fromhex("05000003 02 2f2f 1f90") + b"220 ready")
        assert play(socks.bound_peer(near)) == address.UNSPECIFIED
        assert _rest(near) == b"220 ready"

    @pytest.mark.parametrize("version", ["5", "4"])
    def test_bind(self, version: str) -> None:
        first, second = "05000001 00000000 1f90", "05000001 c0000207 0203"
        if version == "4":
            first, second = "005a 1f90 00000000", "005a 0203 c0000207"
        hello = "0500" if version == "5" else ""
        near, _ = scripted(bytes.fromhex(hello + first + second) + b"220 ready")
        options = SocksOptions("5") if version == "5" else SocksOptions("4")
        target = Target.of("192.0.2.7", 20)
        bound = play(socks.bind(near, target, options, Target.of("198.51.100.1", 1080)))
        assert bound == Target.of("198.51.100.1", 8080)
        assert play(socks.bound_peer(near, options)) == Target.of("192.0.2.7", 515)
        assert _rest(near) == b"220 ready"


class TestOptions:
    """Options refuse what cannot be sent, and hide the password."""

    def test_the_password_is_hidden(self) -> None:
        assert "secret" not in repr(SocksOptions("5", "ann", "secret"))

    @pytest.mark.parametrize(
        ("version", "username", "password"),
        [
            ("6", None, None),
            ("5", None, "x"),
            ("5", "", "x"),
            ("4", "ann", "x"),
            ("4a", "a\0b", None),
            ("5", "é" * 128, None),
            ("5", "ann", "x" * 256),
        ],
    )
    def test_refused(self, version: str, username: str | None, password: str | None) -> None:
        with pytest.raises(ValueError, match="SOCKS"):
            SocksOptions(version, username, password)  # type: ignore[arg-type]


class TestProperties:
    """Both ends together, cut anywhere, and any bytes at all."""

    @given(targets(), st.sampled_from(Command), st.booleans())
    def test_version_5_round_trip(self, target: Target, command: Command, login: bool) -> None:
        text = address.pack(target)
        hello = b"\x05\x01\x02\x01\x03ann\x06secret" if login else b"\x05\x01\x00"
        near, _ = scripted(hello + b"\x05%c\x00%b!" % (command.value, text))
        request = play(socks.accept(near, USERS if login else None))
        assert request == Request(5, command, target, "ann" if login else None)
        assert _rest(near) == b"!"

    @given(ipv4() | names(), ipv4(), st.sampled_from([SocksOptions(), SocksOptions("4a")]))
    def test_both_ends_understand_each_other(
        self, target: Target, bound: Target, options: SocksOptions
    ) -> None:
        async def serve(stream: Stream) -> Request:
            request = await socks.accept(stream)
            await socks.grant(stream, request, bound)
            return request

        async def meet() -> tuple[Target, Request]:
            client, server = pair()
            async with asyncio.timeout(60):
                return await asyncio.gather(socks.bind(client, target, options), serve(server))

        got, request = asyncio.run(meet())
        assert got == bound
        assert (request.command, request.target) == (Command.BIND, target)

    @pytest.mark.parametrize(
        "wire",
        [
            GREETING + CONNECT_5,
            "05 02 00 02 01 03 616e6e 06 736563726574" + CONNECT_5,
            CONNECT_4,
            CONNECT_4A,
        ],
    )
    def test_cut_at_every_length(self, wire: str) -> None:
        data = bytes.fromhex(wire)
        verify = USERS if data[:2] == b"\x05\x02" else None
        whole, _, _ = accepted(wire, verify)
        with pytest.raises(EOFError):
            play(socks.accept(scripted()[0], verify))
        for cut in range(1, len(data)):
            near, _ = scripted(data[:cut])
            with pytest.raises(PeerError, match="closed the connection in the middle of its SOCKS"):
                play(socks.accept(near, verify))
            near, _ = scripted(data[:cut], data[cut:])
            assert play(socks.accept(near, verify)) == whole
            near, _ = scripted(data[cut:])
            assert play(socks.accept(near, verify, begun=data[:cut])) == whole

    @pytest.mark.parametrize("version", ["5", "4a"])
    def test_a_server_that_hangs_up(self, version: str) -> None:
        answer = "0500 05000003 03 616263 0050" if version == "5" else "005a 0050 01020304"
        data = bytes.fromhex(answer)
        options = SocksOptions("5") if version == "5" else SocksOptions("4a")
        for cut in range(len(data)):
            near, _ = scripted(data[:cut])
            with pytest.raises(PeerError, match="closed the connection"):
                play(socks.connect(near, EXAMPLE, options))

    @given(st.lists(st.binary(min_size=1, max_size=40), max_size=6), st.booleans())
    def test_any_bytes_to_the_server(self, chunks: list[bytes], login: bool) -> None:
        near, _ = scripted(*chunks)
        try:
            play(socks.accept(near, USERS if login else None))
        except (PeerError, Refused):
            return
        except EOFError:
            assert not chunks

    @given(st.binary(max_size=60), st.sampled_from(["5", "4a"]))
    def test_any_bytes_to_the_client(self, tail: bytes, version: str) -> None:
        options = SocksOptions("5") if version == "5" else SocksOptions("4a")
        for head in (b"", b"\x05\x00", b"\x05\x00\x05\x00\x00", b"\x00\x5a"):
            near, _ = scripted(head + tail)
            try:
                play(socks.connect(near, EXAMPLE, options))
            except (PeerError, Refused):
                continue


def test_what_is_not_socks() -> None:
    error, sent = refused("47 45 54")
    assert "does not speak SOCKS: its first byte is 0x47" in str(error)
    assert sent == ""


def _rest(stream: MemoryStream) -> bytes:
    try:
        return stream.read_nowait()
    except EOFError:
        return b""
