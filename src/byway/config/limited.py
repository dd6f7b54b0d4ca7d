"""From the limits a person wrote to the terms that flows are held to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

from byway.config.model import Config
from byway.ledger.limits import Terms, user_name
from byway.values.limit import Limit
from byway.values.section import Section

S = TypeVar("S", bound=Section)


def terms_of(config: Config) -> Iterator[Terms]:
    """Every limit of a checked config. Of rules with the same text the first one counts."""
    for name, inbound in config.inbounds.items():
        place = _place(config, config.line("inbounds", name))
        yield from _terms(inbound.limit, f"inbound {name}", place)
        for user in getattr(inbound, "users", ()):
            yield from _terms(user.limit, user_name(name, user.name), place)
    for section in ("outbounds", "groups"):
        for name, outbound in getattr(config, section).items():
            place = _place(config, config.line(section, name))
            yield from _terms(outbound.limit, f"outbound {name}", place)
    first = {rule.ref.text: rule for rule in reversed(config.rules)}
    for text, rule in reversed(first.items()):
        yield from _terms(rule.limit, f"rule {text}", _place(config, rule.ref.line))


def alike(one: Section, other: Section | None) -> bool:
    """Whether two inbounds, outbounds or groups are the same but for their limits."""
    return one == other or (other is not None and without_limits(one) == without_limits(other))


def without_limits(section: S) -> S:
    """The section as if it had none."""
    changed: dict[str, object] = {"limit": None}
    if users := getattr(section, "users", ()):
        changed["users"] = tuple(without_limits(user) for user in users)
    return section.model_copy(update=changed)


def _terms(limit: Limit | None, name: str, place: str) -> Iterator[Terms]:
    if limit is not None:
        yield Terms(name, place, limit.up, limit.down, limit.quota, limit.per, limit.flows)


def _place(config: Config, line: int) -> str:
    return f"{config.file}:{line}" if line else ""
