"""sing-box's rules and rule sets.

In one rule of theirs, what is about the target (names, prefixes, sets) is one question that any of
its items answers, the ports are another, and so on; all questions must be answered.
"""

from __future__ import annotations

import json
from pathlib import Path

from byway.config.rules.setitems import fault
from byway.importing import geosites
from byway.importing.draft import OTHERWISE, Draft, Section, Way, unresolved
from byway.importing.source import seconds
from byway.rules.networks import LAN
from byway.values.foreign import Fields, fields, flag, items, mark_of, text, texts
from byway.values.written import Node

_DEEPEST = 8
_TARGET = (
    "domain", "domain_suffix", "domain_keyword", "domain_regex", "ip_cidr", "ip_is_private",
    "geoip", "rule_set", "geosite",
)  # fmt: skip
_OTHERS = {
    "inbound": "inbound",
    "auth_user": "user",
    "source_ip_cidr": "source",
    "process_name": "process",
    "process_path": "process_path",
    "process_path_regex": "process_path_regex",
    "user_id": "uid",
    "network": "network",
    "source_geoip": "source_country",
    "source_mac_address": "source_mac",
}
_SAID = {
    "action", "outbound", "invert", "type", "mode", "rules", "method", "no_drop", "server",
    "strategy", "disable_cache", "rewrite_ttl", "client_subnet",
}  # fmt: skip
_BY_SOURCE = ("rule_set_ip_cidr_match_source", "rule_set_ipcidr_match_source")
_NOT = {
    "clash_mode": "Byway has no modes",
    "client": "the program is not sniffed",
    "user": "write a rule with uid",
    "package_name": "packages are not supported",
    "wifi_ssid": "conditions on the local network are not supported",
    "wifi_bssid": "conditions on the local network are not supported",
}
_SNIFFED = {"tls", "http", "quic", "ssh", "dns", "stun", "dtls", "bittorrent"}


class Unsaid(Exception):  # noqa: N818 - says of a rule what it is
    """A rule that has no equivalent, and why."""


Resolved = list[Section]
"""The flows whose names have addresses by now: those for which one of these holds."""
EVERY: Section = {}


def read(
    route: Fields, tags: list[str], answering: set[str], resolved: Resolved, draft: Draft
) -> None:
    """Take over sets, rules, and the way of everything else. `tags` are of all ways out,
    `answering` of those that answer questions for names; `resolved` is so before any rule."""
    for node in items(route.get("rule_set")):
        _set(node, draft)
    for key in ("geoip", "geosite", "auto_detect_interface", "override_android_vpn"):
        if key in route and key.startswith("geo"):
            draft.note(route[key].line, f"route.{key}", "databases are not fetched: see geo")
    for node in items(route.get("rules")):
        rule = fields(node)
        action = text(rule.get("action")) or "route"
        try:
            if action == "resolve":
                resolved = [*resolved, _conditions(rule, resolved, draft, 0)]
                if "server" in rule or "strategy" in rule:
                    raise Unsaid("resolve: names are resolved as dns says")
            elif action == "route" and text(rule.get("outbound")) in answering:
                _hijack(node, rule, draft)
            else:
                _rule(node, rule, action, resolved, draft)
        except Unsaid as error:
            draft.missing.clear()
            if action not in ("sniff", "route-options", "hijack-dns", "resolve"):
                to = text(rule.get("outbound")) or action
                draft.lost_rule(node.line, "a rule", to, str(error))
            else:
                draft.note(node.line, "a rule", str(error))
    final = text(route.get("final")) or next(iter(tags), "")
    if final:
        draft.otherwise = {"otherwise": Way(final)}
    direct: Section = {}
    if interface := text(route.get("default_interface")):
        direct["interface"] = interface
    if mark := mark_of(route.get("default_mark")):
        direct["mark"] = mark
    if direct:  # by which proxies are reached, too
        draft.direct(0, direct)


def _rule(node: Node, rule: Fields, action: str, resolved: Resolved, draft: Draft) -> None:
    if action == "sniff":
        draft.plain.setdefault("names", {"sniffed": "judge"})
        if set(rule) - {"action", "timeout", "sniffer"}:
            raise Unsaid("sniff: the first bytes of all flows are sniffed (names.sniffed)")
        return
    if action == "route-options":
        raise Unsaid("route-options are not kept")
    if action == "hijack-dns":
        _hijack(node, rule, draft)
        return
    if action == "route":
        way = text(rule.get("outbound"))
    elif action == "reject":
        way = "\0drop" if text(rule.get("method")) == "drop" else "\0reject"
        draft.verdict(way, way[1:])
    else:
        raise Unsaid(f"the action {action} is not supported yet")
    conditions = _conditions(rule, resolved, draft, 0)
    if not conditions:
        raise Unsaid("it has no condition")
    draft.rule(node.line, conditions, way, "a rule")
    draft.rule_is_read(node.line, "a rule", way)


