"""Share links: the parts that several protocols write alike.

A link is `scheme://[user[:password]@]host[:port][?query][#name]` (RFC 3986; user and password
percent-encoded). What it says is checked like the rest of a config; here only its form is read.
Messages never show what may be a secret.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

from byway.transports.card import Transport
from byway.values.tls import ClientTls
from byway.values.wrong import Wrong

if TYPE_CHECKING:
    from byway.dialects.card import Written
    from byway.dialects.login import LoggedIn


def read_plain(outbound: Written, scheme: str, rest: str, port: int) -> tuple[str, Written]:
    """A link of a plain proxy: its label, and `outbound` with server and credentials."""
    authority, label = _authority(rest)
    user, at, server = authority.rpartition("@")
    found = {**outbound, "server": with_port(server, port, "scheme://user:password@host:port")}
    if at:
        found.update(_credentials(user, scheme))
    return label, found


def plain(scheme: str, outbound: LoggedIn, name: str) -> str:
    """The link of a plain proxy. Raises ValueError where none can say it."""
    if outbound.tls is not None:
        raise ValueError("a link cannot express tls")
    user = ""
    if outbound.username is not None:
        user = quote(outbound.username, safe="")
        if outbound.password is not None:
            user += ":" + quote(outbound.password.get_secret_value(), safe="")
        user += "@"
    return f"{scheme}://{user}{outbound.server}{label_of(name)}"


def label_of(name: str) -> str:
    """How a link says its name."""
    return f"#{quote(name, safe='')}" if name else ""


def encoded(text: str) -> str:
    """Percent-encoded, for a user or a password."""
    return quote(text, safe="")


def decoded(text: str) -> str:
    """Percent-encoding undone. Raises Wrong."""
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise Wrong("the link's percent-encoding is not UTF-8") from None


def from_base64(text: str) -> str | None:
    """The content of a base64 text, in either alphabet, padded or not; None for other text."""
    bare = text.replace("-", "+").replace("_", "/").rstrip("=")
    try:
        return base64.b64decode(bare + "=" * (-len(bare) % 4), validate=True).decode()
    except (binascii.Error, ValueError):
        return None


def with_port(server: str, port: int, form: str = "scheme://...@host:port") -> str:
    """The server of a link; `port` where it has none. Raises Wrong."""
    server = server.rstrip("/")
    if not server or (server.startswith(":") and server.count(":") == 1):
        raise Wrong("the link has no host", form)
    if "/" in server:
        raise Wrong("a link with a path", form)
    behind = server.rpartition("]")[2] if server.startswith("[") else server
    return server if ":" in behind else f"{server}:{port}"


def unkept(query: Mapping[str, str], read: Collection[str]) -> Iterator[str]:
    """The parameters of a link that are not read."""
    for key, value in query.items():
        if key not in read and value not in ("0", "false", "none"):
            yield f"{key[:40]} is not kept"


def tls_said(query: Mapping[str, str]) -> Written:
    """The TLS section of a link's query."""
    tls: Written = {}
    if name := query.get("sni") or query.get("peer"):
        tls["sni"] = name
    if query.get("alpn"):
        tls["alpn"] = query["alpn"].split(",")
    insecure = query.get("allowInsecure") or query.get("insecure") or query.get("allow_insecure")
    if insecure in ("1", "true"):
        tls["insecure"] = True
    return tls


def tls_query(tls: ClientTls) -> dict[str, str]:
    """The query of a link that says TLS so. Raises ValueError where none can."""
    for key in ("ca", "pin", "cert"):
        if getattr(tls, key):
            raise ValueError(f"a link cannot express tls.{key}")
    said = {}
    if tls.sni is not None:
        said["sni"] = tls.sni
    if tls.alpn:
        said["alpn"] = ",".join(tls.alpn)
    if tls.insecure:
        said["allowInsecure"] = "1"
    return said


def transport_query(transport: Transport | None) -> dict[str, str]:
    """The query of a link that says the transport so. Raises ValueError where none can."""
    return {} if transport is None else {"type": transport.type, **transport.link_query()}


def query_of(said: Mapping[str, str]) -> str:
    """The query of a link, with its question mark."""
    parts = [f"{key}={quote(value, safe=',/')}" for key, value in said.items()]
    return "?" + "&".join(parts) if parts else ""


def _authority(rest: str) -> tuple[str, str]:
    """The part that names user and server, and the label behind #."""
    body, _, label = rest.partition("#")
    body, query, _ = body.partition("?")
    authority, slash, path = body.partition("/")
    if "@" in rest[len(authority) :]:
        raise Wrong(
            "a link with / ? or # in its user or password", "percent-encode them: %2F %3F %23"
        )
    if query or path:
        raise Wrong("a link with a path or a query", "scheme://user:password@host:port")
    return authority, decoded(label) if slash or label else ""


def _credentials(user: str, scheme: str) -> dict[str, str]:
    name, colon, password = user.partition(":")
    if scheme == "socks" and not colon:
        # some programs write socks://base64(user:password)@host:port
        try:
            opened = base64.b64decode(unquote(name) + "==", validate=False).decode()
        except (binascii.Error, ValueError):
            opened = ""
        if ":" in opened and opened.isprintable():
            name, _, password = opened.partition(":")
            return _pair(name, password)
    return _pair(decoded(name), decoded(password))


def _pair(name: str, password: str) -> dict[str, str]:
    if not name and not password:  # `:@host`, and `Og==`, which is the base64 of the colon
        return {}
    if not name:
        raise Wrong("the link has a password without a user")
    return {"username": name, "password": password} if password else {"username": name}
