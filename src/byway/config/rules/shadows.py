"""Rules that can never decide, because an earlier one matches whatever they match."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from byway.config.rules.conditions import Conditions, RuleEntry
from byway.values.prefix import Prefix

_NESTED = ("and_", "or_", "not_")
_CONDITIONS = tuple(name for name in Conditions.model_fields if name not in (*_NESTED, "resolve"))


def shadowed(rules: Sequence[RuleEntry]) -> Iterator[tuple[int, int]]:
    """Pairs (rule, an earlier rule that takes all of it), by index.

    Finds what one earlier rule with a single condition covers, in time linear in the file; it does
    not claim to find everything.
    """
    seen = _Seen()
    for at, rule in enumerate(rules):
        if not rule.enabled:
            continue
        by = seen.covers(rule)
        if by is not None:
            yield at, by
        seen.add(at, rule)


class _Seen:
    """The conditions of rules with one condition, each with the rule's index."""

    def __init__(self) -> None:
        self._words: dict[tuple[str, object], int] = {}
        self._suffixes: dict[str, int] = {}
        self._prefixes: dict[tuple[str, int, int, int], int] = {}

    def add(self, at: int, rule: RuleEntry) -> None:
        if rule.python is not None:
            return  # what it takes, only its function knows
        conditions = [name for name in _CONDITIONS if getattr(rule, name) is not None]
        if len(conditions) != 1 or any(getattr(rule, name) is not None for name in _NESTED):
            return
        if rule.resolve is False:
            return  # what of names it takes hangs on the rules before it
        for value in _listed(getattr(rule, conditions[0])):
            match value:
                case Prefix(size, bits, head):
                    self._prefixes.setdefault((conditions[0], size, bits, head), at)
                case str() if conditions[0] == "domain_suffix":
                    self._suffixes.setdefault(value, at)
                case _:
                    self._words.setdefault((conditions[0], value), at)

    def covers(self, rule: RuleEntry) -> int | None:
        """An earlier rule that takes all of this one, by any one of its conditions."""
        for name in _CONDITIONS:
            values = getattr(rule, name)
            if values is None:
                continue
            by = [self._taken(name, value) for value in _listed(values)]
            if by and all(found is not None for found in by):
                return max(found for found in by if found is not None)
        return None

    def _taken(self, name: str, value: object) -> int | None:
        if isinstance(value, Prefix):
            return self._prefix(name, value)
        if name in ("domain", "domain_suffix") and isinstance(value, str):
            return self._suffix(name, value)
        return self._words.get((name, value))

    def _suffix(self, name: str, value: str) -> int | None:
        found = self._words.get((name, value))
        while found is None and value:
            found = self._suffixes.get(value)
            value = value.partition(".")[2]
        return found

    def _prefix(self, name: str, value: Prefix) -> int | None:
        if not self._prefixes:
            return None
        for bits in range(value.bits, -1, -1):
            head = value.head >> (value.bits - bits)
            found = self._prefixes.get((name, value.size, bits, head))
            if found is not None:
                return found
        return None


def _listed(values: object) -> tuple[object, ...]:
    return values if isinstance(values, tuple) else (values,)
