"""sing-box: the whole file. `singbox_rules.py` reads its rules and sets."""

from __future__ import annotations

from byway.dialects.shadowsocks.links import PLUGINS
from byway.importing import singbox_dns, singbox_rules
from byway.importing.draft import Draft, Section, Way
from byway.importing.links import NOT_YET
from byway.importing.source import (
    Fields,
    endpoint,
    fields,
    flag,
    items,
    mark_of,
    number,
    probe,
    said,
    text,
    texts,
)
from byway.values.written import Node

_LEVELS = {
    "trace": "debug", "debug": "debug", "info": "info", "warn": "warning", "error": "error",
    "fatal": "error", "panic": "error",
}  # fmt: skip
_TOP = {"log", "inbounds", "outbounds", "route", "dns", "$schema"}
_REASONS = {
    "experimental": "Byway is asked by a unix socket (see control)",
    "endpoints": "VPNs are not there yet",
    "ntp": "the clock is the system's",
    "services": "there is no such thing here",
    "certificate": "the authorities are the system's; see tls.ca",
}
_OUTBOUND_DONE = {
    "type", "tag", "server", "server_port", "method", "password", "username", "version",
    "plugin", "plugin_opts", "detour", "tls", "network", "bind_interface", "inet4_bind_address",
    "inet6_bind_address", "routing_mark", "domain_resolver", "domain_strategy", "outbounds",
    "default", "tolerance", "url", "interval", "idle_timeout", "interrupt_exist_connections",
    "transport", "multiplex", "udp_over_tcp",
}  # fmt: skip
_SILENT = {"tcp_fast_open", "tcp_multi_path", "udp_fragment", "connect_timeout", "fallback_delay"}
_TLS_DONE = {
    "enabled", "server_name", "alpn", "certificate_path", "certificate_public_key_sha256",
    "insecure", "reality",
}  # fmt: skip
_INBOUND_DONE = {
    "type", "tag", "listen", "listen_port", "users", "method", "password", "tls", "network",
    "override_address", "override_port", "sniff", "sniff_override_destination", "sniff_timeout",
    "domain_strategy", "set_system_proxy", "tcp_fast_open", "tcp_multi_path", "udp_timeout",
    "fallback",
}  # fmt: skip


def read(root: Node, draft: Draft) -> None:
    """Take over all of a file that has a meaning here."""
    top = fields(root)
    for key, node in top.items():
        if key not in _TOP and node.content:
            draft.note(node.line, key, _REASONS.get(key, "there is no such thing here"))
    log = fields(top.get("log"))
    level = _LEVELS.get(text(log.get("level")).lower(), "info")
    if level != "info":
        draft.plain["log"] = {"level": level}
    if flag(log.get("disabled")):
        draft.plain["log"] = {"level": "error", "flows": False}
    inbounds = list(items(top.get("inbounds")))
    for node in inbounds:
        _inbound(node, draft)
    tags = []
    answering = set()
    for node in items(top.get("outbounds")):
        kind = text(fields(node).get("type"))
        tag = text(fields(node).get("tag")) or kind
        tags.append(tag)
        if kind == "dns":
            answering.add(tag)
        _outbound(tag, node, draft)
    resolved = _resolved(inbounds, draft)
    route = fields(top.get("route"))
    singbox_rules.read(route, tags, answering, resolved, draft)
    singbox_dns.read(fields(top.get("dns")), list(items(top.get("outbounds"))), route, draft)


# Ways in.


