"""Rates, quotas and flow counts that many flows share.

Comes in: the terms of the config, and each flow with its rule and chain. Goes out: the engine's
buckets for its relay, or a refusal. Waits for bytes are in the engine; here, on flow time,
flows are counted, and on config time quotas are renewed and remembered.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from byway.engine import Bucket
from byway.errors import Reason, Refused
from byway.flow import Flow
from byway.rules import RuleRef
from byway.system.state import Kept, StateFile

EVERY = 30.0  # seconds between two looks at what is used; a crash forgets no more than that
MOST_KEPT = 4096  # quotas of earlier configs that are remembered

QUOTA = "quota"
"""The engine's reason for a relay that ended for want of one."""


@dataclass(frozen=True, slots=True)
class Terms:
    """The terms of one limit. `place` is where the config has it; None stands for no limit.

    Rates in bytes per second, the quota in bytes, both ways counted together; it is whole again
    every `per` seconds, or never.
    """

    name: str
    place: str = ""
    up: int | None = None
    down: int | None = None
    quota: int | None = None
    per: float | None = None
    flows: int | None = None

    def __str__(self) -> str:
        at = f" ({self.place})" if self.place else ""
        return f"the limit of {self.name}{at}"


class Limit:
    """One limit at work. It keeps its bucket, and what is used, when its terms change."""

    __slots__ = ("bucket", "live", "refused", "reported", "since", "terms")

    def __init__(self, terms: Terms, used: int, since: float) -> None:
        self.terms = terms
        self.since = since  # when the present time of the quota began, by the clock on the wall
        self.live = 0
        self.refused = 0
        self.reported = False  # that the quota is used up
        self.bucket = Bucket(terms.up or 0, terms.down or 0, terms.quota, used)

    def __str__(self) -> str:
        return str(self.terms)

    def become(self, terms: Terms) -> None:
        """Hold flows to other terms from now on, those under way too."""
        if terms != self.terms:
            self.terms, self.reported = terms, False
            self.bucket.set(terms.up or 0, terms.down or 0, terms.quota)

    def enter(self, now: float) -> None:
        """Count a flow in. Raises Refused (LIMIT) when there is no place or no quota for it."""
        self.renew(now)
        flows = self.terms.flows
        if flows is not None and self.live >= flows:
            self.refused += 1
            raise Refused(f"{self}: already {flows} flows", Reason.LIMIT)
        if self.bucket.spent:
            self.refused += 1
            raise Refused(self.spent_words, Reason.LIMIT)
        self.live += 1

    def leave(self) -> None:
        """Count a flow out."""
        self.live -= 1

    @property
    def spent_words(self) -> str:
        """Why flows end, or do not begin."""
        return f"{QUOTA}: {self}: all of its {self.terms.quota} bytes are used"

    def renew(self, now: float) -> None:
        """Begin anew what is over."""
        per = self.terms.per
        self.since = min(self.since, now)  # the clock was turned back
        if per is not None and now - self.since >= per:
            self.since = now - (now - self.since) % per
            self.reported = False
            self.bucket.renew()


class Limiter:
    """All limits of a running Byway, by name. `file` is where used quotas outlive it."""

    def __init__(self, file: StateFile, clock: Callable[[], float] = time.time) -> None:
        self.file = file
        self._clock = clock
        self._by_name: dict[str, Limit] = {}
        self._kept: dict[str, Kept] = {}
        self._read = False
        self._written: Mapping[str, Kept] = {}

    @property
    def all(self) -> Sequence[Limit]:
        """Every limit, in the order of the config."""
        return tuple(self._by_name.values())

    @property
    def problem(self) -> str:
        """Why used quotas would be forgotten at the end; "" when they are not."""
        if not self.has_quotas:
            return ""
        missing = "" if self.file.path is not None else "there is no folder for them"
        return self.file.problem or missing

    @property
    def has_quotas(self) -> bool:
        """Whether there is something to remember."""
        return any(limit.terms.quota is not None for limit in self._by_name.values())

    def follow(self, offered: Iterable[Terms]) -> None:
        """Hold to these from now on. What was there before keeps its flows and what it has used.

        May read a file: not while flows wait.
        """
        found: dict[str, Limit] = {}
        for terms in offered:
            limit = self._by_name.get(terms.name)
            if limit is None:
                limit = self._made(terms)
            limit.become(terms)
            found[terms.name] = limit
        for name, gone in self._by_name.items():
            if name not in found and gone.terms.quota is not None:
                self._kept[name] = _entry(gone)
        self._by_name = found

    def of(self, flow: Flow, rule: RuleRef, chain: Sequence[str]) -> tuple[Limit, ...]:
        """The limits that a flow is under, on this way."""
        known = self._by_name
        if not known:
            return ()
        return tuple(known[name] for name in names_for(flow, rule, chain) if name in known)

    def enter(self, limits: Sequence[Limit]) -> None:
        """Count a flow in at all of them, or at none. Raises Refused (LIMIT)."""
        now = self._clock()
        for at, limit in enumerate(limits):
            try:
                limit.enter(now)
            except Refused:
                for entered in limits[:at]:
                    entered.leave()
                raise

    def renew(self) -> float:
        """Begin anew the quotas whose time is over; in how many seconds to look again."""
        now, again = self._clock(), EVERY
        for limit in self._by_name.values():
            limit.renew(now)
            if limit.terms.per is not None:
                again = min(again, limit.since + limit.terms.per - now)
        return max(again, 0.1)

    def left(self, limit: Limit) -> float | None:
        """In how many seconds its quota is whole again; None: never."""
        per = limit.terms.per
        return None if per is None else max(limit.since + per - self._clock(), 0.0)

    async def keep(self) -> None:
        """Renew quotas and write down what is used, until cancelled."""
        while True:
            await asyncio.sleep(self.renew())
            await asyncio.to_thread(self.save)

    def save(self) -> None:
        """Write down what is used, if that changed. Waits for the disk."""
        if not self.has_quotas:
            return
        used = {
            limit.terms.name: _entry(limit)
            for limit in self._by_name.values()
            if limit.terms.quota is not None
        }
        content = {**self._kept, **used}
        if content != self._written and self.file.write(content):
            self._written = content

    def _made(self, terms: Terms) -> Limit:
        if terms.quota is None:
            return Limit(terms, 0, self._clock())
        if not self._read:
            self._read = True
            found = self.file.read().items()
            self._kept = dict(list(found)[-MOST_KEPT:])
        match self._kept.pop(terms.name, None):
            case {"used": int(used), "since": int() | float() as since} if used >= 0:
                return Limit(terms, used, float(since))
        return Limit(terms, 0, self._clock())


def names_for(flow: Flow, rule: RuleRef, chain: Sequence[str]) -> Iterator[str]:
    """The names of the limits that a flow may be under, on this way."""
    yield f"inbound {flow.inbound}"
    if flow.user is not None:
        yield user_name(flow.inbound, flow.user)
    yield f"rule {rule.text}"
    for hop in chain:
        yield f"outbound {hop}"


def user_name(inbound: str, user: str) -> str:
    """The name of a user's limit."""
    return f"user {user} of inbound {inbound}"


def _entry(limit: Limit) -> Kept:
    return {"used": limit.bucket.used, "since": round(limit.since)}
