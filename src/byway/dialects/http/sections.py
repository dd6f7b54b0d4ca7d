"""The card of http: its sections, client and links."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from byway.dialects import links
from byway.dialects.card import Card, Lent, Out, Theirs, Written
from byway.dialects.foreign_plain import (
    into_clash,
    into_sing_box,
    out_of_clash,
    out_of_sing_box,
)
from byway.dialects.http.server import Http
from byway.dialects.login import LoggedIn, WithUsers
from byway.dialects.uot import UdpOverTcp
from byway.errors import Reason, Refused
from byway.flow import TCP_AND_UDP, TCP_ONLY, Dial, Network, Target
from byway.inbounds.entry import Entry, Greet
from byway.interfaces import Binding, Datagrams, Stream
from byway.outbounds.proxy import Client
from byway.outbounds.reach import Reach
from byway.protocols import http
from byway.values.problems import Path, Problems
from byway.values.user import User
from byway.values.written import Node

PORT = 80
NO_COLON = "HTTP cannot carry a user name with ':'"
SOURCE = "RFC 7617 section 2"


class WithBasicUsers(WithUsers):
    """An inbound whose users may log in with HTTP's Basic scheme."""

    @classmethod
    def check(cls, path: Path, node: Node, problems: Problems) -> None:
        """Basic credentials end a user name at its first colon."""
        super().check(path, node, problems)
        users = node.get("users")
        for at, user in enumerate(users.items() if users is not None else []):
            if ":" in (user.text("name") or ""):
                hint = f"{SOURCE}; possible with type: socks"
                problems.add((*path, "users", at, "name"), NO_COLON, hint)


class HttpInbound(WithBasicUsers):
    """An HTTP proxy."""

    program_schemes: ClassVar[tuple[str, str]] = ("http", "http")

    type: Literal["http"]

    def greet(self, entry: Entry) -> Greet:
        """As an HTTP proxy."""
        return Http(entry).greet

    def _invited(self, server: Target, user: User | None) -> Out:
        return HttpOutbound.model_construct(
            type="http",
            server=server,
            username=None if user is None else user.name,
            password=None if user is None else user.password,
        )


class HttpOutbound(LoggedIn):
    """Connect through an HTTP proxy (CONNECT)."""

    type: Literal["http"]

    @property
    def networks(self) -> frozenset[Network]:
        """Connections alone, but for packets inside one."""
        return TCP_AND_UDP if self.packets_in_stream else TCP_ONLY

    @classmethod
    def check(cls, path: Path, node: Node, problems: Problems) -> None:
        """Note what does not fit together in what was written."""
        super().check(path, node, problems)
        if ":" in (node.text("username") or ""):
            problems.add((*path, "username"), NO_COLON, SOURCE)

    def client(self, lent: Lent) -> Client:
        """The client's end."""
        client = HttpClient(http.HttpOptions(self.username, self.secret))
        return UdpOverTcp(client, lent.engine) if self.udp_over_tcp else client

    def link(self, name: str) -> str:
        """`http://[user[:password]@]host:port[#name]`."""
        return links.plain("http", self, name)


@dataclass(frozen=True, slots=True)
class HttpClient:
    """HTTP CONNECT."""

    options: http.HttpOptions
    networks: frozenset[Network] = TCP_ONLY
    carries_names: bool = True
    packets_in_stream: bool = False

    async def connect(self, reach: Reach, dial: Dial) -> Stream:
        """Ask for a tunnel (RFC 9110 section 9.3.6)."""
        return await http.connect(await reach.open(dial), dial.target, self.options)

    async def associate(self, reach: Reach, dial: Dial) -> Datagrams:
        """Refused: HTTP proxies carry no packets."""
        raise Refused("an HTTP proxy does not support UDP", Reason.NOT_SUPPORTED)

    async def bind(self, reach: Reach, dial: Dial) -> Binding:
        """Refused: HTTP proxies lend no ports."""
        raise Refused("an HTTP proxy does not support BIND", Reason.NOT_SUPPORTED)


def _read(scheme: str, rest: str) -> tuple[str, Written]:
    return links.read_plain({"type": "http"}, scheme, rest, PORT)


CARD = Card(
    HttpInbound,
    HttpOutbound,
    {"http": _read},
    clash=Theirs({"http": out_of_clash("http", False)}, {"http": into_clash("http")}, ("port",)),
    sing_box=Theirs({"http": out_of_sing_box("http", False)}, {"http": into_sing_box("http")}),
)
