"""Share links: an outbound in one line, as other programs write them.

`socks5://`, `socks5h://`, `socks://` (SOCKS5), `socks4://`, `socks4a://`, `http://`, each
`scheme://[user[:password]@]host[:port][#name]` (RFC 3986; user and password percent-encoded).
A SOCKS link without a port means 1080, an HTTP one 80. Byway hands names to the proxy whenever
its protocol can carry them, so `socks5` and `socks5h` are the same. `ss://` and `trojan://` are
read by `servers.py`.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field
from urllib.parse import quote, unquote

from byway.config.model import (
    HttpOutbound,
    OutboundConfig,
    ShadowsocksOutbound,
    SocksOutbound,
    TrojanOutbound,
)
from byway.config.servers import (
    decoded_label,
    read_shadowsocks,
    read_trojan,
    write_shadowsocks,
    write_trojan,
)
from byway.values.wrong import Wrong, shown

_SCHEMES: dict[str, tuple[dict[str, str], int]] = {
    "socks5": ({"type": "socks"}, 1080),
    "socks5h": ({"type": "socks"}, 1080),
    "socks": ({"type": "socks"}, 1080),
    "socks4": ({"type": "socks", "version": "4"}, 1080),
    "socks4a": ({"type": "socks", "version": "4a"}, 1080),
    "http": ({"type": "http"}, 80),
}
_READERS = {"ss": read_shadowsocks, "trojan": read_trojan}
SCHEMES = (*_SCHEMES, *_READERS)


@dataclass(frozen=True, slots=True)
class Link:
    """A link, read: a name without secrets in it, and the outbound as a config would write it."""

    name: str
    outbound: dict[str, object] = field(repr=False)


def is_link(text: str) -> bool:
    """Whether a text is meant as a link and not as a name."""
    return "://" in text


def read_link(text: str) -> Link:
    """Read a link. Raises Wrong, whose message shows neither user nor password.

    What stands in the link's place of a server or a user is checked with the outbound.
    """
    scheme, _, rest = text.strip().partition("://")
    scheme = scheme.lower()
    if scheme in _READERS:
        label, made = _READERS[scheme](rest)
        return Link(label or f"{scheme}://{made['server']}", made)
    if scheme not in _SCHEMES:
        raise Wrong(
            f"unknown kind of link {shown(scheme + '://')}",
            f"known: {', '.join(s + '://' for s in SCHEMES)}",
            choices=SCHEMES,
        )
    outbound: dict[str, object] = dict(_SCHEMES[scheme][0])
    port = _SCHEMES[scheme][1]
    authority, label = _authority(rest)
    user, at, server = authority.rpartition("@")
    outbound["server"] = server = _with_port(server, port)
    if at:
        outbound.update(_credentials(user, scheme))
    return Link(label or f"{scheme}://{server}", outbound)


def write_link(outbound: OutboundConfig, name: str = "") -> str:
    """The link of an outbound, password included. Raises ValueError where none can say it."""
    if getattr(outbound, "via", None) is not None:
        raise ValueError("a link cannot say via")
    if getattr(outbound, "udp_over_tcp", False):
        raise ValueError("a link cannot say udp_over_tcp")
    match outbound:
        case ShadowsocksOutbound():
            return write_shadowsocks(outbound, name)
        case TrojanOutbound():
            return write_trojan(outbound, name)
        case HttpOutbound():
            scheme = "http"
        case SocksOutbound():
            scheme = "socks5" if outbound.version == "5" else f"socks{outbound.version}"
        case _:
            raise ValueError("a direct outbound has no link")
    if outbound.tls is not None:
        raise ValueError("a link cannot say tls")
    user = ""
    if outbound.username is not None:
        user = quote(outbound.username, safe="")
        if outbound.password is not None:
            user += ":" + quote(outbound.password.get_secret_value(), safe="")
        user += "@"
    label = f"#{quote(name, safe='')}" if name else ""
    return f"{scheme}://{user}{outbound.server}{label}"


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
    return authority, decoded_label(label) if slash or label else ""


def _with_port(server: str, port: int) -> str:
    if not server or (server.startswith(":") and server.count(":") == 1):
        raise Wrong("the link names no server", "scheme://user:password@host:port")
    behind = server.rpartition("]")[2] if server.startswith("[") else server
    return server if ":" in behind else f"{server}:{port}"


def _credentials(user: str, scheme: str) -> dict[str, str]:
    name, colon, password = user.partition(":")
    if scheme == "socks" and not colon:
        # some programs write socks://base64(user:password)@host:port
        try:
            decoded = base64.b64decode(unquote(name) + "==", validate=False).decode()
        except (binascii.Error, ValueError):
            decoded = ""
        if ":" in decoded and decoded.isprintable():
            name, _, password = decoded.partition(":")
            return _pair(name, password)
    return _pair(decoded_label(name), decoded_label(password))


def _pair(name: str, password: str) -> dict[str, str]:
    if not name:
        raise Wrong("the link has a password without a user")
    return {"username": name, "password": password} if password else {"username": name}
