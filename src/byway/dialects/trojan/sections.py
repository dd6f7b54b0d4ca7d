"""The card of trojan: its sections, client and links."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal
from urllib.parse import parse_qsl, quote

from pydantic import Field

from byway.dialects import foreign_tls, links, reach, uot
from byway.dialects.card import Card, Lead, Lent, Out, Theirs, Written
from byway.dialects.foreign_plain import always_both
from byway.dialects.passwords import SECRET_BYTES, check_passwords
from byway.dialects.reach import Carrying, Streamed
from byway.dialects.trojan.server import Trojan
from byway.engine import Engine
from byway.errors import Reason, Refused
from byway.flow import TCP_AND_UDP, TCP_ONLY, Dial, Network, Target
from byway.inbounds.entry import Entry
from byway.inbounds.listener import StreamInbound
from byway.inbounds.site import Site
from byway.interfaces import Binding, Datagrams, Stream
from byway.outbounds.direct import Direct
from byway.outbounds.reach import Reach
from byway.protocols import trojan
from byway.transports import foreign
from byway.values.foreign import Foreign, NotCarried, endpoint
from byway.values.problems import Path, Problems
from byway.values.texts import HostPort, Many, Password
from byway.values.tls import ClientTls, ServerTls
from byway.values.user import User
from byway.values.written import Node
from byway.values.wrong import Wrong, shown

if TYPE_CHECKING:
    from byway.engine import ListenOptions
    from byway.inbounds.entry import Means
    from byway.interfaces import Inbound

PORT = 443
_READ = {
    "type", "security", "sni", "peer", "alpn", "allowInsecure", "insecure", "allow_insecure", "fp",
    "encryption", "group", "remarks", "tfo", "udp", *foreign.SAID,
}  # fmt: skip
"""The parameters of links that are read, or change nothing that is carried."""
FORM = "trojan://password@host:port?sni=name"


class TrojanInbound(Carrying):
    """A trojan server; to everybody else, a web server."""

    keeps_strangers_out: ClassVar[bool] = True

    type: Literal["trojan"]
    users: Annotated[tuple[User, ...], Many]
    """Its users; the name is for rules and logs, clients send only the password."""
    tls: ServerTls
    """The certificate of its web site."""
    fallback: HostPort
    """The web server for everybody else (`host:port`, plain HTTP)."""
    fallback_by_alpn: dict[str, HostPort] = Field(default_factory=dict)
    """Other web servers by negotiated protocol: `{h2: 127.0.0.1:81}`."""

    @property
    def known_users(self) -> tuple[User, ...]:
        """Its users, by name."""
        return self.users

    @property
    def leads(self) -> Sequence[Lead]:
        """The web servers, which are dialled whatever the rules say."""
        others = self.fallback_by_alpn.items()
        return (
            Lead(("fallback",), self.fallback, TCP_ONLY, judged=False),
            *(
                Lead(("fallback_by_alpn", word), web, TCP_ONLY, judged=False)
                for word, web in others
            ),
        )

    @classmethod
    def check(cls, path: Path, node: Node, problems: Problems) -> None:
        """Note what does not fit together in what was written."""
        reach.check_tls((*path, "tls"), node.get("tls"), problems)
        check_passwords(path, node, problems)

    def inbound(self, name: str, means: Means, options: ListenOptions, lent: Lent) -> Inbound:
        """The server's end. Raises OSError for a bad certificate."""
        entry = Entry(name, means, guarded=self.guarded, inner=self.inner)
        users = trojan.Users({user.name: user.password.get_secret_value() for user in self.users})
        server = Trojan(
            entry,
            users,
            reach.door(entry, self.tls),
            Site(entry, Direct("web site", lent.engine, lent.resolver), self.fallback),
            self.fallback_by_alpn,
            self.transport,
        )
        return StreamInbound(entry, self.places(), server.greet, options)

    def invited(self, server: Target) -> Iterator[tuple[str, Out]]:
        """An outbound for each user."""
        tls, transport = ClientTls(alpn=self.tls.alpn), self.transport
        for user in self.users:
            yield (
                user.name,
                TrojanOutbound.model_construct(
                    type="trojan",
                    server=server,
                    password=user.password,
                    via=None,
                    tls=tls,
                    transport=transport,
                ),
            )


