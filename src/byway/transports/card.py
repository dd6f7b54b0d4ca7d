"""The contract of a transport: its section, which dresses streams at both ends."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from byway.engine import Engine
from byway.outbounds.reach import Layer
from byway.values.foreign import Foreign, NotCarried
from byway.values.section import Section
from byway.values.wrong import Wrong

if TYPE_CHECKING:
    from byway.inbounds.entry import Entry, Greet


class Transport(Section):
    """What stands between TLS and a protocol."""

    alpn: ClassVar[tuple[str, ...]] = ()
    """What it is called in TLS (RFC 7301); none: TLS may agree on anything."""

    type: str

    @abstractmethod
    def layer(self, host: str, engine: Engine) -> Layer:
        """What dresses a stream to the server, which it consumes; a web client would call that
        `host`. May raise what streams raise."""

    def link_query(self) -> dict[str, str]:
        """What a link's query says of it, its type aside. Raises ValueError where none can."""
        raise ValueError(f"a link cannot express transport: {self.type}")

    @classmethod
    def of_link(cls, query: Mapping[str, str]) -> dict[str, object]:
        """The section that a link's query says. Raises Wrong."""
        raise Wrong("no link expresses this transport")

    @classmethod
    def of_foreign(cls, options: Foreign) -> dict[str, object]:
        """The section that the options of Clash or sing-box say. Raises NotCarried."""
        raise NotCarried("its transport is not supported")

    @abstractmethod
    def greeting(self, entry: Entry, greet: Greet, elsewhere: Greet) -> Greet:
        """The same greeting, inside the transport. `elsewhere` gets who does not speak it, with
        every byte that came, where a web server could answer it."""
