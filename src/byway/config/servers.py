"""Encrypted proxies as other programs write them: `ss://` and `trojan://` links, SIP008 documents.

What a link says is checked like the rest of a config; here only its form is read. Messages never
show what may be a secret.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping
from urllib.parse import parse_qsl, quote, unquote

from byway.config.model import ShadowsocksOutbound, TrojanOutbound
from byway.protocols.shadowsocks import METHODS, why_refused
from byway.values.tls import ClientTls
from byway.values.wrong import Wrong, shown

Outbound = dict[str, object]

PLUGINS = {
    "simple-obfs": "obfs-local",
    "obfs-local": "obfs-local",
    "v2ray-plugin": "v2ray-plugin",
    "xray-plugin": "xray-plugin",
    "ss-v2ray-plugin": "ss-v2ray-plugin",
    "gost-plugin": "gost-plugin",
    "kcptun": "kcptun",
}
"""Plugins that a link may name. A link comes from somebody else and must not start any program."""

_ALIASES = {
    "chacha20-poly1305": "chacha20-ietf-poly1305",
    "aead_aes_128_gcm": "aes-128-gcm",
    "aead_aes_256_gcm": "aes-256-gcm",
    "aead_chacha20_poly1305": "chacha20-ietf-poly1305",
}
"""What v2ray and go-shadowsocks2 call methods, in links that others made of it."""

_SS_FORM = "ss://base64(method:password)@host:port"
_TROJAN_FORM = "trojan://password@host:port?sni=name"


def read_shadowsocks(rest: str) -> tuple[str, Outbound]:
    """What stands behind `ss://` (SIP002, or all of it in base64): a label and an outbound."""
    body, _, label = rest.partition("#")
    front, _, query = body.partition("?")
    if "@" not in front:
        decoded = _base64(front.rstrip("/"))
        if decoded is None or "@" not in decoded:
            raise Wrong("the link is neither SIP002 nor the old form", _SS_FORM)
        secret, _, server = decoded.rpartition("@")
    else:
        user, _, server = front.rpartition("@")
        secret = _opened(user)
    method, colon, password = secret.partition(":")
    if not colon or not password:
        raise Wrong("the link has no method and password", _SS_FORM)
    outbound: Outbound = {
        "type": "shadowsocks",
        "server": _server(server, 8388),
        "method": _method(method),
        "password": password,
    }
    outbound.update(_plugin(dict(parse_qsl(query)).get("plugin", "")))
    return decoded_label(label), outbound


def read_trojan(rest: str) -> tuple[str, Outbound]:
    """What stands behind `trojan://`: a label and an outbound."""
    body, _, label = rest.partition("#")
    front, _, query = body.partition("?")
    password, at, server = front.rpartition("@")
    if not at or not password:
        raise Wrong("the link has no password", _TROJAN_FORM)
    said = dict(parse_qsl(query))
    if (way := said.get("type", "tcp")) not in ("tcp", "original", ""):
        raise Wrong(f"trojan over {shown(way)} is not spoken", "only over TLS itself")
    if said.get("security", "tls") not in ("tls", ""):
        raise Wrong("trojan without TLS is not spoken")
    tls: dict[str, object] = {}
    if name := said.get("sni") or said.get("peer"):
        tls["sni"] = name
    if said.get("alpn"):
        tls["alpn"] = said["alpn"].split(",")
    insecure = said.get("allowInsecure") or said.get("insecure") or said.get("allow_insecure")
    if insecure in ("1", "true"):
        tls["insecure"] = True
    outbound: Outbound = {
        "type": "trojan",
        "server": _server(server, 443),
        "password": decoded_label(password),
    }
    return decoded_label(label), outbound | ({"tls": tls} if tls else {})


def write_shadowsocks(outbound: ShadowsocksOutbound, name: str = "") -> str:
    """The SIP002 link, password included."""
    password = outbound.password.get_secret_value()
    if METHODS[outbound.method].is_2022:
        user = f"{outbound.method}:{quote(password, safe='')}"
    else:
        user = base64.urlsafe_b64encode(f"{outbound.method}:{password}".encode()).decode()
    link = f"ss://{user.rstrip('=')}@{outbound.server}"
    if outbound.plugin is not None:
        program = outbound.plugin.rpartition("/")[2]  # where it lies is this host's affair
        told = ";".join(filter(None, (program, outbound.plugin_opts)))
        link += f"/?plugin={quote(told, safe='')}"
    return link + _label(name)


def write_trojan(outbound: TrojanOutbound, name: str = "") -> str:
    """The link, password included. Raises ValueError for trust that no link can say."""
    tls = outbound.tls
    for key in ("ca", "pin", "cert"):
        if getattr(tls, key):
            raise ValueError(f"a link cannot say tls.{key}")
    query = _query(tls)
    password = quote(outbound.password.get_secret_value(), safe="")
    return f"trojan://{password}@{outbound.server}{query}{_label(name)}"


def read_document(text: str) -> list[tuple[str, Outbound]]:
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


def decoded_label(text: str) -> str:
    """Percent-encoding undone."""
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise Wrong("the link's percent-encoding is not UTF-8") from None


def _entry(at: int, server: object) -> tuple[str, Outbound]:
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
    outbound: Outbound = {
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
        hint = f"it stands before the password; known here: {', '.join(METHODS)}"
        raise Wrong("the link's method is not known", hint)
    return name


def _plugin(told: str) -> Outbound:
    if not told:
        return {}
    name, _, options = told.partition(";")
    plugin = PLUGINS.get(name)
    if plugin is None:
        hint = f"put it into a config; known here: {', '.join(PLUGINS)}"
        raise Wrong(f"a link may not start the program {shown(name)}", hint)
    found: Outbound = {"plugin": plugin}
    return found | ({"plugin_opts": options} if options else {})


def _opened(user: str) -> str:
    """The method and password of SIP002: plain and percent-encoded, or base64."""
    if ":" in user or "%3A" in user.upper():
        return decoded_label(user)
    decoded = _base64(decoded_label(user))
    if decoded is None:
        raise Wrong("the link's method and password are not base64", _SS_FORM)
    return decoded


def _base64(text: str) -> str | None:
    """Either alphabet, with or without padding; None when it is none."""
    plain = text.replace("-", "+").replace("_", "/").rstrip("=")
    try:
        return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True).decode()
    except (binascii.Error, ValueError):
        return None


def _server(server: str, port: int) -> str:
    server = server.rstrip("/")
    if not server or (server.startswith(":") and server.count(":") == 1):
        raise Wrong("the link names no server", "scheme://...@host:port")
    if "/" in server:
        raise Wrong("a link with a path", "scheme://...@host:port")
    behind = server.rpartition("]")[2] if server.startswith("[") else server
    return server if re.search(r":", behind) else f"{server}:{port}"


def _query(tls: ClientTls) -> str:
    said = []
    if tls.sni is not None:
        said.append(f"sni={quote(tls.sni, safe='')}")
    if tls.alpn:
        said.append(f"alpn={quote(','.join(tls.alpn), safe=',/')}")
    if tls.insecure:
        said.append("allowInsecure=1")
    return "?" + "&".join(said) if said else ""


def _label(name: str) -> str:
    return f"#{quote(name, safe='')}" if name else ""
