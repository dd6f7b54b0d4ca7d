"""sing-box's name servers, and the rules that choose one.

Theirs ask a server for the names of servers and of what goes direct (`domain_resolver`), and the
rules for all others; here the rules are for all names, so the former become rules before them.
"""

from __future__ import annotations

import re
from ipaddress import ip_network

from byway.flow import packed_address
from byway.importing.draft import LOST, OTHERWISE, Draft, Section, Way
from byway.rules.gathering import is_prefix
from byway.values.foreign import Fields, endpoint, fields, flag, items, number, said, text, texts
from byway.values.written import Node

_ORDERS = {
    "ipv4_only": "ipv4",
    "ipv6_only": "ipv6",
    "prefer_ipv4": "ipv4-first",
    "prefer_ipv6": "ipv6-first",
}
_NAMES = ("domain", "domain_suffix", "domain_keyword", "domain_regex", "rule_set")
_SERVER_DONE = {
    "tag", "type", "address", "server", "server_port", "path", "detour", "domain_resolver",
    "address_resolver", "strategy", "address_strategy", "domain_strategy", "prefer_go",
}  # fmt: skip
_DONE = {
    "servers", "rules", "final", "strategy", "disable_cache", "disable_expire",
    "independent_cache", "cache_capacity",
}  # fmt: skip
_SYSTEM = "system"
_ASKED = re.compile(r"(?:udp|tcp|tls|https)://")


def read(found: Fields, outbounds: list[Node], route: Fields, draft: Draft) -> None:
    """Take over name servers and rules about names, and who resolves the names of ways out."""
    if not found:
        _note_strategies(outbounds, draft)
        return
    nodes = list(items(found.get("servers")))
    answering = _answering(nodes)
    words = _words([node for node in nodes if _tag(node) not in answering], draft)
    resolvers = _resolvers(found, outbounds, route, words)
    servers: dict[str, object] = {}
    for node in nodes:
        _server(node, servers, words, resolvers, draft)
    made: Section = dict(draft.plain.get("dns", {}))
    if servers:
        made["servers"] = servers
    if hosts := _hosts(nodes):
        made["hosts"] = hosts
    final = text(found.get("final")) or (_tag(nodes[0]) if nodes else "")
    if final in words and words[final] != _SYSTEM:
        made["use"] = words[final]
    elif final and final not in words and answering.get(final) != FAKE:
        draft.note(0, "dns.final", f"the server {final!r} is not kept: the system is asked")
    use, ruled = str(made.get("use", _SYSTEM)), said(found.get("rules", Node(None)))
    rules = _of_ways(outbounds, resolvers, use, ruled, draft)
    for node in items(found.get("rules")):
        rules += _rule(node, words, answering, draft)
    if FAKE in answering.values():
        made["fake_ip"] = _fake(found, nodes, answering.get(final) == FAKE)
    if rules:
        made["rules"] = rules
    strategy = text(found.get("strategy"))
    if strategy in _ORDERS:
        made["addresses"] = _ORDERS[strategy]
    for node in nodes:
        own = text(fields(node).get("strategy"))
        if own and own != strategy:
            draft.note(node.line, _tag(node), "strategy is not kept: dns.addresses is for all")
    for key, node in found.items():
        if key == "fakeip" and FAKE in answering.values():
            continue
        if key not in _DONE and said(node):
            draft.note(node.line, f"dns.{key}", "is not supported yet")
    if made:
        draft.plain["dns"] = made


# Servers that answer by themselves.


def _answering(nodes: list[Node]) -> dict[str, str]:
    """The answer of each server that asks no other; HOSTS where it has fixed ones."""
    found: dict[str, str] = {}
    for node in nodes:
        kind, address = _kind(node), text(fields(node).get("address"))
        if kind == "fakeip":
            found[_tag(node)] = FAKE
        elif kind == "hosts":
            found[_tag(node)] = HOSTS
        elif (answer := _CODES.get(address.removeprefix("rcode://").upper())) and ":" in address:
            found[_tag(node)] = answer
    return found


def _kind(node: Node) -> str:
    found = fields(node)
    return text(found.get("type")) or ("fakeip" if text(found.get("address")) == "fakeip" else "")


def _hosts(nodes: list[Node]) -> Section:
    """The fixed answers of all servers of that type."""
    found: Section = {}
    for node in nodes:
        if _kind(node) == "hosts":
            for name, values in fields(fields(node).get("predefined")).items():
                found.setdefault(name.rstrip("."), texts(values))
    return found


def _fake(found: Fields, nodes: list[Node], everywhere: bool) -> Section:
    """Fake addresses: their ranges, and whether all names have one."""
    old = fields(found.get("fakeip"))
    new = next((fields(node) for node in nodes if _kind(node) == "fakeip"), {})
    written = [text(new.get(key)) or text(old.get(key)) for key in ("inet4_range", "inet6_range")]
    ranges = [str(ip_network(one, strict=False)) for one in written if is_prefix(one)]
    return {**({"ranges": ranges} if ranges else {}), "everywhere": everywhere}


