"""Name servers as a person writes them: how each is asked, and where."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from byway.flow import Target, packed_address
from byway.values import hosts
from byway.values.texts import JsonSchema, Reads, text_of
from byway.values.wrong import Wrong, shown

SYSTEM = "system"
PORTS = {"udp": 53, "tcp": 53, "tls": 853, "https": 443}
_FORMS = "system, udp://, tcp://, tls://address, or https://address/dns-query"
_PATH = re.compile(r"/[!-~]{0,512}")


@dataclass(frozen=True, slots=True)
class ServerAddress:
    """How a name server is spoken to, and where. As text without the path, which may be secret."""

    scheme: str  # system, udp, tcp, tls or https
    target: Target | None = None
    path: str = ""

    def __str__(self) -> str:
        if self.target is None:
            return self.scheme
        port = self.target.port
        where = str(self.target)
        if port == PORTS[self.scheme]:
            where = where.rpartition(":")[0]
        return f"{self.scheme}://{where}"

    def __repr__(self) -> str:
        return f"ServerAddress({self})"

    @property
    def authority(self) -> str:
        """Host and port as a URL of this scheme has them."""
        return str(self).partition("://")[2]


def read_address(text: str) -> ServerAddress:
    """The address of a server. Raises Wrong."""
    if text == SYSTEM:
        return ServerAddress(SYSTEM)
    scheme, colon, rest = text.partition("://")
    if not colon:
        hint = f"udp://{text}" if packed_address(text.strip("[]")) is not None else _FORMS
        raise Wrong(f"{shown(text)} is not the address of a name server", hint)
    if scheme not in PORTS:
        raise Wrong(f"unknown scheme {shown(scheme)}", _FORMS)
    place, slash, path = rest.partition("/")
    if scheme != "https" and (slash or "?" in place):
        raise Wrong("only https:// addresses have a path", f"{scheme}://{place}")
    if "@" in place or "#" in rest or (scheme == "https" and "?" in place):
        raise Wrong("the address has parts that are not supported", _FORMS)
    path = f"/{path}" if path else "/dns-query"
    if not _PATH.fullmatch(path):
        raise Wrong("the path has characters that are not allowed in a URL")
    return ServerAddress(scheme, _placed(place, PORTS[scheme]), path if scheme == "https" else "")


def without_path(word: str) -> str:
    """A server's name, or its address without the path, which may be secret."""
    return str(read_address(word)) if "://" in word else word


def _placed(place: str, port: int) -> Target:
    if not place:
        raise Wrong("the address has no host", _FORMS)
    bare = place.strip("[]") if place.startswith("[") and place.endswith("]") else place
    if (packed := packed_address(bare)) is not None:
        if ":" in bare and bare is place:
            raise Wrong("an IPv6 address needs brackets", hosts.bracketed(place, ""))
        return Target.from_packed(packed, port)
    return hosts.host_port(place if ":" in place else f"{place}:{port}")


def _server_word(value: object) -> str:
    text = text_of(value)
    if "://" in text:
        read_address(text)
    elif not text:
        raise Wrong("expected the name or the address of a server", _FORMS)
    return text


ADDRESS_SCHEMA: JsonSchema = {
    "type": "string",
    "pattern": "^(system|udp://.+|tcp://.+|tls://.+|https://.+)$",
    "examples": ["https://dns.example/dns-query"],
}
_WORD_SCHEMA: JsonSchema = {"type": "string", "minLength": 1, "examples": ["office"]}
_read_text: Callable[[object], ServerAddress] = lambda value: read_address(text_of(value))  # noqa: E731

Address = Annotated[ServerAddress, Reads(_read_text, ADDRESS_SCHEMA)]
ServerWord = Annotated[str, Reads(_server_word, _WORD_SCHEMA)]
