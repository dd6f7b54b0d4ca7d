"""sing-box's rules and rule sets.

In one rule of theirs, what is about the target (names, prefixes, sets) is one question that any of
its items answers, the ports are another, and so on; all questions must be answered.
"""

from __future__ import annotations

from pathlib import Path

from byway.importing.draft import NO_NAME, Draft, Section, Way
from byway.importing.source import Fields, fields, flag, items, seconds, text, texts
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
    "user_id": "uid",
    "network": "network",
    "source_geoip": "source_country",
}
_SAID = {"action", "outbound", "invert", "type", "mode", "rules", "method", "no_drop"}
_NOT = {
    "geosite": "there are no geosite files here: take the list as a set",
    "clash_mode": "there are no modes here",
    "client": "the program is not sniffed",
    "rule_set_ip_cidr_match_source": "a set is asked about targets",
    "rule_set_ipcidr_match_source": "a set is asked about targets",
    "user": "write a rule with uid",
    "package_name": "there are no packages here",
    "wifi_ssid": "the network around is not asked for",
    "wifi_bssid": "the network around is not asked for",
    "source_ip_is_private": "write a rule with source",
}
_SNIFFED = {"tls", "http", "quic", "ssh", "dns", "stun", "dtls", "bittorrent"}


class Unsaid(Exception):  # noqa: N818 - says of a rule what it is
    """A rule that cannot be said here, and why."""


def read(route: Fields, tags: list[str], draft: Draft) -> None:
    """Take over sets, rules, and the way of everything else."""
    for node in items(route.get("rule_set")):
        _set(node, draft)
    for key in ("geoip", "geosite", "auto_detect_interface", "override_android_vpn"):
        if key in route and key.startswith("geo"):
            draft.note(route[key].line, f"route.{key}", "databases are not fetched: see geo")
    resolved = False
    for node in items(route.get("rules")):
        rule = fields(node)
        action = text(rule.get("action")) or "route"
        if action == "resolve":
            resolved = True  # from here on, names have addresses
            continue
        try:
            _rule(node, rule, action, resolved, draft)
        except Unsaid as error:
            draft.missing.clear()
            if action in ("route", "reject"):
                to = text(rule.get("outbound")) if action == "route" else "reject"
                draft.lost_rule(node.line, "a rule", to, str(error))
            else:
                draft.note(node.line, "a rule", str(error))
    final = text(route.get("final")) or next(iter(tags), "")
    if final:
        draft.otherwise = {"otherwise": Way(final)}
    if text(route.get("default_interface")) or text(route.get("default_mark")):
        draft.note(0, "route", "default_interface and default_mark: set them in outbounds.direct")


def _rule(node: Node, rule: Fields, action: str, resolved: bool, draft: Draft) -> None:
    if action == "sniff":
        raise Unsaid("sniff: names inside are asked for by rules with sniffed, not by domain")
    if action == "route-options":
        raise Unsaid("route-options are not kept")
    if action == "hijack-dns":
        raise Unsaid("Byway does not answer the names of others yet")
    if action == "route":
        way = text(rule.get("outbound"))
    elif action == "reject":
        way = "\0drop" if text(rule.get("method")) == "drop" else "\0reject"
        draft.verdict(way, way[1:])
    else:
        raise Unsaid(f"the action {action} is not there yet")
    conditions = _conditions(rule, resolved, draft, 0)
    if not conditions:
        raise Unsaid("it has no condition")
    draft.rule(node.line, conditions, way, "a rule")
    draft.rule_is_read(node.line, "a rule", way)


def _conditions(rule: Fields, resolved: bool, draft: Draft, depth: int) -> Section:
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
            draft.missing[-1] or "a set in it is without some of its entries"
        )  # without a part it would take more than before
    return {"not": made} if flag(rule.get("invert")) else made


def _plain(rule: Fields, resolved: bool, draft: Draft) -> Section:
    made: Section = {}
    about: list[Section] = []
    lost: list[str] = []
    for key, node in rule.items():
        if key in _TARGET:
            try:
                about += _target(key, node, resolved, draft)
            except Unsaid as error:
                lost.append(str(error))
        elif key in _OTHERS:
            made[_OTHERS[key]] = _other(key, node, draft)
        elif key == "protocol":
            made["sniffed"] = {"protocol": _protocols(texts(node))}
        elif key == "ip_version":
            made["ip_version"] = int(text(node)) if text(node).isdigit() else text(node)
        elif key in ("port", "port_range", "source_port", "source_port_range"):
            ports = made.setdefault(key.removesuffix("_range"), [])
            assert isinstance(ports, list)
            ports += [_ports(one) for one in texts(node)]
        elif key not in _SAID:
            raise Unsaid(_NOT.get(key, f"{key} is not asked for here"))
    if lost and not about:
        raise Unsaid(lost[0])
    draft.missing += lost
    if len(about) == 1 and not set(about[0]) & set(made):
        made |= about[0]
    elif about:
        made["or"] = about
    return made


def _target(key: str, node: Node, resolved: bool, draft: Draft) -> list[Section]:
    """Conditions on the target. Theirs ask for the address of none that is a name, unless told."""
    found: list[Section] = []
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
            found.append({"private": flag(node)})
        case "geoip":
            if codes := [one.upper() for one in values if one != "private"]:
                if "country" not in draft.plain.get("geo", {}):
                    raise Unsaid("needs a database: byway import --country FILE.mmdb")
                found.append({"country": codes})
            if "private" in values:
                found.append({"private": True})
        case "geosite":
            raise Unsaid(_NOT[key])
        case "rule_set":
            kept = [ours for one in values if (ours := draft.set_asked(one))]
            lost = [one for one in values if one not in draft.sets]
            if not kept:
                raise Unsaid("a set that it asks for is not kept")
            draft.missing += [f"the set {one!r} is not kept" for one in lost]
            return [{"set": kept}]
        case _:
            return [{key: values}]
    return found if resolved else [{**one, "not": dict(NO_NAME)} for one in found]


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
            raise Unsaid("no inbound that it asks for is kept")
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
    form = text(found.get("format")) or ("binary" if where.endswith(".srs") else "source")
    if kind != "inline" and form != "source":
        draft.note(node.line, tag, "binary sets (srs) are not read: take the source form (JSON)")
    elif kind == "remote":
        content: Section = {"url": where, "format": "sing-box"}
        if every := seconds(found.get("update_interval")):
            content["every"] = f"{int(min(max(every, 60), 365 * 86400))}s"
        if way := text(found.get("download_detour")):
            content["via"] = Way(way)
        draft.set(tag, node.line, content)
    elif kind == "local":
        path = str(Path(draft.folder or ".") / where)
        draft.set(tag, node.line, {"path": path, "format": "sing-box"})
    else:
        _inline(tag, node, found, draft)


def _inline(tag: str, node: Node, found: Fields, draft: Draft) -> None:
    marks = {
        "domain": "={}",
        "domain_suffix": "{}",
        "domain_keyword": "keyword:{}",
        "domain_regex": "regex:{}",
        "ip_cidr": "{}",
    }
    entries = []
    for item in items(found.get("rules")):
        rule = fields(item)
        if not rule or set(rule) - set(marks):
            draft.note(item.line, tag, "a rule in it asks what an inline set cannot")
            draft.thin_sets.add(tag)
            continue
        entries += [marks[key].format(one) for key, part in rule.items() for one in texts(part)]
    if entries:
        draft.set(tag, node.line, {"items": entries})
    else:
        draft.note(node.line, tag, "nothing in it could be kept")
