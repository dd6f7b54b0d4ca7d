"""Clash and mihomo: the whole file. `clash_proxies.py` reads ways out, `clash_rules.py` rules."""

from __future__ import annotations

from pathlib import Path

from byway import dialects
from byway.config.rules.setitems import fault
from byway.importing import clash_dns, clash_proxies, clash_rules, geosites
from byway.importing.draft import OTHERWISE, Draft, Section, Way
from byway.rules.gathering import is_prefix
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

_OWN = "Byway does this differently"
_DONE = {
    "proxies", "proxy-groups", "proxy-providers", "rule-providers", "rules", "rule", "sub-rules",
    "allow-lan", "bind-address", "authentication",
    "listeners", "tunnels", "log-level", "dns", "hosts", "ipv6", "mode", "interface-name",
    "routing-mark", "sniffer",
}  # fmt: skip
_REASONS = {
    "external-controller": "Byway has a unix socket instead (see control)",
    "external-controller-unix": "Byway has a unix socket instead (see control)",
    "secret": "Byway has a unix socket instead (see control)",
    "external-ui": "there is no web interface",
    "profile": _OWN,
    "unified-delay": _OWN,
    "tcp-concurrent": _OWN,
    "find-process-mode": "processes are found when a rule needs them",
    "global-client-fingerprint": "fingerprints of browsers are not imitated",
    "geox-url": "databases are not fetched: see geo",
    "geodata-mode": "set databases in geo",
    "geo-auto-update": "databases are not fetched: see geo",
    "ntp": "the clock is the system's",
    "skip-auth-prefixes": "users are required everywhere",
    "lan-allowed-ips": "write a rule with source",
    "lan-disallowed-ips": "write a rule with source",
}
_LEVELS = {"debug": "debug", "info": "info", "warning": "warning", "error": "error"}


def read(root: Node, draft: Draft) -> None:
    """Take over all of a file that has a meaning here."""
    top = fields(root)
    mode = text(top.get("mode")).lower()
    _settings(top, draft)
    _inbounds(top, draft)
    clash_proxies.read(top, draft)
    clash_rules.databases(draft)
    geox = fields(top.get("geox-url"))
    draft.geosite_url = text(geox.get("geosite")) or geosites.MIHOMO
    _providers(top.get("rule-providers"), draft)
    clash_rules.read(top, draft)
    clash_dns.read(top, draft)
    if mode in ("global", "direct"):
        draft.rules.clear()
        draft.otherwise = {"otherwise": "direct" if mode == "direct" else _first_way(draft)}
        draft.note(
            top["mode"].line, f"mode: {mode}", "the rules are skipped, as this mode requires"
        )


def _first_way(draft: Draft) -> str:
    if draft.known("GLOBAL"):
        return Way("GLOBAL")
    for section in ("groups", "outbounds"):
        for item in draft.entries[section].values():
            return Way(item.what)
    return "reject" if draft.gone else "direct"


def _settings(top: Fields, draft: Draft) -> None:
    opening = {*dialects.ports("clash"), *dialects.sections("clash")}
    level = text(top.get("log-level")).lower()
    if level == "silent":
        draft.plain["log"] = {"level": "error", "flows": False}
    elif level in _LEVELS and level != "info":
        draft.plain["log"] = {"level": _LEVELS[level]}
    for key, node in top.items():
        if key in _DONE or key in opening or (key in _REASONS and not flag(_enabled(node))):
            continue
        draft.note(node.line, key, _REASONS.get(key, "Byway has no equivalent"))
    direct: Section = {}
    if interface := text(top.get("interface-name")):
        direct["interface"] = interface
    if mark := mark_of(top.get("routing-mark")):
        direct["mark"] = mark
    draft.verdict("DIRECT", "direct")
    if direct:
        key = "interface-name" if "interface" in direct else "routing-mark"
        draft.direct(top[key].line, direct)


def _enabled(node: Node) -> Node:
    """What says whether a section is in use; the value itself when it is no section."""
    if isinstance(node.content, dict):
        return fields(node).get("enable", Node("false"))
    return Node("true" if text(node) not in ("", "0", "false") else "false")


# Ways in.


def _inbounds(top: Fields, draft: Draft) -> None:
    lan, bind = flag(top.get("allow-lan")), text(top.get("bind-address")) or "*"
    users = [_user(word) for word in texts(top.get("authentication"))]
    host = "127.0.0.1" if not lan else "0.0.0.0" if bind in ("*", "0.0.0.0") else bind  # noqa: S104
    for key, kind in dialects.ports("clash").items():
        if port := number(top.get(key)):
            listen: object = endpoint(host, port)
            if lan and bind == "*":
                listen = [f"0.0.0.0:{port}", f"[::]:{port}"]
            content: Section = {"type": kind, "listen": listen}
            if "open" in dialects.inbound(kind).model_fields:
                _closed(content, users, lan, top[key].line, draft)
            draft.inbound(kind, top[key].line, content)
    for key in sorted(dialects.sections("clash") & top.keys()):
        if flag(fields(top[key]).get("enable")):
            _section(key, key, top[key], draft)
    for node in items(top.get("listeners")):
        _listener(node, users, draft)
    for node in items(top.get("tunnels")):
        _tunnel(node, draft)


def _user(word: str) -> Section:
    name, _, password = word.partition(":")
    return {"name": name, "password": password}


def _closed(content: Section, users: list[Section], lan: bool, line: int, draft: Draft) -> None:
    """Users where there are some; an open door beyond loopback only in so many words."""
    if users:
        content["users"] = users
    elif lan:
        content["open"] = True
        draft.note(line, str(content["type"]), "anyone who can reach it may use it (open: true)")


