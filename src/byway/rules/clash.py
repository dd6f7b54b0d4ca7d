"""Lists as Clash's rule providers have them: YAML or text, of names, prefixes, or whole rules.

The three behaviours (domain, ipcidr, classical) need no telling apart: a rule begins with its kind
and a comma, which no name and no prefix has.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from byway.flow import Network
from byway.rules import matchers as m
from byway.rules.gathering import (
    Bad,
    Gathering,
    host,
    is_prefix,
    keyword,
    labelled,
    prefix,
    regex,
    wildcard,
)
from byway.rules.geo import FromCountry, FromSystem, InCountry, InSystem, World
from byway.rules.names import Labels
from byway.rules.networks import named, prefixes
from byway.rules.programs import ProcessName, ProcessPath, ProcessUser
from byway.rules.sets import Takes

_DEEPEST = 8
_ITEM = re.compile(r"-\s+(?:'((?:[^']|'')*)'|\"([^\"\\]*)\"|([^'\"#\s][^#]*?))\s*(?:#.*)?")


def read_line(text: str, into: Gathering, line: int) -> None:
    """One line of a list, of either form; the YAML read is one entry a line. Raises Bad.

    No entry of the text form begins with a dash and a space, so a line tells its form itself.
    """
    if text[0] == "#" or text.startswith("//") or text in ("---", "..."):
        return
    if text.partition("#")[0].strip() == "payload:":
        return
    if text[0] != "-":
        _entry(text, into, line)
    elif found := _ITEM.fullmatch(text):
        single, double, plain = found.groups()
        entry = single.replace("''", "'") if single is not None else double or plain or ""
        _entry(entry, into, line)
    else:
        raise Bad("expected a line of YAML: - 'entry'")


def _entry(entry: str, into: Gathering, line: int) -> None:
    kind, comma, rest = entry.partition(",")
    if not comma:
        if is_prefix(entry):
            into.prefix(entry, line)
        elif "*" in entry and not re.fullmatch(r"\*\.[^*]+", entry):
            into.condition(_labels(entry), line, entry)
        else:
            labelled(entry, into, line)
        return
    value, *options = _parts(rest) if kind.strip().upper() not in _LOGIC else [rest]
    match kind.strip().upper():
        case "DOMAIN":
            into.name(value, Takes.ITSELF, line)
        case "DOMAIN-SUFFIX":
            into.name(value.removeprefix("."), Takes.SUFFIX, line)
        case "IP-CIDR" | "IP-CIDR6" if "src" not in options:
            into.prefix(value, line, "no-resolve" not in options)
        case _:
            into.condition(_rule(entry, into.world, 0), line, entry)


def _labels(entry: str) -> Labels:
    """A name in which `*` stands for one whole label, wherever it is. Raises Bad."""
    both, below = entry.startswith("+."), entry.startswith(".")
    labels = entry.lower().removeprefix("+").removeprefix(".").split(".")
    if any("*" in label and label != "*" for label in labels):
        raise Bad("* stands for a whole label here")
    names = host(".".join("x" if label == "*" else label for label in labels)).split(".")
    found = ("*" if label == "*" else name for label, name in zip(labels, names, strict=True))
    return Labels(tuple(found), not below, both or below)


_LOGIC = ("AND", "OR", "NOT")


def _rule(text: str, world: World, depth: int) -> m.Matcher:  # a table of kinds, long by nature
    kind, _, rest = text.partition(",")
    kind = kind.strip().upper()
    if kind in _LOGIC:
        return _logic(kind, rest.strip(), world, depth)
    value, *options = _parts(rest)
    match kind:
        case "DOMAIN":
            return m.Domain(frozenset({host(value)}))
        case "DOMAIN-SUFFIX":
            return m.DomainSuffix(frozenset({host(value.removeprefix("."))}))
        case "DOMAIN-KEYWORD":
            return keyword(value)
        case "DOMAIN-WILDCARD":
            return wildcard(value)
        case "DOMAIN-REGEX":
            return regex(rest)
        case "IP-CIDR" | "IP-CIDR6" if "src" not in options:
            return m.Address(m.PrefixSet((prefix(value),)), "no-resolve" not in options)
        case "SRC-IP-CIDR" | "IP-CIDR" | "IP-CIDR6":
            return m.Source(m.PrefixSet((prefix(value),)))
        case "DST-PORT":
            return m.Port(ports(value))
        case "SRC-PORT":
            return m.SourcePort(ports(value))
        case "NETWORK":
            return m.OnNetwork((network(value),))
        case "IN-NAME":
            return m.FromInbound(frozenset(value.split("/")))
        case "IN-USER":
            return m.OfUser(frozenset(value.split("/")))
        case "GEOIP" | "IP-ASN" | "SRC-GEOIP" | "SRC-IP-ASN":
            source = "SRC-" if "src" in options and not kind.startswith("SRC-") else ""
            return _placed(source + kind, value, "no-resolve" not in options, world)
        case "PROCESS-NAME":
            return ProcessName(frozenset({program(value).lower()}))
        case "PROCESS-PATH":
            return ProcessPath((program_file(value).lower(),))
        case "UID":
            return ProcessUser(frozenset({user(value)}))
        case "MATCH":
            raise Bad("has no place in a set")
    raise Bad(f"{kind[:40]} is not supported")


def _placed(kind: str, value: str, resolves: bool, world: World) -> m.Matcher:
    """Where in the world an address is. Networks for special use are a country of their own."""
    if kind.endswith("GEOIP"):
        if (texts := named(value)) is not None:
            found = prefixes(texts)
            return m.Address(found, resolves) if kind == "GEOIP" else m.Source(found)
        if not re.fullmatch("[A-Za-z]{2}", value):
            raise Bad("not the code of a country")
        if world.countries is None:
            raise Bad("needs a database of countries (geo.country)")
        codes = frozenset({value.upper()})
        if kind == "GEOIP":
            return InCountry(codes, world.countries, resolves)
        return FromCountry(codes, world.countries)
    number = value.upper().removeprefix("AS")
    if not (number.isascii() and number.isdigit() and len(number) <= 10):
        raise Bad("not the number of a network")
    if world.systems is None:
        raise Bad("needs a database of networks (geo.asn)")
    numbers = frozenset({int(number)})
    if kind == "IP-ASN":
        return InSystem(numbers, world.systems, resolves)
    return FromSystem(numbers, world.systems)


def _logic(kind: str, text: str, world: World, depth: int) -> m.Matcher:
    """`((KIND,value),(KIND,value))` behind AND, OR or NOT."""
    if depth >= _DEEPEST:
        raise Bad("nested too deep")
    if not (text.startswith("(") and text.endswith(")")):
        raise Bad(f"expected {kind},((KIND,value),...)")
    of = tuple(_rule(part, world, depth + 1) for part in _brackets(text[1:-1]))
    if not of or (kind == "NOT" and len(of) != 1):
        raise Bad(f"{kind} of {len(of)} rules")
    if kind == "NOT":
        return m.Not(of[0])
    return m.All(of) if kind == "AND" else m.AnyOf(of)


def _brackets(text: str) -> Iterator[str]:
    """The texts inside the outermost brackets."""
    depth = start = 0
    for at, c in enumerate(text):
        if c == "(":
            depth += 1
            if depth == 1:
                start = at + 1
        elif c == ")":
            depth -= 1
            if depth == 0:
                yield text[start:at]
        elif depth == 0 and c not in ", ":
            raise Bad("expected (KIND,value),(KIND,value)")
        if depth < 0:
            break
    if depth != 0:
        raise Bad("unbalanced brackets")


def ports(text: str) -> tuple[tuple[int, int], ...]:
    """Ports and ranges, with / or , between. Raises Bad."""
    found = []
    for part in re.split(r"[/,]", text):
        first, dash, last = part.strip().partition("-")
        if not (first.isascii() and first.isdigit()) or (dash and not last.isdigit()):
            raise Bad("not a port")
        low, high = int(first[:9]), int((last or first)[:9])
        if not low <= high <= 65535:
            raise Bad("not a range of ports")
        found.append((low, high))
    return tuple(found)


def program(text: str) -> str:
    """The name of a program's file. Raises Bad."""
    if not text or "/" in text or "\0" in text:
        raise Bad("not the name of a program")
    return text


def program_file(text: str) -> str:
    """The path of a program. Raises Bad."""
    if not text.startswith("/") or "\0" in text:
        raise Bad("not a path from the root")
    return text.rstrip("/") or "/"


def user(text: str) -> int:
    """The number of a user of the system. Raises Bad."""
    if not (text.isascii() and text.isdigit() and len(text) <= 10):
        raise Bad("not the number of a user")
    return int(text)


def network(text: str) -> Network:
    """tcp or udp. Raises Bad."""
    try:
        return Network(text.strip().lower())
    except ValueError:
        raise Bad("expected tcp or udp") from None


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",")]
