"""The card of VLESS: its sections, client, links, and how Clash and sing-box write it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal
from urllib.parse import parse_qsl

from pydantic import Field

from byway.dialects import foreign_tls, links, reach
from byway.dialects.card import Card, Lead, Lent, Out, Theirs, Written
from byway.dialects.foreign_plain import always_both
from byway.dialects.identity import Uuid, UuidUser, check_uuids, new_uuid
from byway.dialects.reach import Carrying, Streamed
from byway.dialects.vless.server import Vless
from byway.engine import Engine
from byway.errors import Reason, Refused
from byway.flow import TCP_AND_UDP, TCP_ONLY, Dial, Network, Target
from byway.inbounds.entry import Entry
from byway.inbounds.listener import StreamInbound
from byway.inbounds.site import Site
from byway.interfaces import Binding, Datagrams, Stream
from byway.outbounds.direct import Direct
from byway.outbounds.reach import Reach
from byway.protocols import vless
from byway.transports import foreign
from byway.values.foreign import Foreign, NotCarried
from byway.values.problems import Path, Problems
from byway.values.texts import HostPort, Many, Reads, text_of
from byway.values.tls import ClientTls, ServerTls
from byway.values.user import Named
from byway.values.written import Node
from byway.values.wrong import Wrong, shown

if TYPE_CHECKING:
    from byway.engine import ListenOptions
    from byway.inbounds.entry import Means
    from byway.interfaces import Inbound

PORT = 443
FORM = "vless://uuid@host:port?security=tls&sni=name"
_READ = {
    "security", "sni", "peer", "alpn", "allowInsecure", "insecure", "fp", "encryption", "flow",
    "packetEncoding", "udp", "tfo", "remarks", *foreign.SAID,
}  # fmt: skip
"""The parameters of links that are read, or change nothing that is carried."""
_PLAIN_WORDS = "VLESS encrypts nothing by itself: anyone on the path can read and change it"


def why_not(flow: str, encryption: str) -> str | None:
    """Why a server with this flow and encryption cannot be reached."""
    if flow:
        return f"the flow {shown(flow)} is not supported yet"
    if encryption not in ("", "none"):
        return "the encryption of VLESS itself is not supported yet"
    return None


def _flow(value: object) -> str:
    if (why := why_not(text_of(value), "")) is not None:
        raise Wrong(why, "without a flow, the server's user must have none either")
    return ""


Flow = Annotated[str, Reads(_flow, {"const": ""})]


class VlessUser(UuidUser):
    """A user of a VLESS server."""

    flow: Flow = ""
    """What is done to the bytes inside TLS; none is supported, `xtls-rprx-vision` neither."""


class VlessInbound(Carrying):
    """A VLESS server."""

    keeps_strangers_out: ClassVar[bool] = True

    type: Literal["vless"]
    users: Annotated[tuple[VlessUser, ...], Many]
    """Its users; the name is for rules and logs, clients send only the uuid."""
    tls: ServerTls | None = None
    """Use TLS; without it, something else must encrypt."""
    fallback: HostPort | None = None
    """The web server for everybody else (`host:port`, plain HTTP); left out: silence."""
    fallback_by_alpn: dict[str, HostPort] = Field(default_factory=dict)
    """Other web servers by negotiated protocol: `{h2: 127.0.0.1:81}`."""

    @property
    def known_users(self) -> tuple[Named, ...]:
        """Who may use it, by name."""
        return self.users

    @property
    def leads(self) -> Sequence[Lead]:
        """The web servers, which are dialled whatever the rules say."""
        others = [
            Lead(("fallback_by_alpn", word), web, TCP_ONLY, judged=False)
            for word, web in self.fallback_by_alpn.items()
        ]
        return [*super().leads, *others]

    @classmethod
    def check(cls, path: Path, node: Node, problems: Problems) -> None:
        """Note what does not fit together in what was written."""
        reach.check_tls((*path, "tls"), node.get("tls"), problems)
        check_uuids(path, node, problems)
        if node.get("fallback_by_alpn") is not None and node.get("fallback") is None:
            where = (*path, "fallback_by_alpn")
            problems.add(where, "fallback_by_alpn without fallback", "add fallback")

    def warn(self, path: Path, problems: Problems) -> None:
        """Note what is odd in a section without errors."""
        if self.tls is None and self.beyond_loopback:
            problems.warn(path, _PLAIN_WORDS, "add tls")

    def inbound(self, name: str, means: Means, options: ListenOptions, lent: Lent) -> Inbound:
        """The server's end. Raises OSError for a bad certificate."""
        entry = Entry(name, means, guarded=self.guarded, inner=self.inner)
        users = vless.Users({user.name: user.uuid.get_secret_value() for user in self.users})
        site = None
        if self.fallback is not None:
            site = Site(entry, Direct("web site", lent.engine, lent.resolver), self.fallback)
        door = Vless(entry, users, site, self.fallback_by_alpn)
        elsewhere = self.elsewhere(entry, lent)
        greet = reach.dressed(entry, self.tls, self.transport, door.greet, elsewhere)
        return StreamInbound(entry, self.places(), greet, options)

    def invited(self, server: Target) -> Iterator[tuple[str, Out]]:
        """An outbound for each user."""
        tls = None if self.tls is None else ClientTls(alpn=self.tls.alpn)
        for user in self.users:
            made = VlessOutbound.model_construct(
                type="vless",
                server=server,
                uuid=user.uuid,
                via=None,
                tls=tls,
                transport=self.transport,
            )
            yield user.name, made


