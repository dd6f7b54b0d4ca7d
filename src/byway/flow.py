"""DESCRIBE: a flow and its target, as frozen facts. Made once per flow, so kept cheap."""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass, field, replace
from enum import Enum, IntEnum
from typing import TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def frozen(cls: type[T]) -> type[T]:
    """A dataclass with slots, compared and hashed by its fields, and frozen for mypy.

    `dataclass(frozen=True)` guards it at run time too, by a call for each field: a flow with its
    seven then takes nine times as long to make.
    """
    return dataclass(slots=True, unsafe_hash=True)(cls)


class Network(Enum):
    """The layer-4 network of a flow."""

    TCP = "tcp"
    UDP = "udp"


TCP_ONLY = frozenset({Network.TCP})
TCP_AND_UDP = frozenset({Network.TCP, Network.UDP})
"""Outbounds and inbounds carry one of these sets by name, never all networks: one that is added
later is claimed only where it is named."""


@frozen
class Target:
    """A host and a port. `packed` is the address in 4 or 16 bytes, or None when `host` is a name.

    Names are kept in lower case without a final dot, addresses in their canonical text without
    brackets; build one with `of` or `from_packed`, which see to that. `absolute`: the name was
    written with a final dot, so that no search list may complete it. It does not count when targets
    are compared, as it does not to rules: what depends on where a name leads is kept by `full`.
    """

    host: str
    port: int
    packed: bytes | None = None
    absolute: bool = field(default=False, compare=False)

    @classmethod
    def of(cls, host: str, port: int) -> Target:
        """Make a target of a name or an address literal. Raises ValueError for what is neither."""
        if not 0 <= port <= 65535:
            raise ValueError(f"port {port} is not in 0..65535")
        packed = packed_address(host)
        if packed is not None:
            return cls.from_packed(packed, port)
        name = host.lower().removesuffix(".")
        if not name or len(name) > 253 or not name.isascii() or ".." in f".{name}.":
            raise ValueError(f"not a host name: {host[:80]!r}")
        if any(c <= " " or c in '\x7f/\\[]@:#?%"<>^`{|}' for c in name):
            raise ValueError(f"not a host name: {host[:80]!r}")
        if host[-1] != ".":
            return cls(name, port)
        packed = packed_address(name)  # "192.0.2.1." is an address to browsers and to us
        return cls(name, port, None, True) if packed is None else cls.from_packed(packed, port)

    @classmethod
    def from_name(cls, name: bytes, port: int) -> Target:
        """Make a target of a host as a client writes it: in UTF-8, and punycode where that is not
        ASCII. Raises ValueError for what is neither a name nor an address."""
        text = name.decode()
        return cls.of(text if text.isascii() else punycode(text), port)

    @classmethod
    def from_packed(cls, packed: bytes, port: int) -> Target:
        """Make a target of 4 or 16 address bytes; a v4-mapped IPv6 address becomes IPv4."""
        if len(packed) == 4:
            return cls(socket.inet_ntoa(packed), port, packed)
        if packed[:12] == _MAPPED:
            return cls(socket.inet_ntoa(packed[12:]), port, packed[12:])
        return cls(socket.inet_ntop(socket.AF_INET6, packed), port, packed)

    @classmethod
    def named(cls, name: str, port: int) -> Target:
        """Make a target of a name in lower case that was checked before; it may end with a dot."""
        return cls(name[:-1], port, None, True) if name[-1] == "." else cls(name, port)

    @classmethod
    def parse(cls, text: str) -> Target:
        """Read `host:port` or `[v6]:port`. Raises ValueError with the reason."""
        host, colon, port = text.rpartition(":")
        if not colon or not (port.isascii() and port.isdigit()):
            raise ValueError(f"{text[:80]!r} is not host:port")
        if host.startswith("[") and host.endswith("]"):
            if packed_address(host[1:-1]) is None or ":" not in host:
                raise ValueError(f"{host[:80]!r} is not an IPv6 address in brackets")
            host = host[1:-1]
        elif ":" in host:
            raise ValueError(f"{text[:80]!r}: an IPv6 address needs brackets before its port")
        return cls.of(host, int(port))

    @property
    def is_name(self) -> bool:
        """Whether the host is a name, to be resolved by someone."""
        return self.packed is None

    @property
    def full(self) -> str:
        """The host as a resolver must get it: with the final dot of an absolute name."""
        return f"{self.host}." if self.absolute else self.host

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.full}:{self.port}"


@frozen
class Known:
    """The name of an address that a flow was sent to, and where it comes from: `fake-ip`, `answer`
    (to a query of the same client) or `sniffed`. `asked` is that address."""

    name: str
    by: str
    asked: Target

    def __str__(self) -> str:
        return f"{self.name} ({self.by})"


@frozen
class Hop:
    """A program's own connection, or the packets that it sends: the network, and Byway's end."""

    network: Network
    end: Target