FAKE, HOSTS = "fake", "hosts"
_CODES = {
    "SUCCESS": "empty", "NOERROR": "empty", "NAME_ERROR": "nxdomain", "NXDOMAIN": "nxdomain",
    "REFUSED": "refuse", "SERVER_FAILURE": "servfail", "SERVFAIL": "servfail",
}  # fmt: skip


# Servers.


def _tag(node: Node) -> str:
    return text(fields(node).get("tag")) or "dns"


def _words(nodes: list[Node], draft: Draft) -> dict[str, str]:
    """The name here of every server that can be asked, in whatever order they stand."""
    words: dict[str, str] = {}
    for node in nodes:
        tag, address = _tag(node), _address(node)
        if address == _SYSTEM:
            words[tag] = _SYSTEM
            continue
        if _ASKED.match(address) or _is_hidden(node, draft):
            name = re.sub(r"[^A-Za-z0-9_.-]+", "-", tag).strip("-") or f"dns-{len(words) + 1}"
            while name in words.values() or name == _SYSTEM:
                name += "-2"
            words[tag] = name
        if not _ASKED.match(address):
            what = re.match(r"[a-z0-9]{0,12}", address)
            kind = (what[0] if what else "") or "?"
            draft.note(node.line, tag, f"a name server of type {kind} is not supported yet")
    return words


def _is_hidden(node: Node, draft: Draft) -> bool:
    """Whether a server that cannot be asked here was to be asked by a proxy: then nobody is asked
    in its place."""
    found = fields(node)
    way = text(found.get("detour"))
    if not way and re.match(r"(quic|h3)://", text(found.get("address"))):
        way = str(draft.otherwise["otherwise"])
    return draft.hidden(way)


def _address(node: Node) -> str:
    """A server as `dns` has it; the bare word for its kind where that is none of ours."""
    found = fields(node)
    kind, address = text(found.get("type")), text(found.get("address"))
    if kind == "local" or address == "local":
        return _SYSTEM
    if kind in ("udp", "tcp", "tls", "https"):
        port, host = number(found.get("server_port")), text(found.get("server"))
        place = endpoint(host, port) if port else f"[{host}]" if ":" in host else host
        path = text(found.get("path")) or "/dns-query"
        return f"{kind}://{place}{path if kind == 'https' else ''}"
    if kind not in ("", "legacy"):
        return kind
    if "://" not in address and address not in ("", "fakeip"):
        return f"udp://[{address}]" if address.count(":") > 1 else f"udp://{address}"
    return address


def _server(
    node: Node,
    servers: dict[str, object],
    words: dict[str, str],
    resolvers: dict[str, str],
    draft: Draft,
) -> None:
    found, tag = fields(node), _tag(node)
    if words.get(tag, _SYSTEM) == _SYSTEM:
        return
    address = _address(node)
    if not _ASKED.match(address):
        servers[words[tag]] = {"via": LOST}
        return
    server: Section = {"address": address}
    way = text(found.get("detour"))
    if way:
        server["via"] = Way(way)
    elif not text(found.get("type")):  # of the old form: by the outbound for everything else
        server["via"] = OTHERWISE
    start = _resolver(found.get("domain_resolver")) or _resolver(found.get("address_resolver"))
    if "via" in server or not re.match(r"[a-z]+://(?:[0-9.]+(?:[:/]|$)|\[)", address):
        server["bootstrap"] = words.get(start) or resolvers.get(way) or resolvers.get("") or _SYSTEM
        if start and start not in words:
            why = f"{start!r} is not kept: {server['bootstrap']} is used for names on the way"
            draft.note(node.line, tag, why)
    for key, part in found.items():
        if key not in _SERVER_DONE and said(part):
            draft.note(part.line, tag, f"{key} is not kept")
    servers[words[tag]] = server if len(server) > 1 else address


def _resolver(node: Node | None) -> str:
    """The tag of a server, where a mapping may stand in its place."""
    return text(fields(node).get("server")) or text(node)


# Rules.


def _resolvers(
    found: Fields, outbounds: list[Node], route: Fields, words: dict[str, str]
) -> dict[str, str]:
    """Whom each way out asks for names, by its tag; "" is for all that say nothing themselves."""
    resolvers: dict[str, str] = {}
    if default := words.get(_resolver(route.get("default_domain_resolver"))):
        resolvers[""] = default
    for node in items(found.get("rules")):
        rule = fields(node)
        if set(rule) - {"outbound", "server", "action"} or text(rule.get("server")) not in words:
            continue
        for tag in texts(rule.get("outbound")):
            resolvers.setdefault("" if tag == "any" else tag, words[text(rule["server"])])
    for node in outbounds:
        out = fields(node)
        tag = text(out.get("tag")) or text(out.get("type"))
        if own := words.get(_resolver(out.get("domain_resolver"))):
            resolvers[tag] = own
        elif "" in resolvers:
            resolvers.setdefault(tag, resolvers[""])
    return resolvers