class VlessOutbound(Streamed):
    """Connect through a VLESS server."""

    in_link: ClassVar[tuple[str, ...]] = ("transport",)

    type: Literal["vless"]
    uuid: Uuid
    """As the server has it."""
    flow: Flow = ""
    """What is done to the bytes inside TLS; none is supported, `xtls-rprx-vision` neither."""

    @property
    def server_answers(self) -> bool:
        """What is answered says nothing of the target."""
        return False

    @property
    def packets_in_stream(self) -> bool:
        """Each session has a stream of its own."""
        return True

    def warn(self, path: Path, problems: Problems) -> None:
        """Note what is odd in a section without errors."""
        super().warn(path, problems)
        if self.tls is None and not (self.via or self.server.host in _NEAR):
            problems.warn(path, _PLAIN_WORDS, "add tls: {}")

    def client(self, lent: Lent) -> VlessClient:
        """The client's end."""
        return VlessClient(vless.id_of(self.uuid.get_secret_value()), lent.engine)

    def link(self, name: str) -> str:
        """`vless://uuid@host:port?type=...&security=...#name`."""
        said = {"encryption": "none"} | links.transport_query(self.transport)
        if self.tls is not None:
            said |= {"security": "tls"} | links.tls_query(self.tls)
        uuid = links.encoded(self.uuid.get_secret_value())
        return f"vless://{uuid}@{self.server}{links.query_of(said)}{links.label_of(name)}"


@dataclass(frozen=True, slots=True)
class VlessClient:
    """VLESS; what encrypts it is a layer."""

    user: bytes = field(repr=False)
    engine: Engine
    networks: frozenset[Network] = TCP_AND_UDP
    carries_names: bool = True
    packets_in_stream: bool = True

    async def associate(self, reach: Reach, dial: Dial) -> Datagrams:
        """Packets inside a stream of their own, each with its address (XUDP)."""
        stream = self.engine.with_answer(await reach.open(dial))
        stream.hold(vless.request(self.user, vless.Command.MUX))
        return self.engine.framed(stream, "xudp", b"")

    async def connect(self, reach: Reach, dial: Dial) -> Stream:
        """Ask for a connection; the answer comes with its first bytes."""
        stream = self.engine.with_answer(await reach.open(dial))
        return await vless.connect(stream, dial.target, self.user)

    async def bind(self, reach: Reach, dial: Dial) -> Binding:
        """Refused: there is no such request."""
        raise Refused("this outbound does not support BIND", Reason.NOT_SUPPORTED)


def read_link(scheme: str, rest: str) -> tuple[str, Written]:
    """What stands behind `vless://`: a label and an outbound. Raises Wrong."""
    body, _, label = rest.partition("#")
    front, _, query = body.partition("?")
    uuid, at, server = front.rpartition("@")
    if not at or not uuid:
        raise Wrong("the link has no uuid", FORM)
    said = dict(parse_qsl(query))
    if (why := why_not(said.get("flow", ""), said.get("encryption", ""))) is not None:
        raise Wrong(why)
    outbound: Written = {
        "type": "vless",
        "server": links.with_port(server, PORT),
        "uuid": links.decoded(uuid),
    }
    match said.get("security", "none"):
        case "tls":
            outbound["tls"] = links.tls_said(said)
        case "none" | "":
            pass
        case "reality":
            raise Wrong("REALITY is not supported yet")
        case other:
            raise Wrong(f"VLESS with the security {shown(other)} is not supported")
    return links.decoded(label), outbound | foreign.of_link(said)


def new_secret(word: str) -> str | None:
    """A new uuid, for `vless`."""
    return new_uuid() if word == "vless" else None


def _of_clash(entry: Foreign) -> Written:
    if (why := why_not(entry.text("flow"), entry.text("encryption"))) is not None:
        raise NotCarried(why)
    made: Written = {"type": "vless", "uuid": entry.text("uuid")} | foreign.of_clash(entry)
    if entry.flag("tls"):
        made["tls"] = foreign_tls.of_clash(entry)
    elif entry.says("reality-opts"):
        raise NotCarried("REALITY is not supported yet")
    if "udp" in entry and not entry.flag("udp"):
        entry.note("udp", "udp: false is not kept: UDP is enabled here")
    entry.pass_over("xudp", "packet-addr", "packet-encoding", "servername", "sni", "alpn")
    entry.pass_over("skip-cert-verify", "client-fingerprint", "fingerprint", "smux")
    return made


def _of_sing_box(entry: Foreign) -> Written:
    if (why := why_not(entry.text("flow"), "")) is not None:
        raise NotCarried(why)
    always_both(entry)
    entry.pass_over("packet_encoding")
    made: Written = {"type": "vless", "uuid": entry.text("uuid")} | foreign.of_sing_box(entry)
    tls = foreign_tls.of_sing_box(entry)
    return made if tls is None else made | {"tls": tls}


def _into_sing_box(entry: Foreign) -> Written:
    users = []
    for one in entry.parts("users"):
        if (why := why_not(one.text("flow"), "")) is not None:
            raise NotCarried(f"is not kept: {why}")
        users.append({"name": one.text("name") or one.text("uuid"), "uuid": one.text("uuid")})
    made: Written = {"type": "vless", "users": users} | foreign.of_sing_box(entry)
    tls = foreign_tls.of_listener(entry)
    return made if tls is None else made | {"tls": tls}


_NEAR = ("127.0.0.1", "::1", "localhost")

CARD = Card(
    VlessInbound,
    VlessOutbound,
    {"vless": read_link},
    new_secret,
    ("vless",),
    unkept=lambda query: links.unkept(query, _READ),
    clash=Theirs({"vless": _of_clash}),
    sing_box=Theirs({"vless": _of_sing_box}, {"vless": _into_sing_box}),
)
