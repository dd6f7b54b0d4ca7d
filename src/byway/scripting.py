"""The API for rules in Python: flows, verdicts, conditions.

import byway

@byway.rule(key=lambda flow: flow.target.host)
def decide(flow: byway.Flow) -> byway.Verdict | None:
    return "office" if flow.target.host.endswith(".corp.example") else None
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeVar

from byway.flow import Process, Sniffed, Target

Need = Literal["address", "process", "sniffed", "time"]
NEEDS: tuple[Need, ...] = ("address", "process", "sniffed", "time")

TIMEOUT = 0.1  # seconds
MOST_TIME = 10.0
CACHED = 4096
MOST_CACHED = 1_000_000
_TERMS = "__byway__"


@dataclass(frozen=True, slots=True)
class Flow:
    """One connection, or one (UDP session, target) pair, as a rule sees it.

    `target` and `source` have `host` and `port`; `target.is_name` tells names from addresses, and a
    source is None for a unix socket. What a rule `needs` is never None: `addresses` of the target
    (none: the name has no address), `process` (empty fields: it cannot be seen), `sniffed`
    (`protocol` and `name`, empty: not understood), `moment` (the local time). Else it may be there
    or None.
    """

    network: Literal["tcp", "udp"]
    inbound: str
    target: Target
    source: Target | None = None
    user: str | None = None
    addresses: tuple[str, ...] | None = None
    process: Process | None = None
    sniffed: Sniffed | None = None
    moment: datetime | None = None


@dataclass(frozen=True, slots=True)
class Via:
    """Leave by this outbound or group; its name alone means the same."""

    outbound: str


@dataclass(frozen=True, slots=True)
class Reject:
    """Refuse the near side; "reject" means the same."""


@dataclass(frozen=True, slots=True)
class Drop:
    """Send the near side nothing; "drop" means the same."""


Verdict = str | Via | Reject | Drop
Key = Callable[[Flow], Hashable]
Decide = Callable[[Flow], Verdict | None] | Callable[[Flow], Awaitable[Verdict | None]]
D = TypeVar("D", bound=Decide)


@dataclass(frozen=True, slots=True)
class Terms:
    """The options that a function declares."""

    key: Key | None = None
    needs: tuple[Need, ...] = ()
    timeout: float = TIMEOUT
    cached: int = CACHED


def rule(
    *,
    key: Key | None = None,
    needs: Sequence[Need] | Need = (),
    timeout: float = TIMEOUT,
    cached: int = CACHED,
) -> Callable[[D], D]:
    """Declare how a function is asked.

    `key` tells of a flow what the answer depends on: flows with the same key get the same answer,
    of which `cached` are remembered, the last ones used; without a key nothing is. `needs` are
    facts to be found out before. After `timeout` seconds there is no match. Raises ValueError or
    TypeError for terms that cannot be.
    """
    wanted = (needs,) if isinstance(needs, str) else tuple(needs)
    for one in wanted:
        if one not in NEEDS:
            raise ValueError(f"{one!r} is not a fact; known: {', '.join(NEEDS)}")
    if key is not None and not callable(key):
        raise TypeError("key is a function of the flow")
    if not 0 < timeout <= MOST_TIME:
        raise ValueError(f"timeout is more than 0 and at most {MOST_TIME:g} seconds")
    if not 1 <= cached <= MOST_CACHED:
        raise ValueError(f"cached is 1 to {MOST_CACHED}")
    terms = Terms(key, wanted, float(timeout), int(cached))

    def declared(function: D) -> D:
        function.__dict__[_TERMS] = terms
        return function

    return declared


def terms_of(function: object) -> Terms:
    """The options that a function declared, or the defaults."""
    terms = getattr(function, _TERMS, None)
    return terms if isinstance(terms, Terms) else Terms()
