"""Shadowsocks as other programs write it: `ss://` links (SIP002) and SIP008 documents.

Messages never show what may be a secret.
"""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Iterator, Mapping
from urllib.parse import parse_qsl, quote

from byway.dialects import links
from byway.dialects.card import Written
from byway.dialects.passwords import SECRET_BYTES
from byway.flow import Target
from byway.protocols.shadowsocks import METHODS, SUGGESTED, Method, why_refused
from byway.protocols.shadowsocks2022 import new_key
from byway.values.wrong import Wrong, shown

PORT = 8388
FORM = "ss://base64(method:password)@host:port"
SECRETS = tuple(METHODS)
PLUGINS = {
    "simple-obfs": "obfs-local",
    "obfs-local": "obfs-local",
    "v2ray-plugin": "v2ray-plugin",
    "xray-plugin": "xray-plugin",
    "ss-v2ray-plugin": "ss-v2ray-plugin",
    "gost-plugin": "gost-plugin",
    "kcptun": "kcptun",
}
"""Plugins that a link may name. A link comes from outside and must not start any program."""

_READ = {"plugin", "uot", "group", "remarks", "tfo", "udp"}
"""The parameters of links that are read, or change nothing that is carried."""

_ALIASES = {
    "chacha20-poly1305": "chacha20-ietf-poly1305",
    "aead_aes_128_gcm": "aes-128-gcm",
    "aead_aes_256_gcm": "aes-256-gcm",
    "aead_chacha20_poly1305": "chacha20-ietf-poly1305",
}
"""Names of methods in v2ray and go-shadowsocks2, as found in links."""


def read_link(scheme: str, rest: str) -> tuple[str, Written]:
    """Label and outbound of the text behind `ss://` (SIP002, or all of it in base64)."""
    body, _, label = rest.partition("#")
    front, _, query = body.partition("?")
    if "@" not in front:
        opened = links.from_base64(front.rstrip("/"))
        if opened is None or "@" not in opened:
            raise Wrong("the link is neither SIP002 nor the old form", FORM)
        secret, _, server = opened.rpartition("@")
    else:
        user, _, server = front.rpartition("@")
        secret = _opened(user)
    method, colon, password = secret.partition(":")
    if not colon or not password:
        raise Wrong("the link has no method and password", FORM)
    outbound: Written = {
        "type": "shadowsocks",
        "server": links.with_port(server, PORT),
        "method": _method(method),
        "password": password,
    }
    said = dict(parse_qsl(query))
    outbound.update(_plugin(said.get("plugin", "")))
    if said.get("uot") == "2":
        outbound["udp_over_tcp"] = True
    return links.decoded(label), outbound


def write_link(server: Target, method: Method, password: str, plugin: str | None, name: str) -> str:
    """The SIP002 link, password included; `plugin` is its program and options."""
    if method.is_2022:
        user = f"{method.name}:{quote(password, safe='')}"
    else:
        user = base64.urlsafe_b64encode(f"{method.name}:{password}".encode()).decode()
    query = "" if plugin is None else f"/?plugin={quote(plugin, safe='')}"
    return f"ss://{user.rstrip('=')}@{server}{query}{links.label_of(name)}"


def read_document(text: str) -> list[tuple[str, Written]]:
    """The servers of a SIP008 document, or of a config file of shadowsocks: labels, outbounds."""
    try:
        document = json.loads(text)
    except ValueError as error:
        raise Wrong(f"not JSON: {error}") from None
    if not isinstance(document, dict):
        raise Wrong("not a SIP008 document", '{"version": 1, "servers": [...]}')
    servers = document.get("servers", [document] if "server" in document else None)
    if not isinstance(servers, list) or not servers:
        raise Wrong("the document has no servers", '{"version": 1, "servers": [...]}')
    if document.get("version", 1) != 1:
        raise Wrong("the document is of another version than 1")
    return [_entry(at, server) for at, server in enumerate(servers)]


def unkept(query: Mapping[str, str]) -> Iterator[str]:
    """Parameters of a link that no outbound supports."""
    yield from links.unkept(query, _READ)
    if query.get("uot", "0") not in ("0", "2", "false"):
        yield "UDP over TCP (uot) is supported in version 2 only: not kept"


def new_secret(word: str) -> str | None:
    """A new password or key for a method. Raises ValueError for one that is refused."""
    if why := why_refused(word):
        raise ValueError(f"{why}; use {SUGGESTED}")
    method = METHODS.get(word.lower())
    if method is None:
        return None
    if method.is_2022:
        return new_key(method, secrets.token_bytes(method.size))
    return base64.urlsafe_b64encode(secrets.token_bytes(SECRET_BYTES)).decode("ascii")


def _entry(at: int, server: object) -> tuple[str, Written]:
    if not isinstance(server, Mapping):
        raise Wrong("a server is a mapping", key=("servers", at))
    found = {}
    for key in ("server", "password", "method"):
        value = server.get(key)
        if not isinstance(value, str) or not value:
            raise Wrong(f"{key} is missing, or no text", key=("servers", at))
        found[key] = value
    port = server.get("server_port")
    if not isinstance(port, int) or isinstance(port, bool):
        raise Wrong("server_port is missing, or no number", key=("servers", at))
    host = found["server"]
    place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    label = server.get("remarks") or server.get("id") or ""
    plugin, options = server.get("plugin") or "", server.get("plugin_opts") or ""
    outbound: Written = {
        "type": "shadowsocks",
        "server": place,
        "method": _ALIASES.get(found["method"].lower(), found["method"]),
        "password": found["password"],
    }
    outbound.update(_plugin(";".join(filter(None, (str(plugin), str(options))))))
    return str(label), outbound


def _method(name: str) -> str:
    """The method by our name. What stands in its place may be the password, so it is not shown."""
    name = _ALIASES.get(name.lower(), name)
    if name.lower() not in METHODS and why_refused(name) is None:
        hint = f"it comes before the password; known here: {', '.join(METHODS)}"
        raise Wrong("the link's method is not known", hint)
    return name


def _plugin(text: str) -> Written:
    if not text:
        return {}
    name, _, options = text.partition(";")
    plugin = PLUGINS.get(name)
    if plugin is None:
        hint = f"put it into a config; known here: {', '.join(PLUGINS)}"
        raise Wrong(f"a link may not start the program {shown(name)}", hint)
    found: Written = {"plugin": plugin}
    return found | ({"plugin_opts": options} if options else {})


def _opened(user: str) -> str:
    """The method and password of SIP002: plain and percent-encoded, or base64."""
    if ":" in user or "%3A" in user.upper():
        return links.decoded(user)
    opened = links.from_base64(links.decoded(user))
    if opened is None:
        raise Wrong("the link's method and password are not base64", FORM)
    return opened
