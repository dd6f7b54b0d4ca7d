"""How a name is resolved, as it is told to a person."""

from __future__ import annotations

from dataclasses import dataclass

from byway.rules import RuleRef


@dataclass(frozen=True, slots=True)
class Resolution:
    """`source`: hosts, cache or server; "" where nobody was asked (yet).

    `led` is the last of its names in `hosts`. `left`: seconds that the answer is fresh, below zero
    when it is stale, None where nobody says.
    """

    name: str
    source: str = ""
    addresses: tuple[bytes, ...] = ()
    servers: tuple[str, ...] = ()
    rule: RuleRef | None = None
    left: float | None = None
    seconds: float = 0.0
    error: str = ""
    led: str = ""
