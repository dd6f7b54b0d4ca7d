"""The differences of two configs, in lines for a person. No secret is ever shown."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from byway.config.model import Config
from byway.config.names.dns import Dns
from byway.values.section import Section

LATER = " (after a restart)"


def changes(old: Config, new: Config) -> tuple[str, ...]:
    """`+` what came, `-` what went, `~` what changed: a line each, none where all is the same."""
    return tuple(_all(old, new))


def _all(old: Config, new: Config) -> Iterator[str]:
    for name in ("log", "limits", "control", "names", "geo"):
        before, after = getattr(old, name), getattr(new, name)
        for key in type(after).model_fields:
            if getattr(before, key) != getattr(after, key):
                later = LATER if name == "control" else ""
                was, now = _worded(getattr(before, key)), _worded(getattr(after, key))
                yield f"~ {name}.{key}: {was} -> {now}{later}"
    for key, stamp in new._stamps.items():
        if getattr(old.geo, key) == getattr(new.geo, key) and old._stamps.get(key) != stamp:
            yield f"~ geo.{key}: the file has changed"
    for place, function in new.functions.items():
        before = old.functions.get(place)
        if before is not None and before.digest != function.digest:
            yield f"~ python {place}: the file has changed"
    yield from _named("inbound", old.inbounds, new.inbounds)
    yield from _named("outbound", old.outbounds, new.outbounds)
    yield from _named("group", old.groups, new.groups)
    yield from _names(old.dns, new.dns)
    yield from _named("set", old.sets, new.sets)
    yield from _rules(old, new)
    before = {rule.ref.text: rule.limit for rule in reversed(old.rules)}
    after = {rule.ref.text: rule.limit for rule in reversed(new.rules)}
    for text, limit in reversed(after.items()):
        if before.get(text, limit) != limit:
            yield f"~ limit of rule {text}"


def _worded(value: object) -> object:
    """A value as a person would write it: no limit is `off`."""
    return "off" if value == math.inf else value


def _names(old: Dns | None, new: Dns | None) -> Iterator[str]:
    """The changes in `dns`; the paths of servers may be secrets."""
    if old is None or new is None:
        if old is not new:
            yield "- dns" if new is None else "+ dns"
        return
    yield from _named("name server", old.servers, new.servers)
    for key in Dns.model_fields:
        if key != "servers" and getattr(old, key) != getattr(new, key):
            yield f"~ dns.{key}"


def _named(word: str, old: Mapping[str, Section], new: Mapping[str, Section]) -> Iterator[str]:
    for name in (*old, *(name for name in new if name not in old)):
        if name not in new:
            yield f"- {word} {name}"
        elif name not in old:
            yield f"+ {word} {name}"
        elif old[name] != new[name]:
            yield f"~ {word} {name}: {', '.join(_keys(old[name], new[name]))}"


def _keys(old: Section, new: Section) -> Iterator[str]:
    """The keys that differ; their values may be secrets."""
    if type(old) is not type(new):
        yield "type"
        return
    for key in type(new).model_fields:
        if getattr(old, key) != getattr(new, key):
            yield key


def _rules(old: Config, new: Config) -> Iterator[str]:
    """The rules that came and went; one that moved did both."""
    before = [entry.ref.text for entry in old.rules]
    after = [entry.ref.text for entry in new.rules]
    if before == after:
        return
    from difflib import SequenceMatcher  # of use now and then, and not light

    for what, a, b, c, d in SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        if what != "equal":
            yield from (f"- rule {text}" for text in before[a:b])
            yield from (f"+ rule {text}" for text in after[c:d])