class TrojanOutbound(Streamed):
    """Connect through a trojan server."""

    in_link: ClassVar[tuple[str, ...]] = ("transport",)

    type: Literal["trojan"]
    password: Password
    """As the server has it."""
    tls: ClientTls = Field(default_factory=ClientTls)
    """How to trust the server; left out: as one with a public certificate for its name."""

    @property
    def server_answers(self) -> bool:
        """Nothing is answered."""
        return False

    @property
    def packets_in_stream(self) -> bool:
        """Each session has a stream of its own."""
        return True

    def client(self, lent: Lent) -> TrojanClient:
        """The client's end."""
        return TrojanClient(self.password.get_secret_value(), lent.engine)

    def link(self, name: str) -> str:
        """`trojan://password@host:port?sni=...&alpn=...#name`."""
        password = quote(self.password.get_secret_value(), safe="")
        said = links.transport_query(self.transport) | links.tls_query(self.tls)
        query = links.query_of(said)
        return f"trojan://{password}@{self.server}{query}{links.label_of(name)}"


@dataclass(frozen=True, slots=True)
class TrojanClient:
    """Trojan; its TLS is a layer."""

    password: str = field(repr=False)
    engine: Engine
    networks: frozenset[Network] = TCP_AND_UDP
    carries_names: bool = True
    packets_in_stream: bool = True

    async def associate(self, reach: Reach, dial: Dial) -> Datagrams:
        """Packets inside a stream of their own; nothing is answered."""
        control = await reach.open(dial)
        control.hold(trojan.head(self.password, trojan.Command.ASSOCIATE))
        return self.engine.framed(control, "trojan", trojan.CRLF)

    async def connect(self, reach: Reach, dial: Dial) -> Stream:
        """Ask for a connection; nothing is answered."""
        return await trojan.connect(await reach.open(dial), dial.target, self.password)

    async def bind(self, reach: Reach, dial: Dial) -> Binding:
        """Refused: there is no such request."""
        raise Refused("this outbound does not support BIND", Reason.NOT_SUPPORTED)


def read_link(scheme: str, rest: str) -> tuple[str, Written]:
    """Label and outbound of the text behind `trojan://`. Raises Wrong."""
    body, _, label = rest.partition("#")
    front, _, query = body.partition("?")
    password, at, server = front.rpartition("@")
    if not at or not password:
        raise Wrong("the link has no password", FORM)
    said = dict(parse_qsl(query))
    match said.get("security", "tls"):
        case "tls" | "":
            pass
        case "none":
            raise Wrong("trojan without TLS is not supported")
        case "reality":
            raise Wrong("REALITY is not supported yet")
        case other:
            raise Wrong(f"trojan with the security {shown(other)} is not supported")
    tls = links.tls_said(said)
    outbound: Written = {
        "type": "trojan",
        "server": links.with_port(server, PORT),
        "password": links.decoded(password),
    }
    outbound |= foreign.of_link(said)
    return links.decoded(label), outbound | ({"tls": tls} if tls else {})


def new_secret(word: str) -> str | None:
    """A new password, for `trojan`."""
    if word != "trojan":
        return None
    return base64.urlsafe_b64encode(secrets.token_bytes(SECRET_BYTES)).decode("ascii")


def _of_clash(entry: Foreign) -> Written:
    if entry.says("ss-opts"):
        raise NotCarried("trojan with shadowsocks inside (ss-opts) is not supported")
    made: Written = {"type": "trojan", "password": entry.text("password")}
    made |= foreign.of_clash(entry)
    tls = foreign_tls.of_clash(entry)
    if "udp" in entry and not entry.flag("udp"):
        entry.note("udp", "udp: false is not kept: UDP is enabled here")
    uot.not_in_clash(entry)
    entry.pass_over("tls")
    return made | ({"tls": tls} if tls else {})


def _of_sing_box(entry: Foreign) -> Written:
    tls = foreign_tls.of_sing_box(entry)
    if tls is None:
        raise NotCarried("trojan without TLS is not supported")
    always_both(entry)
    made: Written = {"type": "trojan", "password": entry.text("password")}
    made |= foreign.of_sing_box(entry)
    return made | ({"tls": tls} if tls else {})


def _into_sing_box(entry: Foreign) -> Written:
    site, tls = entry.part("fallback"), foreign_tls.of_listener(entry)
    if not entry.says("fallback") or tls is None:
        raise NotCarried("is not kept: trojan needs TLS and a web site (fallback)")
    to = endpoint(site.text("server") or "127.0.0.1", site.number("server_port"))
    return {"type": "trojan", "fallback": to, "tls": tls} | foreign.of_sing_box(entry)


CARD = Card(
    TrojanInbound,
    TrojanOutbound,
    {"trojan": read_link},
    new_secret,
    ("trojan",),
    unkept=lambda query: links.unkept(query, _READ),
    clash=Theirs({"trojan": _of_clash}),
    sing_box=Theirs({"trojan": _of_sing_box}, {"trojan": _into_sing_box}),
)
