"""The contract of a card: all of one protocol beside its wire.

So nobody else asks which protocol a thing is. A card has the config's sections of both ends (`In`,
`Out`), which know what must fit together in them, how to make the client and the server, and the
facts that others ask for in place of a type. Beside them stand the readers of what other programs
write: share links, and their configs.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, ClassVar, NamedTuple, Protocol

from pydantic import Field

from byway.flow import TCP_AND_UDP, TCP_ONLY, Flow, Network, Target
from byway.interfaces import Resolver
from byway.outbounds.loops import Loops
from byway.outbounds.proxy import Client, Proxy
from byway.outbounds.reach import Layer
from byway.system.capture import Capture
from byway.system.firewall.taking import Diversion
from byway.system.marks import GROUP
from byway.values.foreign import Foreign
from byway.values.limit import Limit
from byway.values.problems import Path, Problems
from byway.values.section import Section
from byway.values.texts import AutoFlag, HostPort, ListenAddress, Many, UnixPath, Way, is_loopback
from byway.values.user import Named
from byway.values.written import Node

if TYPE_CHECKING:
    from byway.dns.served import Answers
    from byway.engine import DialOptions, Engine, ListenOptions
    from byway.inbounds.entry import Means
    from byway.inbounds.listener import Address
    from byway.interfaces import Inbound, Outbound
    from byway.ledger.log import Log
    from byway.sealing import Ciphers
    from byway.system.plugin import Plugin

Written = dict[str, object]
"""A section as a person would write it."""


class Names(Resolver, Protocol):
    """A resolver that can be had for one way out, with name servers of its own."""

    def by(self, use: Sequence[str]) -> Resolver:
        """A resolver that queries these servers, by their names or addresses."""


@dataclass(frozen=True, slots=True)
class Lent:
    """The root's loan to every card. `dial` is in seconds, `now` since 1970."""

    engine: Engine
    ciphers: Ciphers
    resolver: Names
    log: Log
    own: Callable[[bytes], bool]
    """Whether an address is this host's."""
    dial: float
    entropy: Callable[[int], bytes]
    now: Callable[[], float]
    dialling: list[Plugin] = field(default_factory=list)
    """Programs that outbounds need, which start at their first dial."""
    mark: int | None = None
    """The firewall mark of what leaves from this host, where a config needs one."""
    loops: Loops | None = None
    """Knows the listeners that nothing may be dialled to twice."""
    plugins: list[Plugin] = field(default_factory=list)
    """All programs, to be ended."""
    answers: Answers | None = None
    """Answers the queries of DNS clients."""

    @property
    def group(self) -> int | None:
        """The group that programs run as, whose sockets bear no mark of ours."""
        return None if self.mark is None else GROUP

    @property
    def returned(self) -> Callable[[Flow], Awaitable[bool]] | None:
        """Whether a diverted flow is a dial of our own."""
        return None if self.loops is None else self.loops.is_own


class Lead(NamedTuple):
    """A target that an inbound was given; `key` is where. `judged`: rules say how it is reached."""

    key: tuple[str | int, ...]
    target: Target
    networks: frozenset[Network]
    judged: bool = True


