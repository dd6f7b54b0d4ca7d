"""The contract of a mux: the sections of both ends, and what they make.

A client asks its server for a connection to a host that does not exist; a server that knows the
host's name takes many flows from that connection.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

from byway.engine import Engine
from byway.inbounds.entry import Inner
from byway.outbounds.proxy import Client
from byway.values.section import Section


class MuxOut(Section):
    """What carries the flows of an outbound inside few connections of its protocol."""

    type: str

    @abstractmethod
    def client(self, under: Client, engine: Engine, patience: float) -> Client:
        """The same client, its flows inside connections that `under` asks for, each within
        `patience` seconds."""


class MuxIn(Section):
    """What takes flows from inside connections of an inbound's protocol."""

    type: str

    @property
    @abstractmethod
    def inner(self) -> Mapping[str, Inner]:
        """What becomes of a connection that asks for one of these hosts."""


@dataclass(frozen=True, slots=True)
class MuxCard:
    """One mux, both ends."""

    inbound: type[MuxIn]
    outbound: type[MuxOut]
