"""What the engine can be told. Every wait, queue and table has its bound here."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from byway._engine import Turnstile
from byway.flow import Target, frozen

Framing = Literal["trojan", "uot", "addressed", "xudp"]
"""How packets look inside a stream: each with its address and length, as trojan or UDP over TCP
writes them, or with the address in SOCKS5's form."""


@dataclass(frozen=True, slots=True)
class DialOptions:
    """How a connection is opened. Times in seconds."""

    timeout: float = 10.0  # of the whole dial
    stagger: float = 0.25  # how long one attempt runs alone (RFC 8305, section 5)
    bind: str | None = None  # the local address to leave from
    interface: str | None = None  # the device to leave by (SO_BINDTODEVICE)
    mark: int | None = None  # the firewall mark (SO_MARK)


@dataclass(frozen=True, slots=True)
class ListenOptions:
    """How a stream listener treats what it accepts. Times in seconds."""

    backlog: int = 4096
    first: float = 10.0  # how long a connection may stay silent; 0 hands it over at once
    per_source: int = 4096  # open connections from one address (one /64 of IPv6)
    total: int = 16384
    turnstile: Turnstile | None = None  # counts in place of the two, for all who share it
    transparent: bool = False  # take connections to other hosts' addresses (IP_TRANSPARENT)
    mark: int | None = None  # the firewall mark of its connections (SO_MARK)


@dataclass(frozen=True, slots=True)
class PacketOptions:
    """How a packet listener keeps its sessions. Times in seconds."""

    idle: float = 60.0
    sessions: int = 4096
    targets: int = 1024  # per session
    waiting: int = 512 * 1024  # bytes that may wait for the verdicts of a session, 64 more a packet
    only: Target | None = None  # accept from this source alone; port 0: from its first port
    mark: int | None = None  # the firewall mark of answers (SO_MARK); for diverted packets


@dataclass(frozen=True, slots=True)
class SealedUser:
    """One of several users of a shadowsocks port: their key (2022 methods with AES). With `relay`
    it is the key of the server there, which gets their packets as they are."""

    key: bytes = field(repr=False)
    relay: Target | None = None


@dataclass(frozen=True, slots=True)
class SealedPackets:
    """Packets of shadowsocks clients, by the name that the method has there."""

    method: str
    key: bytes = field(repr=False)
    users: tuple[SealedUser, ...] = ()  # none: whoever has the key


Refusal = Literal["reset", "silent", "network", "host", "prohibited"]
"""How somebody is told that there will be no connection."""

Codec = Literal["socks5", "diverted"] | Target | SealedPackets
"""How packets say where they want to go: SOCKS5 headers, the address that they were sent to before
a firewall diverted them, all to one target, or sealed."""


@frozen
class Body:
    """How the end of an HTTP/1.1 body is known (RFC 9112, section 6).

    Neither a length nor chunks: it runs until the source ends.
    """

    length: int | None = None
    chunked: bool = False
    dechunk: bool = False  # of chunks pass on the payload alone
    without: tuple[bytes, ...] = ()  # trailers that stay here, in lower case