class In(Section):
    """The common part of inbound sections: where it listens, and how far in its flows may go."""

    keeps_strangers_out: ClassVar[bool] = False
    """Whether the protocol itself requires a password, for any section."""
    diverts: ClassVar[bool] = False
    """Whether it takes what others were sent, which a firewall diverts to it."""

    answers: ClassVar[bool] = False
    """Whether it answers queries by `dns`."""

    program_schemes: ClassVar[tuple[str, str] | None] = None
    """The scheme of the URL that programs are given as their proxy for HTTP, and for all else."""

    type: str
    listen: Annotated[tuple[ListenAddress, ...], Many]
    """Where to listen: `address:port`, `[v6]:port` or `unix:path`; one, or a list."""
    allow_local: AutoFlag = Field(default="auto", validate_default=True)
    """May flows reach this host's loopback, link-local and metadata addresses?
    auto (None): only if every listener is loopback or unix."""
    limit: Limit | None = None
    """The limit shared by all its flows."""

    @property
    def marks(self) -> bool:
        """Whether what Byway itself sends must be told from all else, by a firewall mark."""
        return False

    @property
    def beyond_loopback(self) -> tuple[Target, ...]:
        """The listen addresses that other hosts may reach."""
        return tuple(a for a in self.listen if isinstance(a, Target) and not is_loopback(a))

    @property
    def guarded(self) -> bool:
        """Whether its flows are kept from this host's own addresses (`allow_local` decided)."""
        return bool(self.beyond_loopback) if self.allow_local is None else not self.allow_local

    def diversion(self, addresses: Sequence[str]) -> Diversion | None:
        """What the firewall is to bring to its listeners, which are open at these addresses; None:
        nothing of it is Byway's to set up."""
        return None

    def makes(self) -> Sequence[str]:
        """What it makes on this host when it is opened, as programs would be told to make it."""
        return ()

    def capture(self, answers: bool) -> Capture | None:
        """What routes are to bring to its NIC; None: nothing of it is Byway's to set up.
        `answers`: questions for names are answered here, wherever they go."""
        return None

    @property
    def known_users(self) -> tuple[Named, ...]:
        """Its users, by name."""
        return ()

    @classmethod
    def networks_of(cls, node: Node) -> frozenset[Network]:
        """The networks that a section takes, as far as it can be read."""
        return TCP_ONLY

    @classmethod
    def check(cls, path: Path, node: Node, problems: Problems) -> None:
        """Note what does not fit together in what was written."""

    def warn(self, path: Path, problems: Problems) -> None:
        """Note what is odd in a section without errors."""

    @abstractmethod
    def inbound(self, name: str, means: Means, options: ListenOptions, lent: Lent) -> Inbound:
        """The server's end, not open yet. Raises OSError for a bad file."""

    def invited(self, server: Target) -> Iterator[tuple[str, Out]]:
        """For each user (a name, or an empty text) the outbound that leads here, reached at
        `server`. Raises ValueError where there is none, or a link could not say it."""
        raise ValueError(f"a {self.type} inbound has no link: it is reached without a protocol")

    @property
    def leads(self) -> Sequence[Lead]:
        """Where its flows go that have no target of their client's."""
        return ()

    def places(self) -> list[Address]:
        """Where it listens, as a listener takes it."""
        return [place.path if isinstance(place, UnixPath) else place for place in self.listen]


class Out(Section):
    """The common part of outbound sections. By default the facts are those of this host's way."""

    in_link: ClassVar[tuple[str, ...]] = ()
    """What its links express that those of others cannot."""

    type: str
    limit: Limit | None = None
    """The limit shared by all flows through it."""

    @property
    def server_answers(self) -> bool:
        """Whether the server tells how a dial went; if not, a stream that opens proves little."""
        return True

    @property
    def networks(self) -> frozenset[Network]:
        """The networks that it carries, wherever its server is."""
        return TCP_AND_UDP

    @property
    def packets_in_stream(self) -> bool:
        """Whether packets ride inside a stream to the server: the way there may be TCP alone."""
        return False

    @property
    def carries_names(self) -> bool:
        """Whether names are handed on; if not, they are resolved here."""
        return True

    @property
    def hop(self) -> tuple[Target, str] | None:
        """The server, and the outbound by which it is reached; None: there is no server."""
        return None

    @property
    def reached_by(self) -> frozenset[Network]:
        """How its server is dialled: by streams, by packets, or both."""
        return TCP_ONLY

    @property
    def asks(self) -> tuple[str, ...] | None:
        """The name servers of its own."""
        return None

    @property
    def answers(self) -> bool:
        """Whether it answers queries by `dns`."""
        return False

    @property
    def dialling(self) -> DialOptions | None:
        """How the engine dials for it, where it leaves from this host itself."""
        return None

    @property
    def is_plain(self) -> bool:
        """Whether nothing is said of it but its type."""
        return self.model_fields_set <= {"type"}

    @classmethod
    def check(cls, path: Path, node: Node, problems: Problems) -> None:
        """Note what does not fit together in what was written."""

    def warn(self, path: Path, problems: Problems) -> None:
        """Note what is odd in a section without errors."""

    @abstractmethod
    def outbound(
        self, name: str, via: Outbound | None, lent: Lent, noted: Layer | None
    ) -> Outbound:
        """The way out; `via` reaches its server, and `noted` notes that it was reached."""

    def link(self, name: str) -> str:
        """A share link, password included. Raises ValueError where none can say it."""
        raise ValueError(f"a {self.type} outbound has no link")


