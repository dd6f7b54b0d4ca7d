"""Clash's rules."""

from __future__ import annotations

import re
from pathlib import Path

from byway.importing import geosites
from byway.importing.clash_proxies import BUILT_IN
from byway.importing.draft import Draft, Section, Way, unresolved
from byway.rules.networks import named
from byway.values.foreign import Fields, fields, items, text
from byway.values.written import Node

_DEEPEST = 8
_SIMPLE = {
    "DOMAIN": "domain",
    "DOMAIN-SUFFIX": "domain_suffix",
    "DOMAIN-KEYWORD": "domain_keyword",
    "PROCESS-NAME": "process",
    "PROCESS-PATH": "process_path",
    "PROCESS-PATH-REGEX": "process_path_regex",
}
_SOURCES = ("IP-CIDR", "IP-CIDR6", "GEOIP", "IP-ASN", "RULE-SET")
"""The kinds that options change."""
_OPTIONS = ("no-resolve", "src")
_SOURCES_OF = {
    "ip": "source",
    "country": "source_country",
    "asn": "source_asn",
    "set": "source_set",
}
_DATABASES = {
    "country": ("Country.mmdb", "GeoLite2-Country.mmdb", "country.mmdb"),
    "asn": ("ASN.mmdb", "GeoLite2-ASN.mmdb", "asn.mmdb"),
}
_NOT = {
    "IP-SUFFIX": "suffixes of addresses are not supported",
    "DSCP": "the DSCP mark is not supported",
    "IN-TYPE": "write a rule with inbound",
    "PROCESS-NAME-REGEX": "use process and process_path",
    "PROCESS-NAME-WILDCARD": "use process and process_path",
    "PROCESS-PATH-WILDCARD": "use process and process_path",
    "IN-PORT": "write a rule with inbound",
    "URL-REGEX": "paths are not visible",
    "USER-AGENT": "heads are not visible",
    "SCRIPT": "write it as a Python rule",
}


class Unsaid(Exception):  # noqa: N818 - says of a rule what it is
    """A rule that has no equivalent, and why."""


def read(top: Fields, draft: Draft) -> None:
    """Take over the rules, in their order, up to the one for everything else."""
    subs = {name: list(items(node)) for name, node in fields(top.get("sub-rules")).items()}
    rules = list(items(top.get("rules") or top.get("rule")))
    for at, node in enumerate(rules, 1):
        if _rule(node, [], subs, draft, 0):
            if rest := rules[at:]:
                draft.note(
                    rest[0].line, "rules", f"{len(rest)} after MATCH, which matches everything"
                )
            return
    if rules:
        draft.otherwise = {"otherwise": "direct"}


def databases(draft: Draft) -> None:
    """The files that know countries and networks, where Clash keeps them: beside its config."""
    if draft.folder is None:
        return
    for key, names in _DATABASES.items():
        for name in names:
            path = Path(draft.folder) / name
            if path.is_file():
                draft.plain.setdefault("geo", {}).setdefault(key, str(path))


def _rule(
    node: Node, inside: list[Section], subs: dict[str, list[Node]], draft: Draft, depth: int
) -> bool:
    """One rule, within the conditions of the sub-rules it is of; whether it takes everything."""
    line = text(node).strip()
    draft.step()
    if not line:
        return False
    try:
        return _taken(line, node, inside, subs, draft, depth)
    except Unsaid as error:
        draft.missing.clear()
        draft.lost_rule(node.line, line[:120], _way(line), str(error))
        return False


def _way(line: str) -> str:
    """Where a rule sends its flows, as far as that can be seen of one that is not understood."""
    kind, *parts = split(line)
    if kind.upper().endswith("-REGEX"):
        return line.rpartition(",")[2].strip()
    if kind.upper() == "SUB-RULE":
        return f"sub-rules {parts[1]}" if len(parts) > 1 else "?"
    return parts[1] if len(parts) > 1 else "?"


