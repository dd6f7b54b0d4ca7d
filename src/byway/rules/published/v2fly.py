"""Lists of names as v2fly's community writes them: text files that include each other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from byway.rules.gathering import Bad

_MARKS = {"domain": "domain:", "full": "=", "keyword": "keyword:", "regexp": "regex:"}
_MOST = 1_000_000  # entries, those of included lists counted each time

Read = Callable[[str], str]
"""Takes the name of a list, gives its text. Raises OSError."""


@dataclass(frozen=True, slots=True)
class _Entry:
    kind: str
    value: str
    attributes: frozenset[str]


def lines(name: str, part: str, read: Read, joined: Mapping[str, str] = {}) -> bytes:
    """The entries of a list and of those that it includes, a line each.

    `part` chooses by attributes: of `@cn@ads` an entry has both. `joined` are the texts of other
    lists by their names, in which entries may join this one (`&name`). An entry that cannot be read
    is kept as it is, for whoever reads the lines to report. Raises Bad for a circle or a missing
    list, OSError where the list itself cannot be read.
    """
    wanted = {word for word in part.partition("@")[2].split("@") if word}
    room = [_MOST]
    found = _entries(read(name), read, (name.lower(),), room)
    for other, text in joined.items():
        if other != name:
            found += _joining(text, name.lower())
    kept = dict.fromkeys(one for one in found if wanted <= one.attributes)
    return "".join(f"{_MARKS.get(one.kind, '')}{one.value}\n" for one in kept).encode()


def _entries(text: str, read: Read, inside: tuple[str, ...], room: list[int]) -> list[_Entry]:
    found = []
    for line in text.splitlines():
        if (entry := _entry(line)) is None:
            continue
        room[0] -= 1
        if room[0] < 0:
            raise Bad(f"it has more than {_MOST} entries")
        if entry.kind == "include":
            found += _included(entry, read, inside, room)
        else:
            found.append(entry)
    return found


def _included(entry: _Entry, read: Read, inside: tuple[str, ...], room: list[int]) -> list[_Entry]:
    name = entry.value.lower()
    if name in inside:
        raise Bad(f"its lists include each other: {' -> '.join((*inside, name))}")
    try:
        text = read(name)
    except OSError:
        raise Bad(f"it includes the list {name!r}, which cannot be read") from None
    must = {word for word in entry.attributes if not word.startswith("-")}
    never = {word[1:] for word in entry.attributes if word.startswith("-")}
    return [
        one
        for one in _entries(text, read, (*inside, name), room)
        if must <= one.attributes and not never & one.attributes
    ]


def _joining(text: str, name: str) -> list[_Entry]:
    found = []
    for line in text.splitlines():
        words = line.partition("#")[0].split()
        if f"&{name}" in (word.lower() for word in words[1:]) and (entry := _entry(line)):
            found.append(entry)
    return found


def _entry(line: str) -> _Entry | None:
    words = line.partition("#")[0].split()
    if not words:
        return None
    kind, colon, value = words[0].partition(":")
    if not colon:
        kind, value = "domain", words[0]
    kind = kind.lower()
    attributes = frozenset(word[1:].lower() for word in words[1:] if word.startswith("@"))
    if kind not in _MARKS and kind != "include":
        kind, value = "", words[0]
    return _Entry(kind, value if kind == "regexp" else value.lower(), attributes)
