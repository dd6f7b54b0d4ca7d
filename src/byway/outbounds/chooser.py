"""The state of a group: its members' health, the chosen one, whose turn it is.

Comes in: a flow. Goes out: its members in the order in which they are to be tried, each with the
reason in a few words. The time is passed in by `clock`, and what is chosen is `choice.py`'s.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

from byway.flow import Flow, Network, Rank, State, Target
from byway.outbounds import choice

FRESH = 1.0
"""Seconds that a ranking holds while no state changes."""

MOST_STICKY = 4096
"""Pairs of source and site that one group remembers; the one unused for longest is forgotten."""

STICKY = 1800.0
"""Seconds that an unused pair is remembered."""

Turn = tuple[str, str]
"""A member's name, and why it is taken."""


class Standing(Protocol):
    """A member: an outbound's `Health`, or another group's `Chooser`."""

    name: str

    def rank(self, network: Network, now: float) -> Rank: ...


class Chooser(ABC):
    """The mind of one group. `carries` are its members for each network."""

    kind = ""
    compares = False  # whether it goes by delays, and so wants to know them of all

    def __init__(
        self,
        name: str,
        carries: Mapping[Network, Sequence[Standing]],
        trusting: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self.clock = clock
        self.used: float | None = None  # when it was last
        self.awaited: Callable[[], None] | None = None  # called at the next use
        self.trusting = trusting
        self._carries = carries
        self._rankings: dict[Network, tuple[tuple[Rank, ...], float]] = {}
        self._stood: dict[Network, tuple[tuple[Rank, ...], list[int]]] = {}

    @property
    def members(self) -> Sequence[str]:
        """Their names, in the config's order."""
        return [member.name for member in self._carries[Network.TCP]]

    def renew(self) -> None:
        """A member's state changed: what was found before holds no longer."""
        self._rankings.clear()

    def ranking(self, network: Network) -> tuple[Rank, ...]:
        """The state of the members, in the config's order; at most a second old."""
        now = self.clock()
        found = self._rankings.get(network)
        if found is None or now >= found[1]:
            ranks = tuple(member.rank(network, now) for member in self._carries[network])
            until = min(
                [now + FRESH, *(rank.back for rank in ranks if rank.state is State.OUT)],
            )
            found = self._rankings[network] = (ranks, until)
        return found[0]

    def standing(self, network: Network, ranks: tuple[Rank, ...]) -> Sequence[int]:
        """The places of a ranking by how they stand; found once for each."""
        known = self._stood.get(network)
        if known is None or known[0] is not ranks:
            known = self._stood[network] = (ranks, choice.standing(ranks, self.trusting))
        return known[1]

    def rank(self, network: Network, now: float) -> Rank:
        """The rank of this group in another one: that of the member it would take first."""
        flow = Flow(0, network, "", None, _ANYWHERE)
        ranks = {rank.member: rank for rank in self.ranking(network)}
        for member, _ in self.turns(flow, peek=True):
            first = ranks[member]
            return Rank(
                self.name, first.state, first.dial, first.answer, first.failures, first.back,
                first.why and f"{member}: {first.why}",
            )  # fmt: skip
        return Rank(self.name, State.OUT)

    @abstractmethod
    def turns(self, flow: Flow, peek: bool = False) -> Iterator[Turn]:
        """The members to be tried, in order. With `peek` nothing is remembered of it."""

    def select(self, member: str) -> None:
        """Take this member from now on. Raises ValueError for no member, and unless overridden."""
        raise ValueError(
            f"the group {self.name} of type {self.kind} selects its member automatically"
        )

    @property
    def strayed(self) -> tuple[str, str] | None:
        """The chosen member that is gone, and the one that is taken in its place."""
        return None

    def use(self, now: float) -> None:
        """It is used now."""
        self.used = now
        if (awaited := self.awaited) is not None:
            self.awaited = None
            awaited()

    @property
    def standings(self) -> Sequence[Standing]:
        """Its members, in the config's order."""
        return self._carries[Network.TCP]

    def first(self) -> Standing | None:
        """The member that it would take first."""
        for name, _ in self.turns(Flow(0, Network.TCP, "", None, _ANYWHERE), peek=True):
            return next(member for member in self.standings if member.name == name)
        return None

    def went(self, flow: Flow, member: str) -> None:
        """A flow got through by a member."""
        return

    def succeed(self, former: Chooser) -> None:
        """Remember what the group of this name knew before a reload."""
        self.used = former.used


class Select(Chooser):
    """By a person's word."""

    kind = "select"

    def __init__(
        self,
        name: str,
        carries: Mapping[Network, Sequence[Standing]],
        default: str,
        choice: str | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(name, carries, clock=clock)
        self.default = default
        self.choice = choice  # it may be no member any more, and be one again after a reload

    @property
    def selected(self) -> str:
        """The chosen member; the default one where none was chosen, or it is gone."""
        chosen = self.choice
        return chosen if chosen is not None and chosen in self.members else self.default

    def turns(self, flow: Flow, peek: bool = False) -> Iterator[Turn]:
        selected = self.selected
        if selected not in (rank.member for rank in self.ranking(flow.network)):
            return
        if selected == self.choice:
            yield selected, "selected by hand"
        elif self.choice is None:
            yield selected, "the default"
        else:
            yield selected, f"the default; {self.choice} was selected but is no longer a member"

    def select(self, member: str) -> None:
        if member not in self.members:
            raise ValueError(f"the group {self.name} has no member {member}")
        self.choice = member

    @property
    def strayed(self) -> tuple[str, str] | None:
        return None if self.choice in (None, self.selected) else (str(self.choice), self.selected)

    def succeed(self, former: Chooser) -> None:
        super().succeed(former)
        if isinstance(former, Select):
            self.choice = former.choice


class Fallback(Chooser):
    """The first that works."""

    kind = "fallback"

    def turns(self, flow: Flow, peek: bool = False) -> Iterator[Turn]:
        ranks = self.ranking(flow.network)
        for at in self.standing(flow.network, ranks):
            yield ranks[at].member, _standing_words(ranks[at], at)


class Fastest(Chooser):
    """The one with the least delay; the one in use is kept until another is clearly faster."""

    kind = "fastest"
    compares = True

    def __init__(
        self,
        name: str,
        carries: Mapping[Network, Sequence[Standing]],
        tolerance: float,
        trusting: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(name, carries, trusting, clock)
        self._tolerance = tolerance
        self._current: dict[Network, str] = {}
        self._orders: dict[Network, tuple[tuple[Rank, ...], list[Turn]]] = {}

    def turns(self, flow: Flow, peek: bool = False) -> Iterator[Turn]:
        ranks = self.ranking(flow.network)
        known = self._orders.get(flow.network)
        if known is None or known[0] is not ranks:
            known = (ranks, self._ordered(ranks, self._current.get(flow.network)))
            self._orders[flow.network] = known
        if known[1] and not peek:
            self._current[flow.network] = known[1][0][0]
        return iter(known[1])

    def _ordered(self, ranks: tuple[Rank, ...], current: str | None) -> list[Turn]:
        delays = choice.delays_of(ranks)
        order = choice.quickest(ranks, self.trusting, current, self._tolerance)
        least = min((found for found in delays if found is not None), default=None)
        turns = []
        for at in order:
            found = delays[at]
            if ranks[at].state is not State.WELL:
                why = _standing_words(ranks[at], at)
            elif found is None:
                why = "no delay measured yet"
            elif at == order[0] and least is not None and found > least:
                margin = f"{self._tolerance * 1000:.0f} ms"
                why = f"{_ms(found)}, kept: no other is faster by more than {margin}"
            else:
                why = f"{_ms(found)}, the fastest" if at == order[0] else _ms(found)
            turns.append((ranks[at].member, why))
        return turns

    def succeed(self, former: Chooser) -> None:
        super().succeed(former)
        if isinstance(former, Fastest):
            self._current = dict(former._current)


class Balance(Chooser):
    """All that work: in turn, by a hash of the site, or in turn and then the same for a site."""

    kind = "balance"

    def __init__(
        self,
        name: str,
        carries: Mapping[Network, Sequence[Standing]],
        by: str,
        trusting: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(name, carries, trusting, clock)
        self.by = by
        self._turn = 0
        self._stuck: OrderedDict[tuple[str, str, Network], tuple[str, float]] = OrderedDict()

    def turns(self, flow: Flow, peek: bool = False) -> Iterator[Turn]:
        ranks = self.ranking(flow.network)
        site = choice.site_of(flow.target)
        if self.by == "hash":
            return self._told(ranks, choice.hashed(ranks, self.trusting, site), f"by {site}")
        if flow.network is Network.UDP and self.by == "round-robin":
            # Packets of one socket leave by one address, whatever their targets.
            source = str(flow.source)
            return self._told(ranks, choice.hashed(ranks, self.trusting, source), f"by {source}")
        stood = self.standing(flow.network, ranks)
        order = choice.in_turn(ranks, self.trusting, self._turn, stood)
        if self.by == "sticky":
            return self._sticking(flow, ranks, order, site, peek)
        self._turn += not peek
        return self._told(ranks, order, "its turn")

    def _sticking(
        self, flow: Flow, ranks: Sequence[Rank], order: list[int], site: str, peek: bool
    ) -> Iterator[Turn]:
        """The member that this source and site had before, while it stands; the next one else."""
        now = self.clock()
        member, until = self._stuck.get(self._key(flow), ("", 0.0))
        at = next((at for at in order if ranks[at].member == member), None)
        stuck = at is not None and now < until and ranks[at].state is not State.OUT
        if stuck and at is not None:
            order = [at, *(other for other in order if other != at)]
        if not peek:
            self._turn += not stuck
        return self._told(ranks, order, f"sticks to {site}" if stuck else f"its turn for {site}")

    def went(self, flow: Flow, member: str) -> None:
        if self.by == "sticky":
            key = self._key(flow)
            self._stuck[key] = (member, self.clock() + STICKY)
            self._stuck.move_to_end(key)
            if len(self._stuck) > MOST_STICKY:
                self._stuck.popitem(last=False)

    def _key(self, flow: Flow) -> tuple[str, str, Network]:
        source = "" if flow.source is None else flow.source.host
        return (source, choice.site_of(flow.target), flow.network)

    def _told(self, ranks: Sequence[Rank], order: Sequence[int], first: str) -> Iterator[Turn]:
        for place, at in enumerate(order):
            if ranks[at].state is not State.WELL:
                yield ranks[at].member, _standing_words(ranks[at], at)
            else:
                yield ranks[at].member, first if place == 0 else "the next"

    def succeed(self, former: Chooser) -> None:
        super().succeed(former)
        if isinstance(former, Balance):
            self._turn = former._turn
            members = set(self.members)
            self._stuck = OrderedDict(
                (key, stuck) for key, stuck in former._stuck.items() if stuck[0] in members
            )


def _standing_words(rank: Rank, at: int) -> str:
    if rank.state is State.OUT:
        return "the last one left, although it is out"
    if rank.state is State.TRIAL:
        return "retried after its failure"
    if not rank.is_known:
        return "the first of the list" if at == 0 else "the next of the list"
    return "the first, and it works" if at == 0 else "the first that works"


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms"


_ANYWHERE = Target("", 0)
