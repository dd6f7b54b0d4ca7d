"""WebSocket (RFC 6455): what web servers and CDNs let pass."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from byway.engine import Engine
from byway.outbounds.reach import Layer
from byway.protocols.websocket import PROTOCOL
from byway.transports.upgrade import Upgraded
from byway.values.texts import Reads, text_of, text_schema
from byway.values.wrong import Wrong

if TYPE_CHECKING:
    from byway.inbounds.entry import Entry, Greet


def _field(value: object) -> str:
    text = text_of(value)
    if not all(c.isascii() and (c.isalnum() or c in "-_") for c in text):
        raise Wrong("expected the name of an HTTP field", f"for example {PROTOCOL}")
    return text


class WebSocketTransport(Upgraded):
    """A stream inside a WebSocket."""

    alpn: ClassVar[tuple[str, ...]] = ("http/1.1",)

    type: Literal["ws"]
    early_data_header: Annotated[str, Reads(_field, text_schema(PROTOCOL))] = PROTOCOL
    """Of a server: the field in which clients send early data; "" for behind the path."""

    def layer(self, host: str, engine: Engine) -> Layer:
        """Ask for the WebSocket, and speak inside it."""
        return self.asking(host, engine, keyed=True)

    def greeting(self, entry: Entry, greet: Greet, elsewhere: Greet) -> Greet:
        """Let in who asks for the path."""
        return self.answering(entry, greet, elsewhere, early=self.early_data_header, keyed=True)


TRANSPORT = WebSocketTransport
