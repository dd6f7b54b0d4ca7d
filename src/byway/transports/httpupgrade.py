"""HTTPUpgrade: a WebSocket's request, and then the bare connection, without frames."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from byway.engine import Engine
from byway.outbounds.reach import Layer
from byway.protocols.websocket import PROTOCOL
from byway.transports.upgrade import Upgraded

if TYPE_CHECKING:
    from byway.inbounds.entry import Entry, Greet


class HttpUpgradeTransport(Upgraded):
    """A stream behind an upgrade."""

    alpn: ClassVar[tuple[str, ...]] = ("http/1.1",)

    type: Literal["httpupgrade"]

    def layer(self, host: str, engine: Engine) -> Layer:
        """Ask for the connection."""
        return self.asking(host, engine, keyed=False)

    def greeting(self, entry: Entry, greet: Greet, elsewhere: Greet) -> Greet:
        """Let in who asks for the path."""
        return self.answering(entry, greet, elsewhere, early=PROTOCOL, keyed=False)


TRANSPORT = HttpUpgradeTransport
