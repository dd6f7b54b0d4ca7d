"""What transports have in common that begin with a request to a web server for an upgrade."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, get_args

from pydantic import Field

from byway.engine import Engine, EngineStream
from byway.interfaces import Stream
from byway.outbounds.reach import Layer
from byway.protocols import websocket
from byway.transports.card import Transport
from byway.values.foreign import Foreign
from byway.values.texts import Reads, text_of, text_schema
from byway.values.wrong import Wrong, shown

if TYPE_CHECKING:
    from byway.inbounds.entry import Entry, Greet, Met


def _path(value: object) -> str:
    """A path as it goes on the wire. `?ed=` asks for early data and is never sent."""
    text = text_of(value)
    if not text.startswith("/"):
        text = f"/{text}"
    bare, query, rest = text.partition("?")
    kept = [part for part in rest.split("&") if not re.fullmatch("ed=[0-9]+", part)]
    text = bare + (f"?{'&'.join(kept)}" if query and any(kept) else "")
    if not text.isascii() or any(c <= " " or c == "\x7f" for c in text):
        raise Wrong(f"{shown(text)} is not the path of a URL", "percent-encode it")
    return text


def _host(value: object) -> str:
    text = text_of(value)
    if not text or not text.isascii() or any(c <= " " or c in "/\x7f" for c in text):
        raise Wrong(f"{shown(text)} is not the name of a host")
    return text


def _name(value: object) -> str:
    text = text_of(value)
    if not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", text):
        raise Wrong(f"{shown(text)} is not the name of an HTTP field")
    if text.lower() in _OURS:
        raise Wrong(f"the field {text} is the transport's own")
    return text


def _content(value: object) -> str:
    text = text_of(value)
    if any(c < " " or c == "\x7f" or ord(c) > 0xFF for c in text):
        raise Wrong("the value of an HTTP field has a control character in it")
    return text


_OURS = {
    "connection", "upgrade", "content-length", "transfer-encoding", "sec-websocket-key",
    "sec-websocket-version", "sec-websocket-accept", "sec-websocket-extensions",
}  # fmt: skip
FieldName = Annotated[str, Reads(_name, text_schema("User-Agent"))]
FieldValue = Annotated[str, Reads(_content, {"type": "string"})]


def _section(word: str, path: str, host: str) -> dict[str, object]:
    """A section, without what is as usual."""
    made: dict[str, object] = {"type": word}
    if path not in ("", "/"):
        made["path"] = path
    return made | ({"host": host} if host else {})


class Upgraded(Transport):
    """The request, as both ends know it."""

    path: Annotated[str, Reads(_path, text_schema("/ws"))] = "/"
    """The path of the request; a server answers no other one."""
    host: Annotated[str, Reads(_host, text_schema("www.example.com"))] | None = None
    """The host that the request names; a server that has one answers no other."""
    headers: dict[FieldName, FieldValue] = Field(default_factory=dict)
    """More fields of an outbound's request."""

    def link_query(self) -> dict[str, str]:
        """`path` and `host`."""
        if self.headers:
            raise ValueError("a link cannot express transport.headers")
        return {"path": self.path} | ({} if self.host is None else {"host": self.host})

    @classmethod
    def of_link(cls, query: Mapping[str, str]) -> dict[str, object]:
        """`path` and `host`; early data is not sent, so `ed` changes nothing."""
        return _section(cls._word(), query.get("path", ""), query.get("host", ""))

    @classmethod
    def of_foreign(cls, options: Foreign) -> dict[str, object]:
        """`path`, `host` and `headers`; early data is not sent."""
        given = options.part("headers")
        headers = {name: "".join(given.texts(name)[:1]) for name in given.keys()}  # noqa: SIM118
        named = next((name for name in headers if name.lower() == "host"), None)
        host = options.text("host") or ("" if named is None else headers[named])
        if named is not None:
            del headers[named]
        options.pass_over("max-early-data", "max_early_data")
        options.pass_over("early-data-header-name", "early_data_header_name")
        made = _section(cls._word(), options.text("path"), host)
        return made | ({"headers": headers} if headers else {})

    @classmethod
    def _word(cls) -> str:
        return str(get_args(cls.model_fields["type"].annotation)[0])

    def asking(self, host: str, engine: Engine, *, keyed: bool) -> Layer:
        """The client's end."""
        path, name = self.path, self.host or host
        fields = tuple((n.encode(), v.encode("latin-1")) for n, v in self.headers.items())

        async def upgraded(stream: Stream) -> Stream:
            key = secrets.token_bytes(websocket.KEY_BYTES) if keyed else None
            await websocket.connect(stream, path, name, fields, key)
            return engine.web_socket(stream, client=True) if keyed else stream

        return upgraded

    def answering(
        self, entry: Entry, greet: Greet, elsewhere: Greet, *, early: str, keyed: bool
    ) -> Greet:
        """The server's end."""
        wanted = websocket.Wanted(self.path, (self.host or "").lower(), early, keyed)
        engine = entry.means.engine

        async def upgraded(stream: EngineStream) -> Met:
            found = await websocket.accept(stream, wanted)
            if found is None:
                return await elsewhere(stream)
            if keyed:
                stream = engine.web_socket(stream, client=False)
            if found:
                stream.unread(found)
            return await greet(stream)

        return upgraded