def _inbound(node: Node, draft: Draft) -> None:
    found = fields(node)
    kind = text(found.get("type"))
    tag = text(found.get("tag")) or kind
    if kind not in ("mixed", "http", "socks", "direct", "shadowsocks", "trojan"):
        draft.note(node.line, tag, f"an inbound of type {kind or '?'} is not there yet")
        return
    host, port = text(found.get("listen")) or "127.0.0.1", number(found.get("listen_port"))
    content: Section = {"type": kind, "listen": endpoint(host, port)}
    beyond = not host.startswith("127.") and host != "::1"
    users: list[Section] = [
        {
            "name": text(one.get("username")) or text(one.get("name")),
            "password": text(one.get("password")),
        }
        for one in map(fields, items(found.get("users")))
    ]
    if kind == "direct":
        target = endpoint(text(found.get("override_address")), number(found.get("override_port")))
        content |= {"type": "forward", "target": target}
        content["network"] = texts(found.get("network")) or ["tcp", "udp"]
        if beyond:
            _opened(content, tag, node.line, draft)
    elif kind == "trojan":
        site = fields(found.get("fallback"))
        if not site or not flag(fields(found.get("tls")).get("enabled")):
            draft.note(node.line, tag, "is not kept: trojan needs TLS and a web site (fallback)")
            return
        to = endpoint(text(site.get("server")) or "127.0.0.1", number(site.get("server_port")))
        content |= {"users": users, "fallback": to}
    elif kind == "shadowsocks":
        content |= {"method": text(found.get("method")), "password": text(found.get("password"))}
        if users:
            content["users"] = users
    elif users:
        content["users"] = users
    elif beyond:
        _opened(content, tag, node.line, draft)
    tls = fields(found.get("tls"))
    if flag(tls.get("enabled")):
        cert, key = text(tls.get("certificate_path")), text(tls.get("key_path"))
        if not cert or not key or kind in ("direct", "shadowsocks"):
            draft.note(node.line, tag, "its TLS is not kept, and so neither is it")
            return
        alpn = texts(tls.get("alpn"))
        content["tls"] = {"cert": cert, "key": key} | ({"alpn": alpn} if alpn else {})
    for name, value in found.items():
        if name not in _INBOUND_DONE and said(value):
            draft.note(value.line, tag, f"{name} is not kept")
    if flag(found.get("set_system_proxy")):
        draft.note(found["set_system_proxy"].line, tag, "run it with: byway run --system-proxy")
    draft.inbound(tag, node.line, content)


def _resolved(nodes: list[Node], draft: Draft) -> singbox_rules.Resolved:
    """The flows that inbounds with a `domain_strategy` resolve before any rule."""
    found = []
    for node in nodes:
        name = text(fields(node).get("tag")) or text(fields(node).get("type"))
        ours = [key for key, item in draft.entries["inbounds"].items() if item.what == name]
        if text(fields(node).get("domain_strategy")):
            found += ours
    if len(found) == len(draft.entries["inbounds"]) and found:
        return [singbox_rules.EVERY]
    return [{"inbound": found}] if found else []


def _opened(content: Section, tag: str, line: int, draft: Draft) -> None:
    content["open"] = True
    draft.note(line, tag, "anybody who reaches it may use it (open: true)")


# Ways out.


def _outbound(tag: str, node: Node, draft: Draft) -> None:
    found = fields(node)
    kind = text(found.get("type"))
    content: Section | None
    match kind:
        case "direct":
            content = _direct(found)
            if not content and not found.get("detour"):
                draft.verdict(tag, "direct")
                return
            content = {"type": "direct", **content}
        case "block":
            draft.verdict(tag, "reject")
            return
        case "dns":
            draft.lost(tag, node.line, "Byway does not answer the names of others yet")
            return
        case "selector" | "urltest":
            _group(tag, kind, node, found, draft)
            return
        case "socks" | "http" | "shadowsocks" | "trojan":
            content = _proxied(tag, kind, node, found, draft)
            if content is None:
                return
        case _:
            draft.lost(tag, node.line, f"{NOT_YET.get(kind, kind or '?')} is not spoken yet")
            return
    if via := text(found.get("detour")):
        content["via"] = Way(via)
    elif kind != "direct":
        _leaving(tag, found, content, draft)
    for key, value in found.items():
        if key not in _OUTBOUND_DONE | _SILENT and said(value):
            draft.note(value.line, tag, f"{key} is not kept")
    if flag(fields(found.get("multiplex")).get("enabled")):
        draft.note(found["multiplex"].line, tag, "multiplexing is not there yet")
    _over_tcp(tag, found.get("udp_over_tcp"), content, draft)
    draft.outbound(tag, node.line, content)