class Proxied(Out):
    """An outbound with a server, for which a client speaks."""

    server: HostPort
    """The proxy: `host:port`."""
    via: Way | None = None
    """The outbound (a name or a link) to reach the proxy through; none: from this host."""

    @property
    def hop(self) -> tuple[Target, str]:
        """The server, and the outbound by which it is reached."""
        return self.server, self.via or "direct"

    @abstractmethod
    def client(self, lent: Lent) -> Client:
        """The client's end of the protocol."""

    def before(self, name: str, via: Outbound, lent: Lent) -> Outbound:
        """What a stream to the server goes by: `via`, or what this host has in front of it."""
        return via

    def layers(self, name: str, lent: Lent) -> list[Layer]:
        """The layers around a stream to the server."""
        return []

    def spoken(self, client: Client, lent: Lent) -> Client:
        """The client, in whatever carries its flows."""
        return client

    def outbound(
        self, name: str, via: Outbound | None, lent: Lent, noted: Layer | None
    ) -> Outbound:
        """The way through the proxy."""
        assert via is not None
        layers = self.layers(name, lent)
        if noted is not None:
            layers.append(noted)
        via, client = self.before(name, via, lent), self.spoken(self.client(lent), lent)
        return Proxy(name, self.server, via, client, lent.resolver, layers, lent.own)


class Line(NamedTuple):
    """A protocol's line in the table: the module of its card, which ends it has, and the schemes
    of its links. The card itself is loaded when a config, link or import names it."""

    module: str
    enters: bool = True
    leaves: bool = True
    schemes: tuple[str, ...] = ()


ReadLink = Callable[[str, str], tuple[str, Written]]
"""Takes a scheme and what stands behind `://`; gives a label and an outbound. Raises Wrong."""


FromForeign = Callable[[Foreign], Written]
"""Makes a section of another program's entry: what only this protocol has, its type included.
Raises NotCarried."""


@dataclass(frozen=True, slots=True)
class Theirs:
    """Another program's names for the protocol: its types of ways out and in, with their readers.
    `ports` and `sections` are settings of a whole file that open an inbound by themselves: a
    number, or a mapping that needs no port; `called` has those types that the other program calls
    otherwise elsewhere."""

    leaving: Mapping[str, FromForeign] = field(default_factory=dict)
    entering: Mapping[str, FromForeign] = field(default_factory=dict)
    ports: tuple[str, ...] = ()
    sections: tuple[str, ...] = ()
    called: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Card:
    """One protocol. `links` reads links by their scheme; `secret` makes a new password for a word
    of `byway password` that is this card's, or raises ValueError; None: the word is not its."""

    inbound: type[In] | None = None
    outbound: type[Out] | None = None
    links: Mapping[str, ReadLink] = field(default_factory=dict)
    secret: Callable[[str], str | None] | None = None
    secrets: tuple[str, ...] = ()
    """The words that `secret` takes."""
    document: Callable[[str], list[tuple[str, Written]]] | None = None
    """Reads a document of several servers: labels and outbounds. Raises Wrong."""
    unkept: Callable[[Mapping[str, str]], Iterator[str]] | None = None
    """Parameters of a link that no outbound supports, as text."""
    clash: Theirs = field(default_factory=Theirs)
    """In configs of Clash and mihomo."""
    sing_box: Theirs = field(default_factory=Theirs)
    """In configs of sing-box."""