def _of_ways(
    outbounds: list[Node], resolvers: dict[str, str], use: str, ruled: bool, draft: Draft
) -> list[Section]:
    """Rules for the names of servers; a way that goes direct gets name servers of its own."""
    _note_strategies(outbounds, draft)
    hosts: dict[str, list[str]] = {}
    for node in outbounds:
        out = fields(node)
        kind, host = text(out.get("type")), text(out.get("server"))
        tag = text(out.get("tag")) or kind
        if "strategy" in fields(out.get("domain_resolver")):
            why = "domain_resolver.strategy is not kept: see dns.addresses"
            draft.note(out["domain_resolver"].line, tag, why)
        word = resolvers.get(tag)
        if word is None:
            continue
        if kind == "direct":
            if word != use or ruled:
                draft.resolve_by(tag, node.line, word)
        elif host and packed_address(host) is None and (word != use or ruled):
            hosts.setdefault(word, []).append(host.lower())
    return [{"domain": list(dict.fromkeys(names)), "use": word} for word, names in hosts.items()]


def _note_strategies(outbounds: list[Node], draft: Draft) -> None:
    for node in outbounds:
        out = fields(node)
        if strategy := text(out.get("domain_strategy")):
            tag = text(out.get("tag")) or text(out.get("type"))
            why = f"domain_strategy {strategy} is not kept: see dns.addresses"
            draft.note(out["domain_strategy"].line, tag, why)


def _rule(
    node: Node, words: dict[str, str], answering: dict[str, str], draft: Draft
) -> list[Section]:
    """The rules that one of theirs becomes: any of its questions about names may be answered."""
    rule = fields(node)
    tag = text(rule.get("server"))
    if set(rule) <= {"outbound", "server", "action"} and "outbound" in rule:
        return []  # for the names of ways out: see `_resolvers`
    if answering.get(tag) == HOSTS:
        return []  # its names are in `hosts`
    said_by = _said(rule, words, answering)
    known = {*_NAMES, *_CLIENTS, *_WITHOUT_MEANING}
    plain = not flag(rule.get("invert")) and not set(rule) - known
    asked = _names_of(rule, draft) if plain else []
    clients = _clients(rule, draft) if plain else None
    if clients and not asked and not set(rule) & set(_NAMES):
        asked = [{}]
    if not asked or clients is None or not said_by:
        draft.note(node.line, "a rule of dns", "has no equivalent")
        return []
    return [{**one, **clients, **said_by} for one in asked]


def _said(rule: Fields, words: dict[str, str], answering: dict[str, str]) -> Section:
    """The servers of a rule, or its answer; nothing for one that is not known."""
    action, tag = text(rule.get("action")), text(rule.get("server"))
    if action == "reject":
        return {"answer": "drop" if text(rule.get("method")) == "drop" else "refuse"}
    if action == "predefined":
        found = [one for item in texts(rule.get("answer")) if (one := item.split()[-1:])]
        addresses = [one[0] for one in found if packed_address(one[0]) is not None]
        code = _CODES.get(text(rule.get("rcode")).upper() or "NOERROR", "")
        return {"answer": addresses or code} if addresses or code else {}
    if action not in ("", "route"):
        return {}
    if tag in answering:
        return {"answer": answering[tag]}
    return {"use": words[tag]} if tag in words else {}


def _clients(rule: Fields, draft: Draft) -> Section | None:
    """What a rule asks of the client; None where it asks for what is not kept."""
    made: Section = {}
    if types := texts(rule.get("query_type")):
        made["query_type"] = [int(one) if one.isdigit() else one for one in types]
    if sources := texts(rule.get("source_ip_cidr")):
        made["source"] = sources
    if written := texts(rule.get("inbound")):
        ours = {item.what: name for name, item in draft.entries["inbounds"].items()}
        made["inbound"] = [ours[one] for one in written if one in ours]
        if not made["inbound"]:
            return None
    return made


_CLIENTS = ("query_type", "source_ip_cidr", "inbound")
_WITHOUT_MEANING = (
    "server", "action", "invert", "disable_cache", "rewrite_ttl", "method", "no_drop", "rcode",
    "answer", "ip_accept_any",
)  # fmt: skip


def _names_of(rule: Fields, draft: Draft) -> list[Section]:
    found: list[Section] = []
    for key in _NAMES:
        values = texts(rule.get(key))
        match key:
            case _ if not values:
                continue
            case "rule_set":
                if kept := [draft.sets[tag] for tag in values if tag in draft.sets]:
                    found.append({"set": kept})
            case "domain_suffix":
                if plain := [one for one in values if not one.startswith(".")]:
                    found.append({key: plain})
                if below := [f"*{one}" for one in values if one.startswith(".")]:
                    found.append({"domain_wildcard": below})
            case _:
                found.append({key: values})
    return found
