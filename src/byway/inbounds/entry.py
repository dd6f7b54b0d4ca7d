"""The common data of an inbound's flows, and the parts that the app lends to every inbound."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from byway.engine import Engine, EngineStream, PacketListener, PacketOptions
from byway.flow import Flow, Hop, Network, Target
from byway.inbounds.silence import Silence
from byway.interfaces import Arrival, Bounds, Carry, InForce, Stream
from byway.ledger.log import Log
from byway.ledger.room import Room
from byway.protocols.credentials import Verify


@dataclass(frozen=True, slots=True)
class Means:
    """Lent by the app: the engine, the log, flow numbers, and limits (seconds, bytes)."""

    engine: Engine
    log: Log
    number: Callable[[], int]
    handshake: float = 10.0
    idle: float = math.inf
    head: int = 65536
    packets: PacketOptions = field(default_factory=PacketOptions)
    pac: Callable[[str, Target], str] | None = None
    """The PAC file of an inbound, for clients that reach it at this address."""
    room: Room = field(default_factory=lambda: Room(InForce(Bounds())))
    silence: Silence = field(default_factory=Silence)
    answering: Callable[[PacketListener, str], None] | None = None
    """Has DNS queries that a listener of an inbound hears answered where the answer is known."""


class Inner(Protocol):
    """Serves a connection to a host that stands for more than one flow: `stream` asked for `asked`,
    and is granted by `grant` where the protocol has an answer; it is a user's, from `source`."""

    def __call__(
        self,
        stream: Stream,
        asked: Target,
        entry: Entry,
        source: Target | None,
        user: str | None,
        grant: Callable[[], Awaitable[None]] | None = None,
    ) -> Visit: ...


@dataclass(frozen=True, slots=True)
class Entry:
    """One inbound's name, users and guard. `verify` is None where no login is required."""

    name: str
    means: Means
    verify: Verify | None = None
    guarded: bool = False
    inner: Mapping[str, Inner] = field(default_factory=dict)
    """Servers of connections to hosts that stand for more than one flow, by name."""

    def flow(
        self,
        network: Network,
        source: Target | None,
        target: Target,
        user: str | None = None,
        end: Target | None = None,
    ) -> Flow:
        """Describe a new flow. `end` is where the client's own connection ends, in this network."""
        hop = None if end is None else Hop(network, end)
        guarded = self.guarded
        return Flow(
            self.means.number(), network, self.name, source, target, user, guarded, None, hop
        )


class Visit:
    """A connection that brings more than one flow: HTTP requests, UDP packets.

    No ABC: each flow is asked whether it is one, which would take an ABC as long as a rule.
    """

    __slots__ = ()

    async def stay(self, carry: Carry) -> None:
        """Serve it to its end. Raises what the connection's own failure raises."""
        raise NotImplementedError


Met = Arrival[Stream] | Visit
"""The outcome of a greeting."""

Greet = Callable[[EngineStream], Awaitable[Met]]
"""Reads a client's request. When it raises, the client has its refusal already."""
