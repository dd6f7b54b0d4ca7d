"""The contract of a transport: its section, which dresses streams at both ends."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

from byway.flow import Target
from byway.outbounds.reach import Layer
from byway.values.section import Section

if TYPE_CHECKING:
    from byway.inbounds.entry import Entry, Greet


class Transport(Section):
    """What stands between TLS and a protocol."""

    type: str

    @abstractmethod
    def layer(self, server: Target) -> Layer:
        """What dresses a stream to the server, which it consumes. May raise what streams raise."""

    @abstractmethod
    def greeting(self, entry: Entry, greet: Greet) -> Greet:
        """The same greeting, inside the transport. Whoever does not speak it gets what a server of
        its kind would answer."""