def _hijack(node: Node, rule: Fields, draft: Draft) -> None:
    """Queries are answered here, those of all flows to port 53."""
    draft.plain.setdefault("dns", {})["hijack"] = True
    parts = [fields(one) for one in items(rule.get("rules"))] or [rule]
    asked = {key for part in parts for key in part} - {"action", "outbound", "type", "mode"}
    if asked - {"protocol", "port"}:
        draft.note(node.line, "a rule", "all that goes to port 53 is answered (dns.hijack)")


def _conditions(rule: Fields, resolved: Resolved, draft: Draft, depth: int) -> Section:
    if depth >= _DEEPEST:
        raise Unsaid("nested too deep")
    missing = len(draft.missing)
    if text(rule.get("type")) == "logical":
        mode = text(rule.get("mode"))
        parts, lost = [], []
        for part in items(rule.get("rules")):
            try:
                parts.append(_conditions(fields(part), resolved, draft, depth + 1))
            except Unsaid as error:
                if mode != "or":
                    raise
                lost.append(str(error))
        if lost and not parts:
            raise Unsaid(lost[0])
        draft.missing += lost
        if mode not in ("and", "or") or not parts:
            raise Unsaid("a logical rule has a mode and rules")
        made: Section = {mode: parts}
    else:
        made = _plain(rule, resolved, draft)
    if flag(rule.get("invert")) and len(draft.missing) > missing:
        raise Unsaid(
            draft.missing[-1] or "a set in it lacks some entries"
        )  # without a part it would take more than before
    return {"not": made} if flag(rule.get("invert")) else made


def _plain(rule: Fields, resolved: Resolved, draft: Draft) -> Section:
    made: Section = {}
    about: list[Section] = []
    lost: list[str] = []
    for key, node in rule.items():
        if key in _TARGET:
            try:
                about += _target(key, node, rule, resolved, draft)
            except Unsaid as error:
                lost.append(str(error))
        elif key in _BY_SOURCE:
            pass
        elif key == "source_ip_is_private":
            if flag(node):
                made["source"] = [*_listed(made.get("source")), *LAN]
        elif key in _OTHERS:
            found = _other(key, node, draft)
            made[_OTHERS[key]] = [*_listed(made.get(_OTHERS[key])), *found]
        elif key == "protocol":
            made["sniffed"] = {"protocol": _protocols(texts(node))}
        elif key == "ip_version":
            made["ip_version"] = int(text(node)) if text(node).isdigit() else text(node)
            made["not"] = {"domain_wildcard": "*"}  # theirs is about no name, resolved or not
        elif key in ("port", "port_range", "source_port", "source_port_range"):
            ports = made.setdefault(key.removesuffix("_range"), [])
            assert isinstance(ports, list)
            ports += [_ports(one) for one in texts(node)]
        elif key not in _SAID:
            raise Unsaid(_NOT.get(key, f"{key} is not supported"))
    if lost and not about:
        raise Unsaid(lost[0])
    draft.missing += lost
    if len(about) == 1 and not set(about[0]) & set(made):
        made |= about[0]
    elif about:
        made["or"] = about
    return made


