"""Web addresses: http and https URLs (RFC 3986), whose text may hold secrets."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import quote, unquote, urlsplit

from byway.flow import Target, packed_address

_PORTS = {"http": 80, "https": 443}
_PATH_SAFE = "%/:=&?~+!$,;'@()*[]"


@dataclass(frozen=True, slots=True)
class WebAddress:
    """Where a document is. Its text may hold secrets; `str` and `repr` show none."""

    scheme: str
    host: str
    port: int
    path: str = field(repr=False)
    user: str | None = field(default=None, repr=False)
    password: str = field(default="", repr=False)
    absolute: bool = False  # the host was written with a final dot

    @classmethod
    def parse(cls, text: str) -> WebAddress:
        """Read an http:// or https:// URL (RFC 3986). Raises ValueError; shows nothing of it."""
        if re.search(r"[\x00-\x20\x7f]", text):
            raise ValueError("a URL has no spaces or control characters in it")
        parts = urlsplit(text)
        if parts.scheme not in _PORTS or not parts.hostname:
            raise ValueError("expected http://host/path or https://host/path")
        host = parts.hostname
        if not host.isascii():
            host = host.encode("idna").decode("ascii")
        target = Target.of(host, parts.port or _PORTS[parts.scheme])
        path = parts.path or "/"
        path = quote(f"{path}?{parts.query}" if parts.query else path, safe=_PATH_SAFE)
        user = None if parts.username is None else unquote(parts.username)
        word = unquote(parts.password or "")
        return cls(parts.scheme, target.host, target.port, path, user, word, target.absolute)

    @property
    def target(self) -> Target:
        """Where to connect to."""
        return Target.of(f"{self.host}." if self.absolute else self.host, self.port)

    @property
    def authority(self) -> str:
        """Host and port as the Host field has them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def whole(self) -> str:
        """All of it, secrets too; for comparing and for hashing."""
        user = "" if self.user is None else f"{self.user}:{self.password}@"
        return f"{self.scheme}://{user}{self.authority}{self.path}"

    def __str__(self) -> str:
        path, question, _ = self.path.partition("?")
        return f"{self.scheme}://{self.authority}{path}{'?...' if question else ''}"


def is_own_place(host: str) -> bool:
    """Whether a Host field names an address, or localhost, and so was typed in or configured.

    A web page's own name can be made to lead anywhere (DNS rebinding), and the browser then lets
    the page read the answer; an address cannot.
    """
    text = host.strip(" \t")
    name, colon, port = text.rpartition(":")
    if not colon or text.endswith("]"):
        name, port = text, ""
    if port and not (port.isascii() and port.isdigit()):
        return False
    if name.startswith("[") and name.endswith("]"):
        return ":" in name and packed_address(name[1:-1]) is not None
    if name.lower() in ("localhost", "localhost."):
        return True
    return ":" not in name and packed_address(name) is not None
