"""sing-box: the whole file. `singbox_rules.py` reads its rules and sets."""

from __future__ import annotations

from byway import dialects
from byway.importing import singbox_dns, singbox_rules
from byway.importing.draft import Draft, Section, Way
from byway.importing.links import NOT_YET
from byway.importing.source import probe
from byway.muxes import sing
from byway.values.foreign import (
    Fields,
    Foreign,
    NotCarried,
    endpoint,
    fields,
    flag,
    items,
    mark_of,
    number,
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
    "experimental": "Byway has a unix socket instead (see control)",
    "endpoints": "VPNs are not supported yet",
    "ntp": "the clock is the system's",
    "services": "Byway has no equivalent",
    "certificate": "the authorities are the system's; see tls.ca",
}
_OUT = (
    "type", "tag", "server", "server_port", "detour", "bind_interface", "inet4_bind_address",
    "inet6_bind_address", "routing_mark", "domain_resolver", "domain_strategy", "transport",
    "multiplex", "tcp_fast_open", "tcp_multi_path", "udp_fragment", "connect_timeout",
    "fallback_delay", "network",
)  # fmt: skip
"""What every outbound may have, read here or without a meaning for what is carried."""
_IN = (
    "type", "tag", "listen", "listen_port", "users", "sniff", "sniff_override_destination",
    "sniff_timeout", "domain_strategy", "set_system_proxy", "tcp_fast_open", "tcp_multi_path",
    "udp_timeout", "network",
)  # fmt: skip
"""The same of inbounds."""


def read(root: Node, draft: Draft) -> None:
    """Take over all of a file that has a meaning here."""
    top = fields(root)
    for key, node in top.items():
        if key not in _TOP and node.content:
            draft.note(node.line, key, _REASONS.get(key, "Byway has no equivalent"))
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
    read = dialects.foreign("sing_box").entering.get(kind)
    if read is None:
        draft.note(node.line, tag, f"an inbound of type {kind or '?'} is not supported yet")
        return
    entry = Foreign(found, lambda at, why: draft.note(at, tag, why), node.line)
    entry.pass_over(*_IN)
    try:
        made = read(entry)
    except NotCarried as error:
        draft.note(node.line, tag, str(error))
        return
    host, port = entry.text("listen") or "127.0.0.1", entry.number("listen_port")
    section = dialects.inbound(str(made["type"]))
    place: Section = {"listen": endpoint(host, port)} if "listen" in section.model_fields else {}
    content: Section = {"type": made.pop("type"), **place, **made}
    users = [
        {"name": one.text("username", "name"), "password": one.text("password")}
        for one in entry.parts("users")
    ]
    beyond = not host.startswith("127.") and host != "::1"
    if users and "users" in section.model_fields:
        content.setdefault("users", users)
    elif beyond and "open" in section.model_fields:
        _opened(content, tag, node.line, draft)
    entry.tell_unread()
    if entry.flag("sniff"):
        over = entry.flag("sniff_override_destination")
        draft.plain["names"] = {"sniffed": "dial" if over else "judge"}
    if entry.flag("set_system_proxy"):
        entry.note("set_system_proxy", "use byway run --system-proxy")
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
    draft.note(line, tag, "anyone who can reach it may use it (open: true)")


# Ways out.


def _outbound(tag: str, node: Node, draft: Draft) -> None:
    found = fields(node)
    entry = Foreign(found, lambda at, why: draft.note(at, tag, why), node.line)
    kind = entry.text("type")
    entry.pass_over(*_OUT)
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
            draft.gone[tag] = "it answers queries: rules to it become dns.hijack"
            return
        case "selector" | "urltest":
            _group(tag, kind, node, found, draft)
            return
        case _:
            made = _proxied(tag, kind, entry, draft)
            if made is None:
                return
            content = made
    if via := entry.text("detour"):
        content["via"] = Way(via)
    elif kind != "direct":
        _leaving(tag, found, content, draft)
    entry.tell_unread()
    if entry.enabled("multiplex"):
        content["mux"] = sing.of_sing_box(entry)
    draft.outbound(tag, node.line, content)


def _leaving(tag: str, found: Fields, content: Section, draft: Draft) -> None:
    """How the proxy itself is reached: by an interface, from an address, under a mark."""
    leaving = _direct(found)
    if leaving and "plugin" in content:
        draft.note(
            0, tag, f"{', '.join(leaving)} is not supported together with a plugin: not kept"
        )
    elif leaving:
        content["via"] = draft.leaving_by(leaving)


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


def _proxied(tag: str, kind: str, entry: Foreign, draft: Draft) -> Section | None:
    read = dialects.foreign("sing_box").leaving.get(kind)
    if read is None:
        draft.lost(tag, entry.line, f"{NOT_YET.get(kind, kind or '?')} is not supported yet")
        return None
    try:
        made = read(entry)
    except NotCarried as error:
        draft.lost(tag, entry.line, str(error))
        return None
    if "transport" not in made and (way := entry.part("transport").text("type")):
        draft.lost(tag, entry.line, f"{kind} over {way} is not supported yet")
        return None
    server = endpoint(entry.text("server"), entry.number("server_port"))
    return {"type": made.pop("type"), "server": server, **made}


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
