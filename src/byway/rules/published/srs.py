"""sing-box's binary lists (srs), versions 1 to 5: rules, packed by zlib.

A rule that asks nothing but names and addresses becomes a line for each. Any other becomes one
line, the rule in sing-box's source form.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterator

from byway.rules.gathering import Bad
from byway.rules.published.patterns import pattern_regex
from byway.rules.published.reading import MOST_BYTES, Cursor, names_of, prefixes_of

NEWEST = 5
_DEEPEST = 16
_END = 0xFF
_ADGUARD = "adguard:"

Rule = dict[str, object]


def lines(data: bytes) -> bytes:
    """Its rules. Raises Bad for what is no such list, or has an item that is not known."""
    if data[:3] != b"SRS":
        raise Bad("it is no list of sing-box (srs)")
    if not 1 <= data[3:4].ljust(1, b"\0")[0] <= NEWEST:
        raise Bad(f"it is of a version that is not known: supported is 1 to {NEWEST}")
    cursor = Cursor(_unpacked(data[4:]))
    return b"".join(_rule_lines(_rule(cursor, 0)) for _ in range(cursor.count(2)))


def _unpacked(data: bytes) -> bytes:
    unpacking = zlib.decompressobj()
    try:
        found = unpacking.decompress(data, MOST_BYTES + 1)
    except zlib.error:
        raise Bad("it is not packed by zlib, or is damaged") from None
    if len(found) > MOST_BYTES:
        raise Bad(f"it unpacks to more than {MOST_BYTES >> 20} MiB")
    return found


def _rule(cursor: Cursor, depth: int) -> Rule:
    kind = cursor.byte()
    if kind == 1:
        return _logical(cursor, depth)
    if kind != 0:
        raise Bad(f"a rule of the kind {kind} is not known")
    rule: Rule = {}
    while (item := cursor.byte()) != _END:
        if item not in _ITEMS:
            raise Bad(f"an item of the kind {item:#04x} is not known")
        key, read = _ITEMS[item]
        rule[key] = read(cursor)
    if cursor.byte():
        rule["invert"] = True
    return rule


def _logical(cursor: Cursor, depth: int) -> Rule:
    if depth >= _DEEPEST:
        raise Bad("its rules are nested too deep")
    mode = cursor.byte()
    if mode > 1:
        raise Bad(f"a logical rule of the mode {mode} is not known")
    rules = [_rule(cursor, depth + 1) for _ in range(cursor.count(2))]
    rule: Rule = {"type": "logical", "mode": ("and", "or")[mode], "rules": rules}
    if cursor.byte():
        rule["invert"] = True
    return rule


def _trie(cursor: Cursor, marks: str) -> bytes:
    cursor.byte()  # reserved
    leaves, bitmap = (cursor.take(8 * cursor.count(8)) for _ in range(2))
    return names_of(leaves, bitmap, cursor.take(cursor.varying()), marks)


def _prefixes(cursor: Cursor) -> list[str]:
    if cursor.byte() != 1:
        raise Bad("its addresses are of a kind that is not known")
    found: list[str] = []
    for _ in range(cursor.fixed(8)):
        first = cursor.take(cursor.varying())
        found += prefixes_of(first, cursor.take(cursor.varying()))
    return found


def _numbers(cursor: Cursor) -> list[int]:
    return [cursor.fixed(2) for _ in range(cursor.count(2))]


def _kinds(cursor: Cursor) -> list[int]:
    return list(cursor.take(cursor.count(1)))


def _own_prefixes(cursor: Cursor) -> list[str]:
    return [cursor.take(cursor.varying()).hex() + f"/{cursor.byte()}" for _ in _times(cursor)]


def _interfaces(cursor: Cursor) -> list[str]:
    found: list[str] = []
    for _ in _times(cursor):
        cursor.byte()
        found += _own_prefixes(cursor)
    return found


def _times(cursor: Cursor) -> Iterator[int]:
    yield from range(cursor.count(2))


_ITEMS: dict[int, tuple[str, Callable[[Cursor], object]]] = {
    0x00: ("query_type", _numbers),
    0x01: ("network", Cursor.texts),
    0x02: ("names", lambda cursor: _trie(cursor, "sing-box")),
    0x03: ("domain_keyword", Cursor.texts),
    0x04: ("domain_regex", Cursor.texts),
    0x05: ("source_ip_cidr", _prefixes),
    0x06: ("ip_cidr", _prefixes),
    0x07: ("source_port", _numbers),
    0x08: ("source_port_range", Cursor.texts),
    0x09: ("port", _numbers),
    0x0A: ("port_range", Cursor.texts),
    0x0B: ("process_name", Cursor.texts),
    0x0C: ("process_path", Cursor.texts),
    0x0D: ("package_name", Cursor.texts),
    0x0E: ("wifi_ssid", Cursor.texts),
    0x0F: ("wifi_bssid", Cursor.texts),
    0x10: ("adguard", lambda cursor: _trie(cursor, "adguard")),
    0x11: ("process_path_regex", Cursor.texts),
    0x12: ("network_type", _kinds),
    0x13: ("network_is_expensive", lambda cursor: [1]),
    0x14: ("network_is_constrained", lambda cursor: [1]),
    0x15: ("network_interface_address", _interfaces),
    0x16: ("default_interface_address", _own_prefixes),
    0x17: ("package_name_regex", Cursor.texts),
}
_ENOUGH = {"names", "adguard", "domain_keyword", "domain_regex", "ip_cidr"}
"""The items of which any is enough, whatever the others are."""


def _rule_lines(rule: Rule) -> bytes:
    if not set(rule) <= _ENOUGH:
        return json.dumps(_source_form(rule)).encode() + b"\n"
    found = []
    for key, value in rule.items():
        if isinstance(value, bytes):
            found.append(value)
        elif isinstance(value, list):
            mark = {"domain_keyword": "keyword:", "domain_regex": "regex:"}.get(key, "")
            found += [f"{mark}{' '.join(item.splitlines())}\n".encode() for item in value]
    return b"".join(found)


def _source_form(rule: Rule) -> Rule:
    """The rule with names in the keys of sing-box's source form."""
    if "rules" in rule:
        parts = rule["rules"]
        return (
            rule | {"rules": [_source_form(part) for part in parts if isinstance(part, dict)]}
            if isinstance(parts, list)
            else rule
        )
    found: dict[str, object] = {}
    by_key: dict[str, list[str]] = {}
    for key, value in rule.items():
        if isinstance(value, bytes):
            for line in value.decode().splitlines():
                key, item = _named(line)
                by_key.setdefault(key, []).append(item)
        elif key == "domain_regex" and isinstance(value, list):
            by_key.setdefault(key, []).extend(value)
        else:
            found[key] = value
    return found | by_key


def _named(line: str) -> tuple[str, str]:
    if line.startswith(_ADGUARD):
        return "domain_regex", pattern_regex(line.removeprefix(_ADGUARD))
    if line.startswith("="):
        return "domain", line[1:]
    return "domain_suffix", line
