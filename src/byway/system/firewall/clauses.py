"""Rules that the kernel can obey by itself, as values, and their lines in a chain.

A clause is a rule's condition as terms that all must hold, and what becomes of a flow for which
they do: `direct` (it leaves as it is, with Byway's mark), `reject`, `drop`, or `take`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from byway.flow import frozen
from byway.system.firewall.table import Set, by_family

ADDRESSES = ("to", "from")
_WORDS = {
    "port": "th dport",
    "source_port": "th sport",
    "network": "meta l4proto",
    "uid": "meta skuid",
    "mac": "ether saddr",
}
WHATS = (*ADDRESSES, *_WORDS)
"""What a term can be about: `to` and `from` take prefixes, ports ranges as `80-90`."""


@frozen
class Term:
    """One condition: it holds where any of the values does; `negated`, where none does."""

    what: str
    values: tuple[str, ...]
    negated: bool = False


@frozen
class Clause:
    """Terms that all must hold, and what follows."""

    terms: tuple[Term, ...]
    verdict: str  # direct, reject, drop, take


def lines_of(
    clauses: Sequence[Clause], prefix: str, mark: int, forwarded: bool
) -> tuple[tuple[str, ...], tuple[Set, ...]]:
    """The lines of a chain for these clauses, in their order, and the sets that they name, which
    begin with `prefix`. What is `forwarded` has a MAC and no user, what this host sends the
    reverse."""
    lines, sets = list[str](), list[Set]()
    for at, clause in enumerate(clauses):
        ends = _ends(clause.verdict, mark)
        named = _Sets(f"{prefix}{at}", sets)
        for condition in _conditions(clause, named, forwarded):
            lines += [" ".join(filter(None, (condition, "counter", end))) for end in ends]
    return tuple(lines), tuple(sets)


def _ends(verdict: str, mark: int) -> Sequence[str]:
    match verdict:
        case "direct":
            return (f"ct mark set {mark:#x} meta mark set {mark:#x} accept",)
        case "reject":
            return ("meta l4proto tcp reject with tcp reset", "reject with icmpx admin-prohibited")
        case "drop":
            return ("drop",)
        case "take":
            return ("return",)
    raise ValueError(f"{verdict!r} is no verdict")


class _Sets:
    """Names the sets of one clause, and shares those that are alike."""

    def __init__(self, name: str, made: list[Set]) -> None:
        self._name = name
        self._made = made

    def of(self, kind: str, elements: tuple[str, ...]) -> str:
        for one in self._made:
            if (one.of, one.elements) == (kind, elements):
                return one.name
        name = f"{self._name}_{len(self._made)}"
        self._made.append(Set(name, kind, elements))
        return name


def _conditions(clause: Clause, sets: _Sets, forwarded: bool) -> Iterator[str]:
    """The lines' conditions: one where no address is asked for, else one for each family."""
    common = list[str]()
    absent = "uid" if forwarded else "mac"
    for term in clause.terms:
        if term.what in ADDRESSES:
            continue
        if term.what == absent:
            if not term.negated:
                return
            continue
        values = _values(term.values)
        common.append(f"{_WORDS[term.what]} {'!= ' if term.negated else ''}{values}")
    about = [term for term in clause.terms if term.what in ADDRESSES]
    if not about:
        yield " ".join(common)
        return
    for family, word, kind in ((0, "ip", "ipv4_addr"), (1, "ip6", "ipv6_addr")):
        found = [f"meta nfproto ipv{'46'[family]}"]
        for term in about:
            prefixes = by_family(term.values)[family]
            if not prefixes and not term.negated:
                break
            if prefixes:
                side = "daddr" if term.what == "to" else "saddr"
                name = sets.of(kind, prefixes)
                found.append(f"{word} {side} {'!= ' if term.negated else ''}@{name}")
        else:
            yield " ".join([*found, *common])


def _values(values: Iterable[str]) -> str:
    return f"{{ {', '.join(sorted(set(values)))} }}"