@frozen
class Flow:
    """One connection, or one (UDP session, target) pair, as it arrived.

    Where it was sent to an address whose name is `known`, rules see that name; the target is what
    is dialled.
    """

    id: int
    network: Network
    inbound: str
    source: Target | None  # None for a unix socket
    target: Target
    user: str | None = None
    guarded: bool = False  # came from beyond this host: must not reach its own loopback and so on
    known: Known | None = None
    hop: Hop | None = field(default=None, compare=False)  # None where it is not known

    @property
    def judged(self) -> Flow:
        """The flow as rules see it."""
        known = self.known
        if known is None or self.target.packed is None:
            return self
        return replace(self, target=Target(known.name, self.target.port))

    def toward(self, target: Target, network: Network | None = None) -> Flow:
        """The same flow with another target, and maybe on another network."""
        return replace(self, target=target, network=network or self.network)


@frozen
class Dial:
    """A dial: its target, the near side, and the guard.

    `near` is the loop of the engine on which the near stream lives, so that both ends meet there
    (None: any). `guarded`: the target must not be on this host, its links or its metadata services.
    `mark` is the firewall mark of what leaves from this host (None: as the outbound has it).
    """

    target: Target
    near: int | None = None
    guarded: bool = False
    mark: int | None = None

    def toward(self, server: Target) -> Dial:
        """The dial to a server on the way. The config chose it, and so no guard is on it."""
        return Dial(server, self.near, False, self.mark)

    def located(self, target: Target) -> Dial:
        """The same dial, its target as it was found to be."""
        if target is self.target:
            return self
        return Dial(target, self.near, self.guarded, self.mark)


@dataclass(frozen=True, slots=True)
class Process:
    """Whose socket a flow came from. What cannot be seen is empty, a user None."""

    name: str = ""  # of its program's file
    path: str = ""
    uid: int | None = None
    cgroup: str = ""
    command: str = ""  # its arguments, with spaces between
    cgroups: tuple[str, ...] = ()  # further ones, where cgroup v1 is in use


@frozen
class Sniffed:
    """Protocol and name found in a flow's first bytes; empty where unknown."""

    protocol: str = ""
    name: str = ""  # that is asked for inside: of TLS and QUIC the SNI, of HTTP the Host

    def __str__(self) -> str:
        return f"{self.protocol} {self.name}".strip()


class State(IntEnum):
    """Whether a member of a group may be taken; the lower the better."""

    WELL = 0  # the last that was seen of it was good, or nothing was seen yet
    TRIAL = 1  # it failed, and its time out is over
    OUT = 2


@dataclass(frozen=True, slots=True)
class Rank:
    """A member as its group sees it at one moment.

    `dial` is the smoothed seconds of its dials, `answer` what a probe takes beyond; None while
    unknown. `failures` stand in a row, `back` is when it may be tried again (`time.monotonic`), and
    `why` its last failure.
    """

    member: str
    state: State
    dial: float | None = None
    answer: float | None = None
    failures: int = 0
    back: float = 0.0
    why: str = ""

    @property
    def is_known(self) -> bool:
        """Whether anything was seen of it yet."""
        return self.dial is not None or self.failures > 0


@dataclass(frozen=True, slots=True)
class Step:
    """A group took a member, and why; or (`failed`) the member that it took failed, and how.

    `ranking` is what it knew of all its members, in the config's order.
    """

    group: str
    member: str
    why: str
    failed: bool = False
    ranking: tuple[Rank, ...] = ()


UNHEARD = Sniffed()
PROTOCOLS = ("tls", "http", "quic", "ssh", "dns", "stun", "dtls", "bittorrent")
"""The protocols that are known by their first bytes."""


def source_key(source: Target | None) -> bytes | None:
    """The unit in which sources are counted: an IPv4 address, or the /64 of an IPv6 one."""
    if source is None or source.packed is None:
        return None
    return source.packed[:8]


def punycode(name: str) -> str:
    """A host name in ASCII (IDNA, RFC 3490). Raises ValueError for what is none, or is another one
    in the newer edition (RFC 5891)."""
    if any(c in _AMBIGUOUS for c in name):
        raise ValueError(f"{name[:80]!r} can be read in two ways")
    return name.encode("idna").decode("ascii")


def packed_address(host: str) -> bytes | None:
    """The 4 or 16 bytes of an address literal, or None when `host` is not one."""
    if host and host[-1] in "0123456789abcdefABCDEF:.":
        if ":" in host:
            try:
                return socket.inet_pton(socket.AF_INET6, host)
            except (OSError, ValueError):
                return None
        try:
            return socket.inet_pton(socket.AF_INET, host)
        except (OSError, ValueError):
            return None
    return None


_NOT_IN_NAMES = re.compile(r"[\x00-\x20\x7f/\\\[\]@:#?%\"<>^`{|}]")
_AMBIGUOUS = "ßς\u200c\u200d"
_MAPPED = bytes(10) + b"\xff\xff"
