"""sing-box's lists of any size: long plain arrays go to the engine, and the rest is read here.

An array of a million names is neither made into a million objects of Python nor asked for one by
one: it is cut out of the text before that is parsed, and becomes the lines of a list.
"""

from __future__ import annotations

import json
import re

from byway.engine import EngineLists
from byway.rules import singbox
from byway.rules.gathering import BadEntry, Gathering
from byway.rules.geo import NOWHERE, World
from byway.rules.large import of_both
from byway.rules.lists import read_lines
from byway.rules.sets import Contents

LONG = 4096  # bytes of an array that is worth it
_NAME = rb'"[0-9._-]*+[A-Za-z][A-Za-z0-9._-]*+"'
_PREFIX = rb'"[0-9A-Fa-f.:/]++"'
_ARRAY = re.compile(
    rb'"(?:(domain|domain_suffix)"\s*+:\s*+\[((?:\s*+%(name)s\s*+,)*+\s*+%(name)s\s*+)\]'
    rb'|ip_cidr"\s*+:\s*+\[((?:\s*+%(prefix)s\s*+,)*+\s*+%(prefix)s\s*+)\])'
    % {b"name": _NAME, b"prefix": _PREFIX}
)
_MARK = "\0cut out "


def contents_of_json(data: bytes, world: World = NOWHERE) -> tuple[Contents, list[BadEntry]]:
    """The set that a list in sing-box's source form is, and its bad entries."""
    into = Gathering(world=world)
    arrays: list[tuple[str, bytes]] = []

    def cut(found: re.Match[bytes]) -> bytes:
        if len(found[0]) < LONG:
            return found[0]
        key = found[1] or b"ip_cidr"
        items = found[2] or found[3]
        arrays.append((key.decode(), items))
        mark = json.dumps([f"{_MARK}{len(arrays) - 1}"]).encode()
        return b'"%b": %b%b' % (key, mark, b"\n" * items.count(b"\n"))

    text = _ARRAY.sub(cut, data).decode("utf-8-sig", "replace")
    del data
    rules = singbox.rules_of(text, into)
    lines = bytearray()
    left = [(at, rule, _without(rule, arrays, lines)) for at, rule in enumerate(rules)]
    singbox.read_rules(((at, kept) for at, rule, kept in left if kept or not rule), text, into)
    if not lines:
        return into.contents(), into.bad
    arrays.clear()
    lists = EngineLists.read(bytes(lines), "lines")
    del lines
    read_lines("lines", ((0, entry) for _, entry in lists.rest), into)
    return of_both(lists, into.contents(), numbered=False), into.bad


def _without(rule: object, arrays: list[tuple[str, bytes]], lines: bytearray) -> object:
    """A plain rule without its long arrays, which become lines; any other with them."""
    if not isinstance(rule, dict):
        return rule
    if not singbox.is_plain(rule):
        return _with(rule, arrays)
    left = {}
    for key, value in rule.items():
        at = _cut_out(value)
        if at is None:
            left[key] = value
            continue
        word, items = arrays[at]
        arrays[at] = (word, b"")  # so that no text is held twice
        start = b"=" if word == "domain" else b""
        items = items.translate(None, b'" \t\r\n')
        lines += start + items.replace(b",", b"\n" + start) + b"\n"
    return left


def _with(value: object, arrays: list[tuple[str, bytes]]) -> object:
    at = _cut_out(value)
    if at is not None:
        return json.loads(b"[" + arrays[at][1] + b"]")
    if isinstance(value, dict):
        return {key: _with(part, arrays) for key, part in value.items()}
    return [_with(part, arrays) for part in value] if isinstance(value, list) else value


def _cut_out(value: object) -> int | None:
    """Which array stood here."""
    if isinstance(value, list) and len(value) == 1:
        (word,) = value
        if isinstance(word, str) and word.startswith(_MARK):
            return int(word.removeprefix(_MARK))
    return None
