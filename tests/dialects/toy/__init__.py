"""A protocol that only tests know: this card and `wire.py` are all of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal
from urllib.parse import quote

from byway.dialects import links, reach
from byway.dialects.card import Card, Lent, Out, Theirs, Written
from byway.dialects.passwords import check_passwords
from byway.dialects.reach import Carrying, Streamed
from byway.engine import Engine, EngineStream, ListenOptions
from byway.errors import Reason, Refused
from byway.flow import TCP_AND_UDP, Dial, Network, Target
from byway.inbounds.arrival import Connection
from byway.inbounds.entry import Entry, Means, Met
from byway.inbounds.framed import Framed
from byway.inbounds.inner import inner
from byway.inbounds.listener import StreamInbound
from byway.interfaces import Binding, Datagrams, Inbound, Stream
from byway.outbounds.reach import Reach
from byway.values.foreign import Foreign, NotCarried
from byway.values.problems import Path, Problems
from byway.values.texts import Many, Password
from byway.values.tls import ServerTls
from byway.values.user import User
from byway.values.written import Node
from byway.values.wrong import Wrong
from tests.dialects.toy import wire


class ToyInbound(Carrying):
    """A toy server."""

    keeps_strangers_out: ClassVar[bool] = True

    type: Literal["toy"]
    users: Annotated[tuple[User, ...], Many]
    """Who may use it."""
    tls: ServerTls | None = None
    """Use TLS."""

    @property
    def known_users(self) -> tuple[User, ...]:
        """Who may use it, by name."""
        return self.users

    @classmethod
    def check(cls, path: Path, node: Node, problems: Problems) -> None:
        """Users are told apart by their passwords."""
        check_passwords(path, node, problems)

    def inbound(self, name: str, means: Means, options: ListenOptions, lent: Lent) -> Inbound:
        """The server's end."""
        entry = Entry(name, means, guarded=self.guarded, inner=self.inner)
        words = {user.password.get_secret_value(): user.name for user in self.users}

        async def greet(stream: EngineStream) -> Met:
            source = stream.source
            request = await wire.accept(stream, words)
            if request.packets:
                return Framed(stream, "trojan", entry, source, request.user)
            if (inside := inner(entry, request.target)) is not None:
                return inside(stream, request.target, entry, source, request.user)
            flow = entry.flow(Network.TCP, source, request.target, request.user)
            return Connection(stream, flow, means)

        dressed = reach.dressed(entry, self.tls, self.transport, greet)
        return StreamInbound(entry, self.places(), dressed, options)

    def invited(self, server: Target) -> Iterator[tuple[str, Out]]:
        """An outbound for each user."""
        for user in self.users:
            made = ToyOutbound.model_construct(type="toy", server=server, password=user.password)
            yield user.name, made


class ToyOutbound(Streamed):
    """Leave by a toy server."""

    type: Literal["toy"]
    password: Password
    """As the server has it."""

    @property
    def server_answers(self) -> bool:
        """Nothing is answered."""
        return False

    @property
    def packets_in_stream(self) -> bool:
        """Each session has a stream of its own."""
        return True

    @classmethod
    def check(cls, path: Path, node: Node, problems: Problems) -> None:
        """The word is no secret."""
        super().check(path, node, problems)
        if node.text("password") == "toy":
            problems.add((*path, "password"), "everybody knows this password", "choose another")

    def client(self, lent: Lent) -> ToyClient:
        """The client's end."""
        return ToyClient(self.password.get_secret_value(), lent.engine)

    def link(self, name: str) -> str:
        """`toy://password@host:port#name`."""
        password = quote(self.password.get_secret_value(), safe="")
        return f"toy://{password}@{self.server}{links.label_of(name)}"


@dataclass(frozen=True, slots=True)
class ToyClient:
    """The client's end; nothing is answered."""

    password: str
    engine: Engine
    networks: frozenset[Network] = TCP_AND_UDP
    carries_names: bool = True
    packets_in_stream: bool = True

    async def connect(self, reach: Reach, dial: Dial) -> Stream:
        stream = await reach.open(dial)
        stream.hold(wire.head(self.password, dial.target))
        return stream

    async def associate(self, reach: Reach, dial: Dial) -> Datagrams:
        control = await reach.open(dial)
        control.hold(wire.head(self.password, None))
        return self.engine.framed(control, "trojan", wire.END)

    async def bind(self, reach: Reach, dial: Dial) -> Binding:
        raise Refused("this outbound does not support BIND", Reason.NOT_SUPPORTED)


def _read_link(scheme: str, rest: str) -> tuple[str, Written]:
    front, _, label = rest.partition("#")
    password, at, server = front.rpartition("@")
    if not at:
        raise Wrong("the link has no password", "toy://password@host:port")
    made: Written = {"type": "toy", "server": links.with_port(server, 7)}
    return links.decoded(label), made | {"password": links.decoded(password)}


def _foreign(entry: Foreign) -> Written:
    if entry.flag("broken"):
        raise NotCarried("broken toys are not spoken")
    return {"type": "toy", "password": entry.text("password")}


CARD = Card(
    ToyInbound,
    ToyOutbound,
    {"toy": _read_link},
    clash=Theirs({"toy": _foreign}),
    sing_box=Theirs({"toy": _foreign}, {"toy": lambda entry: {"type": "toy"}}),
)
