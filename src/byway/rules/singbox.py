"""Lists in sing-box's source form: one JSON object with `rules`, of which any may match.

Inside a rule, names and addresses count as one question, the ports as another, and so on; each
question must be answered by one of its items.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping

from byway.rules import matchers as m
from byway.rules.clash import network, ports, program, program_file
from byway.rules.gathering import Bad, Gathering, host, keyword, prefix, regex
from byway.rules.names import Wildcard
from byway.rules.programs import ProcessName, ProcessPath
from byway.rules.sets import Takes

_DEEPEST = 8
_PLAIN = {"domain", "domain_suffix", "domain_keyword", "domain_regex", "ip_cidr"}


def read(text: str, into: Gathering) -> None:
    """Read a whole list."""
    read_rules(enumerate(rules_of(text, into)), text, into)


def rules_of(text: str, into: Gathering) -> list[object]:
    """The rules of a list; none of what is no list."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        into.refuse(getattr(error, "lineno", 0), "", f"not JSON: {getattr(error, 'msg', error)}")
        return []
    rules = found.get("rules") if isinstance(found, dict) else None
    if not isinstance(rules, list):
        into.refuse(1, "", "expected an object with a list of rules")
        return []
    return rules


def is_plain(rule: object) -> bool:
    """Whether any item of a rule is enough, whatever its other items are."""
    return isinstance(rule, dict) and set(rule) <= _PLAIN and bool(rule)


def read_rules(rules: Iterable[tuple[int, object]], text: str, into: Gathering) -> None:
    """Read rules, each with its place in the list; the text is where they stand."""
    for at, rule in rules:
        try:
            _rule(rule, f"rules[{at}]", into, text)
        except Bad as error:
            into.refuse(0, f"rules[{at}]", error)


def read_line(text: str, into: Gathering, line: int) -> None:
    """One rule of a list. Raises Bad."""
    try:
        rule = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Bad(f"not JSON: {getattr(error, 'msg', error)}") from None
    if isinstance(rule, dict) and is_plain(rule):
        for key, value in rule.items():
            for item in _items(value):
                _plain(key, item, text, into, line)
    else:
        into.condition(_matcher(rule, 0), line, text)


def _rule(rule: object, path: str, into: Gathering, text: str) -> None:
    if isinstance(rule, dict) and is_plain(rule):
        for key, value in rule.items():
            for item in _items(value):
                try:
                    _plain(key, item, path, into, 0)
                except Bad as error:
                    into.refuse(_line(text, item), item, error)
    else:
        into.condition(_matcher(rule, 0), 0, path)


def _plain(key: str, item: str, path: str, into: Gathering, line: int) -> None:
    match key:
        case "domain":
            into.name(item, Takes.ITSELF, line)
        case "domain_suffix" if item.startswith("."):
            into.name(item[1:], Takes.BELOW, line)
        case "domain_suffix":
            into.name(item, Takes.SUFFIX, line)
        case "ip_cidr":
            into.prefix(item, line)
        case _:
            into.condition(_question(key, item), line, f"{path}.{key}: {item}")


def _matcher(rule: object, depth: int) -> m.Matcher:
    if not isinstance(rule, dict) or not rule:
        raise Bad("a rule is an object with conditions")
    if depth >= _DEEPEST:
        raise Bad("nested too deep")
    if rule.get("type") == "logical":
        parts = tuple(_matcher(part, depth + 1) for part in _list(rule.get("rules")))
        mode = rule.get("mode")
        if mode not in ("and", "or") or not parts:
            raise Bad("a logical rule has a mode (and, or) and rules")
        found: m.Matcher = m.All(parts) if mode == "and" else m.AnyOf(parts)
    else:
        found = m.All(tuple(_questions(rule)))
    return m.Not(found) if rule.get("invert") is True else found


def _questions(rule: Mapping[str, object]) -> Iterator[m.Matcher]:
    """One matcher for each question, of all items that answer it."""
    by_question: dict[str, list[m.Matcher]] = {}
    for key, value in rule.items():
        if key in ("invert", "type"):
            continue
        question = "target" if key in _PLAIN else key.removesuffix("_range")
        items = _items(value)
        if (at_once := _TOGETHER.get(key)) is not None and len(items) > 1:
            together = [item for item in items if not item.startswith(".")]
            by_question.setdefault(question, []).append(at_once(together))
            items = [item for item in items if item.startswith(".")]
        for item in items:
            by_question.setdefault(question, []).append(_question(key, item))
    if not by_question:
        raise Bad("the rule has no condition")
    for of in by_question.values():
        yield of[0] if len(of) == 1 else m.AnyOf(tuple(of))


_TOGETHER: dict[str, Callable[[list[str]], m.Matcher]] = {
    "domain": lambda items: m.Domain(frozenset(map(host, items))),
    "domain_suffix": lambda items: m.DomainSuffix(frozenset(map(host, items))),
    "ip_cidr": lambda items: m.Address(m.PrefixSet(tuple(map(prefix, items)))),
    "source_ip_cidr": lambda items: m.Source(m.PrefixSet(tuple(map(prefix, items)))),
}
"""Items that are asked at once, since there may be many of them."""


def _question(key: str, item: str) -> m.Matcher:  # a table of keys, long by nature
    match key:
        case "domain":
            return m.Domain(frozenset({host(item)}))
        case "domain_suffix" if item.startswith("."):
            return Wildcard((f"*.{host(item[1:])}",))
        case "domain_suffix":
            return m.DomainSuffix(frozenset({host(item)}))
        case "domain_keyword":
            return keyword(item)
        case "domain_regex":
            return regex(item)
        case "ip_cidr":
            return m.Address(m.PrefixSet((prefix(item),)))
        case "source_ip_cidr":
            return m.Source(m.PrefixSet((prefix(item),)))
        case "port":
            return m.Port(ports(item))
        case "port_range":
            return m.Port(ports(_range(item)))
        case "source_port":
            return m.SourcePort(ports(item))
        case "source_port_range":
            return m.SourcePort(ports(_range(item)))
        case "process_name":
            return ProcessName(frozenset({program(item).lower()}))
        case "process_path":
            return ProcessPath((program_file(item).lower(),))
        case "network":
            return m.OnNetwork((network(item),))
    raise Bad(f"{key[:40]} is not supported")


def _range(text: str) -> str:
    """`1000:2000`, `:3000` or `4000:`, with a dash between."""
    first, colon, last = text.partition(":")
    if not colon:
        raise Bad("not a range of ports")
    return f"{first or 0}-{last or 65535}"


def _items(value: object) -> list[str]:
    """The items, where one thing may stand in place of a list."""
    items = value if isinstance(value, list) else [value]
    if not all(isinstance(item, str | int) and not isinstance(item, bool) for item in items):
        raise Bad("expected texts or numbers")
    return [str(item) for item in items]


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _line(text: str, item: str) -> int:
    """Where an item stands first."""
    at = text.find(json.dumps(item))
    return 0 if at < 0 else text.count("\n", 0, at) + 1