def _listener(node: Node, common: list[Section], draft: Draft) -> None:
    found = fields(node)
    name, kind = text(found.get("name")) or "listener", text(found.get("type")).lower()
    if kind in dialects.sections("clash"):
        _led(_section(name, kind, node, draft), node.line, name, found, draft)
        return
    host, port = text(found.get("listen")) or "0.0.0.0", number(found.get("port"))  # noqa: S104
    read = dialects.foreign("clash").entering.get(kind)
    if read is None or not port:
        why = "write it as an inbound" if kind in dialects.entering() else "is not supported yet"
        draft.note(node.line, name, f"a listener of type {kind or '?'}: {why}")
        return
    entry = Foreign(found, lambda at, why: draft.note(at, name, why), node.line)
    made = read(entry)
    content: Section = {"type": made.pop("type"), "listen": endpoint(host, port), **made}
    section = dialects.inbound(str(content["type"]))
    beyond = not host.startswith("127.") and host != "::1"
    if "open" in section.model_fields:
        users: list[Section] = []
        if "users" in section.model_fields:
            own: list[Section] = [
                {"name": one.text("username"), "password": one.text("password")}
                for one in entry.parts("users")
                if one.keys()
            ]
            users = own if "users" in found else common
        _closed(content, users, beyond, node.line, draft)
    _led(draft.inbound(name, node.line, content), node.line, name, found, draft)


def _section(name: str, kind: str, node: Node, draft: Draft) -> str | None:
    """An inbound without a port: its name here; None where there is none."""
    entry = Foreign(fields(node), lambda at, why: draft.note(at, name, why), node.line)
    try:
        made = dialects.foreign("clash").entering[kind](entry)
    except NotCarried as error:
        draft.note(node.line, name, str(error))
        return None
    entry.pass_over("proxy", "rule")
    clash_dns.hijacked(entry, draft)
    entry.tell_unread()
    return draft.inbound(name, node.line, made)


def _led(ours: str | None, line: int, name: str, found: Fields, draft: Draft) -> None:
    """The way or rules that one listener has of its own."""
    if ours is not None and (way := text(found.get("proxy"))):
        draft.rule(line, {"inbound": ours}, way, name)
    elif "rule" in found:
        why = "rules of one listener are not kept: all share one list"
        draft.lost_rule(found["rule"].line, name, text(found["rule"]), why)


def _tunnel(node: Node, draft: Draft) -> None:
    found = fields(node)
    if found:
        networks = texts(found.get("network"))
        words = [text(found.get(key)) for key in ("address", "target", "proxy")]
    else:
        first, *words = [word.strip() for word in text(node).split(",")]
        networks = first.split("/")
    words += [""] * (3 - len(words))
    listen, target, way = words[:3]
    content: Section = {"type": "forward", "listen": listen, "target": target}
    content["network"] = [network for network in networks if network in ("tcp", "udp")] or ["tcp"]
    _closed(content, [], not listen.startswith(("127.", "[::1]")), node.line, draft)
    ours = draft.inbound("tunnel", node.line, content)
    if way:
        draft.rule(node.line, {"inbound": ours}, way, "a tunnel")


# Sets.


def _providers(node: Node | None, draft: Draft) -> None:
    for name, provider in fields(node).items():
        found = fields(provider)
        kind, form = text(found.get("type")).lower(), text(found.get("format")).lower()
        ours = "mrs" if form == "mrs" else "clash"
        if kind == "http":
            content: Section = {"url": text(found.get("url")), "format": ours}
            every = number(found.get("interval"))
            if every:
                content["every"] = f"{min(max(every, 60), 365 * 86400)}s"
            content["via"] = Way(text(found.get("proxy"))) if "proxy" in found else OTHERWISE
            draft.set(name, provider.line, content)
        elif kind == "file":
            path = text(found.get("path"))
            placed = str(Path(draft.folder or ".") / path)
            draft.set(name, provider.line, {"path": placed, "format": ours})
        elif kind == "inline":
            _inline(name, provider, found, draft)
        else:
            draft.note(provider.line, name, f"a rule provider of type {kind or '?'} is not known")


def _inline(name: str, provider: Node, found: Fields, draft: Draft) -> None:
    """The entries as they are; what cannot be read is told, as it would be of a file."""
    geo, behavior = draft.plain.get("geo", {}), text(found.get("behavior")).lower()
    entries = []
    for item in items(found.get("payload")):
        entry = text(item).strip()
        if why := _misfit(entry, behavior) or fault(entry, "clash", geo):
            draft.note(item.line, entry[:80], f"is not allowed in the set {name!r}: {why}")
            draft.thin_sets.add(name)
        elif entry:
            entries.append(entry)
            kind, *parts = clash_rules.split(entry)
            if behavior == "classical" and not kind.upper().endswith("-REGEX"):
                clash_rules.note_options(kind.upper(), parts[0], parts[1:], item.line, draft)
    if entries:
        draft.set(name, provider.line, {"format": "clash", "items": entries})
    else:
        draft.note(provider.line, name, "nothing in it could be converted")


def _misfit(entry: str, behavior: str) -> str:
    """What an entry lacks for its provider's behavior; lists of ours may mix them."""
    if behavior == "classical" and entry and "," not in entry:
        return "expected KIND,value"
    return "not an IP prefix" if behavior == "ipcidr" and entry and not is_prefix(entry) else ""