def _listed(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _target(key: str, node: Node, rule: Fields, resolved: Resolved, draft: Draft) -> list[Section]:
    """Conditions on the target. Theirs ask for the address of none that is a name, unless told."""
    found: list[Section] = []
    kept: list[object]
    values = texts(node)
    match key:
        case "domain_suffix":
            if plain := [one for one in values if not one.startswith(".")]:
                found.append({"domain_suffix": plain})
            if below := [f"*{one}" for one in values if one.startswith(".")]:
                found.append({"domain_wildcard": below})
            return found
        case "ip_cidr":
            found.append({"ip": [_masked(one) for one in values]})
        case "ip_is_private":
            if flag(node):
                found.append({"ip": list(LAN)})
        case "geoip":
            if codes := [one.upper() for one in values if one != "private"]:
                if "country" not in draft.plain.get("geo", {}):
                    raise Unsaid("needs a database: byway import --country FILE.mmdb")
                found.append({"country": codes})
            if "private" in values:
                found.append({"ip": list(LAN)})
        case "geosite":
            lists = [
                geosites.condition(one, geosites.COMMUNITY, node.line, draft) for one in values
            ]
            kept = [one["set"] for one in lists if one is not None]
            if len(kept) < len(values):
                raise Unsaid("no list has this name")
            found.append({"set": kept})
        case "rule_set":
            kept = [ours for one in values if (ours := draft.set_asked(one))]
            lost = [one for one in values if one not in draft.sets]
            if not kept:
                raise Unsaid("a set of it is not kept")
            draft.missing += [f"the set {one!r} is not kept" for one in lost]
            if any(flag(rule.get(word)) for word in _BY_SOURCE):
                names = unresolved({"set": kept, "domain_wildcard": "*"})
                return [{"source_set": kept}, names]
            found.append({"set": kept})
        case _:
            return [{key: values}]
    if EVERY in resolved:
        return found
    of_some: list[Section] = [{"and": [flows, one]} for one in found for flows in resolved]
    return [*map(unresolved, found), *of_some]


def _masked(prefix: str) -> str:
    """Without the bits beyond its length, which sing-box allows."""
    import ipaddress

    try:
        return str(ipaddress.ip_network(prefix, strict=False))
    except ValueError:
        return prefix  # the check says what is wrong with it


def _other(key: str, node: Node, draft: Draft) -> list[object]:
    values: list[object] = list(texts(node))
    if key == "inbound":
        known = {item.what: name for name, item in draft.entries["inbounds"].items()}
        values = [known[str(one)] for one in values if one in known]
        if not values:
            raise Unsaid("none of its inbounds is kept")
    elif key == "source_ip_cidr":
        values = [_masked(str(one)) for one in values]
    elif key == "user_id":
        values = [int(str(one)) for one in values if str(one).isdigit()]
    elif key == "source_geoip" and "country" not in draft.plain.get("geo", {}):
        raise Unsaid("needs a database: byway import --country FILE.mmdb")
    return values


def _protocols(written: list[str]) -> list[str]:
    if unknown := set(written) - _SNIFFED:
        raise Unsaid(f"the protocol {min(unknown)} is not sniffed")
    return written


def _ports(written: str) -> object:
    first, colon, last = written.partition(":")
    if not colon:
        return int(first) if first.isdigit() else first
    return f"{first or 0}-{last or 65535}"


# Sets.


def _set(node: Node, draft: Draft) -> None:
    found = fields(node)
    tag, kind = text(found.get("tag")), text(found.get("type")) or "inline"
    where = text(found.get("url")) or text(found.get("path"))
    written = text(found.get("format")) or ("binary" if where.endswith(".srs") else "source")
    form = "srs" if written == "binary" else "sing-box"
    if kind == "remote":
        content: Section = {"url": where, "format": form}
        if every := seconds(found.get("update_interval")):
            content["every"] = f"{int(min(max(every, 60), 365 * 86400))}s"
        way = text(found.get("download_detour"))
        content["via"] = Way(way) if way else OTHERWISE
        draft.set(tag, node.line, content)
    elif kind == "local":
        path = str(Path(draft.folder or ".") / where)
        draft.set(tag, node.line, {"path": path, "format": form})
    else:
        _inline(tag, node, found, draft)


def _inline(tag: str, node: Node, found: Fields, draft: Draft) -> None:
    """The rules of a set: plain lines where these can say it, else the rules as they are."""
    rules = list(items(found.get("rules")))
    plain = all(fields(rule) and not set(fields(rule)) - set(_MARKS) for rule in rules)
    form = "lines" if plain else "sing-box"
    geo = draft.plain.get("geo", {})
    entries = []
    for rule in rules:
        for entry in _as_lines(rule) if plain else [json.dumps(_data(rule), ensure_ascii=False)]:
            if why := fault(entry, form, geo):
                draft.note(rule.line, tag, f"a rule in it is not kept: {why}")
                draft.thin_sets.add(tag)
            else:
                entries.append(entry)
    if entries:
        draft.set(tag, node.line, {"items": entries} | ({} if plain else {"format": form}))
    else:
        draft.note(node.line, tag, "nothing in it could be converted")


_MARKS = {
    "domain": "={}",
    "domain_suffix": "{}",
    "domain_keyword": "keyword:{}",
    "domain_regex": "regex:{}",
    "ip_cidr": "{}",
}


def _as_lines(rule: Node) -> list[str]:
    found = fields(rule).items()
    return [_MARKS[key].format(one) for key, part in found for one in texts(part)]


def _data(node: Node) -> object:
    if isinstance(node.content, dict):
        return {
            key: flag(part) if key == "invert" else _data(part)
            for key, part in fields(node).items()
        }
    if isinstance(node.content, list):
        return [_data(part) for part in items(node)]
    return text(node)