def _leaving(tag: str, found: Fields, content: Section, draft: Draft) -> None:
    """How the proxy itself is reached: by an interface, from an address, under a mark."""
    leaving = _direct(found)
    if leaving and "plugin" in content:
        draft.note(0, tag, f"{', '.join(leaving)} cannot be said beside a plugin: not kept")
    elif leaving:
        content["via"] = draft.leaving_by(leaving)


def _over_tcp(tag: str, node: Node | None, content: Section, draft: Draft) -> None:
    """Packets inside a connection: version 2 is what `true` means, and what is spoken here."""
    if node is None or not (flag(node) or flag(fields(node).get("enabled"))):
        return
    if content["type"] not in ("http", "socks", "shadowsocks"):
        draft.note(node.line, tag, "udp_over_tcp is not kept")
    elif number(fields(node).get("version")) not in (0, 2):
        draft.note(node.line, tag, "udp_over_tcp is spoken in version 2 only: not kept")
    else:
        content["udp_over_tcp"] = True


def _direct(found: Fields) -> Section:
    content: Section = {}
    if interface := text(found.get("bind_interface")):
        content["interface"] = interface
    bind = text(found.get("inet4_bind_address")) or text(found.get("inet6_bind_address"))
    if bind:
        content["bind"] = bind
    if mark := mark_of(found.get("routing_mark")):
        content["mark"] = mark
    return content


def _proxied(tag: str, kind: str, node: Node, found: Fields, draft: Draft) -> Section | None:
    if way := text(fields(found.get("transport")).get("type")):
        draft.lost(tag, node.line, f"{kind} over {way} is not spoken yet")
        return None
    server = endpoint(text(found.get("server")), number(found.get("server_port")))
    content: Section = {"type": kind, "server": server}
    networks = texts(found.get("network"))
    if kind == "shadowsocks" and networks:
        content["network"] = networks
    elif "udp" not in (networks or ["udp"]) and kind != "http":
        draft.note(found["network"].line, tag, "network: tcp is not kept: it carries UDP here")
    elif "tcp" not in (networks or ["tcp"]):
        draft.note(found["network"].line, tag, "network: udp is not kept: it carries TCP here")
    if kind == "socks" and "version" in found:
        content["version"] = text(found["version"])
    for key in ("method", "username", "password", "plugin", "plugin_opts"):
        if word := text(found.get(key)):
            content[key] = word
    if (plugin := text(found.get("plugin"))) and plugin not in PLUGINS:
        draft.lost(tag, node.line, f"the plugin {plugin[:40]!r} is not known here")
        return None
    tls = fields(found.get("tls"))
    if not flag(tls.get("enabled")):
        if kind == "trojan":
            draft.lost(tag, node.line, "trojan without TLS is not spoken")
            return None
        return content
    if flag(fields(tls.get("reality")).get("enabled")):
        draft.lost(tag, node.line, "REALITY is not spoken yet")
        return None
    made: Section = {}
    if sni := text(tls.get("server_name")):
        made["sni"] = sni
    if alpn := texts(tls.get("alpn")):
        made["alpn"] = alpn
    if ca := text(tls.get("certificate_path")):
        made["ca"] = ca
    if pins := texts(tls.get("certificate_public_key_sha256")):
        made["pin"] = pins
    elif flag(tls.get("insecure")):
        made["insecure"] = True
        draft.note(tls["insecure"].line, tag, "trusts anyone, as the file says; pin it")
    for key, part in tls.items():
        if key not in _TLS_DONE and said(part):
            draft.note(part.line, tag, f"tls.{key} is not kept")
    return content | ({"tls": made} if made or kind != "trojan" else {})


def _group(tag: str, kind: str, node: Node, found: Fields, draft: Draft) -> None:
    content: Section = {
        "type": "select" if kind == "selector" else "fastest",
        "members": [Way(one) for one in texts(found.get("outbounds"))],
    }
    if default := text(found.get("default")):
        content["default"] = Way(default)
    if tolerance := number(found.get("tolerance")):
        content["tolerance"] = f"{min(tolerance, 10_000)}ms"
    if kind == "urltest":
        content |= probe(found)
    draft.group(tag, node.line, content)
