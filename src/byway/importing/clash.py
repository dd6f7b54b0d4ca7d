"""Clash and mihomo: the whole file. `clash_proxies.py` reads ways out, `clash_rules.py` rules."""

from __future__ import annotations

import re
from pathlib import Path

from byway import dialects
from byway.config.rules.setitems import fault
from byway.importing import clash_proxies, clash_rules, geosites
from byway.importing.draft import LOST, OTHERWISE, Draft, Section, Way
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
    said,
    text,
    texts,
)
from byway.values.written import Node

_OWN = "Byway does this differently"
_DONE = {
    "proxies", "proxy-groups", "proxy-providers", "rule-providers", "rules", "rule", "sub-rules",
    "allow-lan", "bind-address", "authentication",
    "listeners", "tunnels", "log-level", "dns", "hosts", "ipv6", "mode", "interface-name",
    "routing-mark",
}  # fmt: skip
_REASONS = {
    "external-controller": "Byway has a unix socket instead (see control)",
    "external-controller-unix": "Byway has a unix socket instead (see control)",
    "secret": "Byway has a unix socket instead (see control)",
    "external-ui": "there is no web interface",
    "sniffer": "use rules with sniffed to match sniffed names, instead of domain",
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
_DNS_DONE = {
    "enable", "nameserver", "nameserver-policy", "use-hosts", "default-nameserver", "ipv6",
    "proxy-server-nameserver", "use-system-hosts", "respect-rules",
}  # fmt: skip
_LEVELS = {"debug": "debug", "info": "info", "warning": "warning", "error": "error"}
_SERVER = re.compile(r"([a-z0-9]+)://([^/#?]+)(/[^#]*)?(?:#(.*))?")


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
    _dns(top, draft)
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
    if entry.says("dns-hijack"):
        entry.note("dns-hijack", "dns-hijack: Byway does not serve DNS yet")
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


# Names.


def _dns(top: Fields, draft: Draft) -> None:
    made: Section = {}
    hosts: dict[str, object] = {}
    for name, node in fields(top.get("hosts")).items():
        bare = name.removeprefix("+").removeprefix("*").removeprefix(".")
        if "*" in bare or "+" in bare:
            draft.note(node.line, name, "a host name with this wildcard is not known")
            continue
        if name.startswith("*."):
            draft.note(node.line, name, "matches all names below it here, not only one label")
        below = {f"*.{bare}": texts(node)} if name != bare else {}
        itself = {bare: texts(node)} if name == bare or name.startswith("+.") else {}
        hosts = below | itself | hosts if name.startswith("+.") else hosts | below | itself
    if hosts:
        made["hosts"] = hosts
    found = fields(top.get("dns"))
    if flag(found.get("enable")):
        for key, node in found.items():
            if key not in _DNS_DONE and said(node):
                draft.note(node.line, f"dns.{key}", _DNS_REASONS.get(key, "is not kept"))
        _servers(found, made, draft)
        if found.get("ipv6") is None or not flag(found.get("ipv6")):
            made["addresses"] = "ipv4"
    if made:
        draft.plain["dns"] = made


def _servers(found: Fields, made: Section, draft: Draft) -> None:
    servers: dict[str, Section] = {}
    by_text: dict[str, str] = {}
    bootstrap = next(
        (word for one in texts(found.get("default-nameserver")) if (word := _address(one)[0])), ""
    )

    def named(node: Node) -> str | None:
        written = text(node)
        if written in by_text:
            return by_text[written]
        address, way = _address(written)
        if not address:
            scheme = re.match(r"[a-z0-9]{1,10}(?=://)", written)  # the rest may hold a token
            draft.note(node.line, scheme[0] if scheme else "a name server", _DNS_WAY)
            if not (draft.hidden(way) if way else by_rules):
                return None
            name = f"dns-{len(servers) + 1}"  # which was to be asked by a proxy: nobody is instead
            servers[name] = {"via": LOST}
            return name
        if address == "system" and not way:
            return "system"
        name = f"dns-{len(servers) + 1}"
        server: Section = {"address": address}
        if way and way != "DIRECT" and draft.known(way):
            server["via"] = Way(way)
        elif not way and by_rules:
            server["via"] = OTHERWISE
        elif way and way != "DIRECT":
            draft.note(node.line, name, f"is asked directly: {way!r} is unknown")
        if "via" in server or not re.match(r"[a-z]+://(?:[0-9.]+(?:[:/]|$)|\[)", address):
            server["bootstrap"] = bootstrap or "system"
        servers[name] = server
        by_text[written] = name
        return name

    def words(node: Node | None) -> list[str]:
        return [name for item in items(node) if (name := named(item))]

    by_rules = False
    rules: list[Section] = []
    of_proxies = words(found.get("proxy-server-nameserver"))
    by_rules = flag(found.get("respect-rules"))  # but for the names of proxies
    by_text.clear()
    use = words(found.get("nameserver"))
    if of_proxies and (hosts := _proxy_hosts(draft)):
        rules.append({"domain": hosts, "use": of_proxies})
    for pattern, node in fields(found.get("nameserver-policy")).items():
        asked = _names_of(pattern, node.line, draft)
        if asked and (of_rule := words(node)):
            rules.append({**asked, "use": of_rule})
    if servers:
        made["servers"] = {
            name: server if set(server) != {"address"} else server["address"]
            for name, server in servers.items()
        }
    if use:
        made["use"] = use
    if rules:
        made["rules"] = rules


def _proxy_hosts(draft: Draft) -> list[str]:
    """The names of all proxies' servers, each once."""
    servers = [str(item.content.get("server", "")) for item in draft.entries["outbounds"].values()]
    hosts = [server.rpartition(":")[0] for server in servers]
    return list(
        dict.fromkeys(host for host in hosts if re.search(r"[A-Za-z]", host) and ":" not in host)
    )


def _names_of(pattern: str, line: int, draft: Draft) -> Section:
    """The names a policy is about: `+.a,b`, `rule-set:x,y`; nothing where it cannot be said."""
    kind, colon, rest = pattern.partition(":")
    if colon and kind == "rule-set":
        known = [draft.sets[name] for name in rest.split(",") if name in draft.sets]
        for name in rest.split(","):
            if known and name not in draft.sets:
                draft.note(line, pattern, f"the set {name!r} is not kept")
        if known:
            return {"set": known}
    if colon:
        draft.note(line, pattern, "there are no sets of this kind")
        return {}
    names = [name for word in pattern.split(",") if (name := word.strip())]
    suffixes = [name[2:] for name in names if name.startswith("+.") and "*" not in name]
    if len(suffixes) == len(names):
        return {"domain_suffix": suffixes}
    if not any("*" in name or name.startswith((".", "+")) for name in names):
        return {"domain": names}
    entries = []
    for name in names:
        if why := fault(name, "clash", ()):
            draft.note(line, pattern, f"{name[:80]!r} is not kept: {why}")
        else:
            entries.append(name)
    if not entries:
        return {}
    draft.set(pattern, line, {"format": "clash", "items": entries})
    return {"set": draft.sets[pattern]}


def _address(written: str) -> tuple[str, str]:
    """A server as `dns` has it ("" for what it has not), and the way to it."""
    word, _, way = written.partition("#")
    way = way.partition("&")[0]
    if word in ("system", "system://"):
        return "system", way
    if "://" not in word:
        bare = f"[{word}]" if word.count(":") > 1 and word[:1] != "[" else word
        return (f"udp://{bare}", way) if word and word[:4] != "dhcp" else ("", way)
    found = _SERVER.fullmatch(word)
    if found is None or found[1] not in ("udp", "tcp", "tls", "https"):
        return "", way
    return f"{found[1]}://{found[2]}{found[3] or '' if found[1] == 'https' else ''}", way


_DNS_WAY = "unknown scheme of a name server"
_DNS_REASONS = {
    "enhanced-mode": "fake-IP is not supported yet; proxies receive names anyway",
    "fake-ip-range": "fake-IP is not supported yet",
    "fake-ip-filter": "fake-IP is not supported yet",
    "fallback": "all servers of `use` are used in order, without a condition",
    "fallback-filter": "all servers of `use` are used in order, without a condition",
    "listen": "Byway does not serve DNS yet",
}