def _taken(
    line: str,
    node: Node,
    inside: list[Section],
    subs: dict[str, list[Node]],
    draft: Draft,
    depth: int,
) -> bool:
    kind, *parts = split(line)
    kind = kind.upper()
    if kind in ("MATCH", "FINAL"):
        if not inside:
            way = parts[0] if parts else "DIRECT"
            draft.otherwise = {"otherwise": Way(way)}
            return True
        draft.rule(node.line, _all(inside), parts[0] if parts else "DIRECT", line[:120])
        return False
    if kind.endswith("-REGEX"):  # may hold commas and brackets; takes no options
        value, _, way = (word.strip() for word in line.partition(",")[2].rpartition(","))
        parts = [value, way] if value else []
    if len(parts) < 2:
        raise Unsaid("this rule has no destination")
    value, way, *options = parts
    conditions = condition(kind, value, options, node.line, draft, 0)
    if kind == "SUB-RULE":
        if depth >= _DEEPEST or way not in subs:
            raise Unsaid(f"there are no sub-rules {way!r}" if depth < _DEEPEST else "too deep")
        for sub in subs[way]:
            _rule(sub, [*inside, conditions], subs, draft, depth + 1)
        return False
    if way == "PASS":
        return False  # the rule says to go on, as without it
    if way not in draft.names and way not in draft.gone and way not in BUILT_IN:
        draft.gone[way] = "there is no such proxy"
    draft.rule(node.line, _all([*inside, conditions]), way, line[:120])
    draft.rule_is_read(node.line, line[:120], way)
    return False


def _all(conditions: list[Section]) -> Section:
    return conditions[0] if len(conditions) == 1 else {"and": conditions}


def condition(
    kind: str, value: str, options: list[str], line: int, draft: Draft, depth: int
) -> Section:
    """The conditions of a rule, in ours. Raises Unsaid."""
    if kind == "SUB-RULE":
        inner = value.strip()
        if not (inner.startswith("(") and inner.endswith(")")):
            raise Unsaid("expected SUB-RULE,(KIND,value),name")
        return _inner(inner[1:-1], line, draft, depth)
    note_options(kind, value, options, line, draft)
    if kind in ("AND", "OR", "NOT"):
        return _logic(kind, value, line, draft, depth)
    if kind in _SIMPLE:
        return {_SIMPLE[kind]: value.removeprefix(".") if kind == "DOMAIN-SUFFIX" else value}
    if kind in _NOT:
        raise Unsaid(_NOT[kind])
    found = _other(kind, value, line, draft)
    if kind in _SOURCES and "src" in options:
        return {_SOURCES_OF[key]: part for key, part in found.items()}
    return unresolved(found) if kind in _SOURCES and "no-resolve" in options else found


def note_options(kind: str, value: str, options: list[str], line: int, draft: Draft) -> None:
    """Note the options that a rule, or a line of a list, has to no purpose."""
    logic = kind in ("AND", "OR", "NOT")
    for option in options:
        if option not in _OPTIONS or logic or (option == "src" and kind not in _SOURCES):
            draft.note(line, f"{kind},{value}"[:120], f"the option {option[:40]} has no effect")


