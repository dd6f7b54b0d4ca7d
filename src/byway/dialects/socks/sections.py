"""The card of socks: its sections, client and links."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, Self

from byway.dialects import links
from byway.dialects.card import Card, Lent, Out, ReadLink, Theirs, Written
from byway.dialects.foreign_plain import (
    into_clash,
    into_sing_box,
    out_of_clash,
    out_of_sing_box,
)
from byway.dialects.login import LoggedIn, WithUsers
from byway.dialects.socks.server import Socks
from byway.dialects.uot import UdpOverTcp
from byway.engine import Engine
from byway.flow import TCP_AND_UDP, TCP_ONLY, Dial, Network, Target
from byway.inbounds.entry import Entry, Greet
from byway.interfaces import Binding, Datagrams, Stream
from byway.outbounds.proxy import Client
from byway.outbounds.reach import Reach
from byway.protocols import socks
from byway.values.foreign import Foreign
from byway.values.problems import Path, Problems
from byway.values.texts import Reads
from byway.values.user import User
from byway.values.written import Node
from byway.values.wrong import Wrong, kind_of, shown

PORT = 1080


def _version(value: object) -> str:
    text = str(value) if isinstance(value, int | str) and not isinstance(value, bool) else ""
    if text not in ("5", "4a", "4"):
        what = shown(text) if text else kind_of(value)
        raise Wrong(f"unknown SOCKS version {what}", "5, 4a or 4")
    return text


SocksVersion = Annotated[Literal["5", "4a", "4"], Reads(_version, {"enum": [5, 4, "5", "4", "4a"]})]


class SocksInbound(WithUsers):
    """A SOCKS proxy: 4, 4a and 5."""

    program_schemes: ClassVar[tuple[str, str]] = ("socks5h", "socks5h")

    type: Literal["socks"]

    def greet(self, entry: Entry) -> Greet:
        """As a SOCKS proxy."""
        return Socks(entry).greet

    def _invited(self, server: Target, user: User | None) -> Out:
        return SocksOutbound.of(server, user)


class SocksOutbound(LoggedIn):
    """Connect through a SOCKS proxy."""

    type: Literal["socks"]
    version: SocksVersion = "5"
    """5, 4a or 4 (4 carries IPv4 addresses only: names are resolved here)."""

    @classmethod
    def of(cls, server: Target, user: User | None) -> Self:
        """The way to a server of ours, for a user of it."""
        return cls.model_construct(
            type="socks",
            server=server,
            username=None if user is None else user.name,
            password=None if user is None else user.password,
        )

    @property
    def networks(self) -> frozenset[Network]:
        """Only version 5 has UDP, but for packets inside a connection."""
        return TCP_AND_UDP if self.version == "5" or self.packets_in_stream else TCP_ONLY

    @property
    def carries_names(self) -> bool:
        """Version 4 knows addresses only."""
        return self.version != "4"

    @classmethod
    def check(cls, path: Path, node: Node, problems: Problems) -> None:
        """Note what does not fit together in what was written."""
        super().check(path, node, problems)
        asked, user = node.get("udp_over_tcp"), node.text("username")
        version = node.get("version")
        number = "5" if version is None else str(version.content)
        if asked is not None and asked.content is True and number == "4":
            hint = "udp_over_tcp requests a host name: use version 5 or 4a"
            problems.add((*path, "udp_over_tcp"), "SOCKS4 does not support names", hint)
        if node.get("mux") is not None and number == "4":
            hint = "a mux requests a host name: use version 5 or 4a"
            problems.add((*path, "mux"), "SOCKS4 does not support names", hint)
        if user is None:
            return
        if number == "5" and node.get("password") is None:
            hint = "RFC 1929 section 2; SOCKS4 allows a username alone"
            problems.add((*path, "username"), "SOCKS5 needs a password with a username", hint)
        elif number in ("4", "4a") and node.get("password") is not None:
            hint = "leave it out, or use version 5"
            problems.add((*path, "password"), f"SOCKS{number} has no password", hint)

    def client(self, lent: Lent) -> Client:
        """The client's end."""
        options = socks.SocksOptions(self.version, self.username, self.secret)
        client = SocksClient(options, lent.engine)
        return UdpOverTcp(client, lent.engine) if self.udp_over_tcp else client

    def link(self, name: str) -> str:
        """`socks5://[user[:password]@]host:port[#name]`, or socks4, socks4a."""
        return links.plain(f"socks{self.version}", self, name)


@dataclass(frozen=True, slots=True)
class SocksClient:
    """SOCKS 5, 4a or 4."""

    options: socks.SocksOptions
    engine: Engine
    packets_in_stream: bool = False

    @property
    def networks(self) -> frozenset[Network]:
        """Only version 5 has UDP."""
        return TCP_AND_UDP if self.options.version == "5" else TCP_ONLY

    @property
    def carries_names(self) -> bool:
        """Version 4 knows addresses only."""
        return self.options.version != "4"

    async def connect(self, reach: Reach, dial: Dial) -> Stream:
        """Ask for a connection (RFC 1928 section 4)."""
        return await socks.connect(await reach.open(dial), dial.target, self.options)

    async def associate(self, reach: Reach, dial: Dial) -> Datagrams:
        """Ask for a relay (RFC 1928 section 7), and open the way to it."""
        control = await reach.open(dial)
        relay = await socks.associate(control, self.options, reach.met(control))
        inner, located = await reach.packets(dial.toward(relay))
        return self.engine.wrap_socks5(inner, located, control)

    async def bind(self, reach: Reach, dial: Dial) -> Binding:
        """Ask for a port; the peer's connection then comes over the same stream."""
        stream = await reach.open(dial)
        address = await socks.bind(stream, dial.target, self.options, reach.met(stream))
        return _Lent(stream, address, self.options)


@dataclass(frozen=True, slots=True)
class _Lent:
    stream: Stream
    address: Target
    options: socks.SocksOptions

    async def accept(self) -> tuple[Stream, Target]:
        return self.stream, await socks.bound_peer(self.stream, self.options)

    def close(self) -> None:
        self.stream.close()


def _reads(version: str | None) -> ReadLink:
    outbound: Written = {"type": "socks"}
    if version is not None:
        outbound["version"] = version

    def read(scheme: str, rest: str) -> tuple[str, Written]:
        return links.read_plain(outbound, scheme, rest, PORT)

    return read


def _of_sing_box(entry: Foreign) -> Written:
    made = out_of_sing_box("socks", True)(entry)
    return made | ({"version": version} if (version := entry.text("version")) else {})


CARD = Card(
    SocksInbound,
    SocksOutbound,
    {
        "socks5": _reads(None),
        "socks5h": _reads(None),
        "socks": _reads(None),
        "socks4": _reads("4"),
        "socks4a": _reads("4a"),
    },
    clash=Theirs(
        {"socks5": out_of_clash("socks", True)}, {"socks": into_clash("socks")}, ("socks-port",)
    ),
    sing_box=Theirs({"socks": _of_sing_box}, {"socks": into_sing_box("socks")}),
)