def _other(
    kind: str, value: str, line: int, draft: Draft
) -> Section:  # a table of kinds, long by nature
    match kind:
        case "DOMAIN-WILDCARD":
            return {"domain_wildcard" if "*" in value or "?" in value else "domain": value}
        case "DOMAIN-REGEX":
            return {"domain_regex": value}
        case "IP-CIDR" | "IP-CIDR6":
            return {"ip": _prefix(value)}
        case "SRC-IP-CIDR":
            return {"source": _prefix(value)}
        case "GEOIP" | "SRC-GEOIP" if (prefixes := named(value)) is not None:
            return {"ip" if kind == "GEOIP" else "source": list(prefixes)}
        case "GEOIP" | "SRC-GEOIP" | "IP-ASN" | "SRC-IP-ASN":
            return _placed(kind, value, draft)
        case "DST-PORT" | "SRC-PORT":
            key = "port" if kind == "DST-PORT" else "source_port"
            words = re.split(r"[/,]", value)
            ports = [int(word) if word.isdigit() else word for word in words]
            return {key: ports if len(ports) > 1 else ports[0]}
        case "NETWORK":
            return {"network": value.lower()}
        case "UID":
            return {"uid": int(value) if value.isdigit() else value}
        case "IN-USER":
            return {"user": value.split("/")}
        case "IN-NAME":
            known = {item.what: name for name, item in draft.entries["inbounds"].items()}
            names = [known[name] for name in value.split("/") if name in known]
            if not names:
                raise Unsaid("there is no such inbound")
            return {"inbound": names}
        case "GEOSITE":
            if (asked := geosites.condition(value, draft.geosite_url, line, draft)) is None:
                raise Unsaid("no list has this name")
            return asked
        case "RULE-SET":
            if (ours := draft.set_asked(value)) is None:
                raise Unsaid("the set is not kept")
            return {"set": ours}
    raise Unsaid(f"rules of kind {kind[:40]} are not known here")


def _placed(kind: str, value: str, draft: Draft) -> Section:
    key = "country" if "GEOIP" in kind else "asn"
    if key not in draft.plain.get("geo", {}):
        raise Unsaid(f"needs a database: byway import --{key} FILE.mmdb")
    source = "source_" if kind.startswith("SRC-") else ""
    if key == "country":
        return {f"{source}{key}": value.upper()}
    number = value.upper().removeprefix("AS")
    return {f"{source}{key}": int(number) if number.isdigit() else value}


def _prefix(value: str) -> str:
    """Without the bits beyond its length, which Clash allows."""
    import ipaddress

    try:
        return str(ipaddress.ip_network(value.strip(), strict=False))
    except ValueError:
        raise Unsaid(f"{value[:60]!r} is not a prefix") from None


def _inner(text_: str, line: int, draft: Draft, depth: int) -> Section:
    """A condition between brackets: a kind, a value, and options."""
    kind, *rest = split(text_)
    if not rest:
        raise Unsaid("expected (KIND,value)")
    if kind.upper().endswith("-REGEX"):
        rest = [",".join(rest)]
    return condition(kind.upper(), rest[0], rest[1:], line, draft, depth + 1)


def _logic(kind: str, value: str, line: int, draft: Draft, depth: int) -> Section:
    if depth >= _DEEPEST:
        raise Unsaid("nested too deep")
    inner = value.strip()
    if not (inner.startswith("(") and inner.endswith(")")):
        raise Unsaid(f"expected {kind},((KIND,value),...)")
    parts: list[Section] = []
    lost: list[str] = []
    missing = len(draft.missing)
    for part in split(inner[1:-1]):
        if not (part.startswith("(") and part.endswith(")")):
            raise Unsaid(f"expected {kind},((KIND,value),...)")
        try:
            parts.append(_inner(part[1:-1], line, draft, depth))
        except Unsaid as error:
            if kind != "OR":
                raise
            lost.append(str(error))
    if lost and not parts:
        raise Unsaid(lost[0])
    draft.missing += lost
    if kind == "NOT" and len(draft.missing) > missing:  # without a part it takes more than before
        raise Unsaid(draft.missing[-1] or "a set in it lacks some entries")
    if not parts or (kind == "NOT" and len(parts) != 1):
        raise Unsaid(f"{kind} of {len(parts)} conditions")
    return {"not": parts[0]} if kind == "NOT" else {kind.lower(): parts}


def split(text_: str) -> list[str]:
    """The parts between commas, but for those in brackets. Of a regex, see the caller."""
    parts, depth, start = [], 0, 0
    for at, c in enumerate(text_):
        if c == "(":
            depth += 1
        elif c == ")":
            depth -= 1
        elif c == "," and depth == 0:
            parts.append(text_[start:at].strip())
            start = at + 1
    return [*parts, text_[start:].strip()]
