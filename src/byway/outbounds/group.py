"""Leave by one member of several: the first that gets through, in the order its chooser gives.

A dial that fails goes on with the next member, within the time that the whole dial has; the near
side knows nothing of it. Only `select` has no next one: a person's choice is obeyed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from itertools import islice
from typing import TypeVar

from byway.errors import BywayError, Reason, Refused, Unreachable, in_words, reason_of
from byway.flow import Flow, Network, Target
from byway.interfaces import Binding, Datagrams, Outbound, Stream
from byway.outbounds.chooser import Chooser, Turn
from byway.outbounds.member import Chosen, Watched
from byway.trail import Rank, Step, Trail, Witness

T = TypeVar("T")

MOST_TRIED = 32
"""Members that one flow tries; time ends it sooner, as a rule."""

LEAST_PATIENCE = 2.0
"""Seconds that a member with a known delay may take at least: a lost packet is sent again after
one (RFC 6298). After ten times its usual delay, the next member is the better bet."""

MOST_TOLD = 4  # failed members that one message tells of


class Group:
    """The way out by one of its members. `dial` is the time that a whole dial has, in seconds."""

    here = False
    chooses = True

    def __init__(
        self,
        chooser: Chooser,
        members: Mapping[str, Outbound],
        dial: float,
        guarded: bool = False,
    ) -> None:
        self.name = chooser.name
        self.chain = (chooser.name,)
        self.networks = frozenset(n for member in members.values() for n in member.networks)
        self.chooser = chooser
        self.members = members
        self._dial = dial
        self._ways: dict[Outbound, Chosen] = {}
        self._guarded = self
        if not guarded:
            closed = {name: member.guarded() for name, member in members.items()}
            self._guarded = Group(chooser, closed, dial, guarded=True)

    def guarded(self) -> Group:
        """The same group, of members closed to this host's own addresses."""
        return self._guarded

    async def lead(
        self, flow: Flow, dial: Callable[[Outbound], Coroutine[None, None, T]], trail: Trail
    ) -> T:
        """Dial by the members in turn, until one gets through. Raises what the only one that was
        tried raised, or Unreachable or Refused with what all of them said. A cancel ends it."""
        chooser, clock = self.chooser, self.chooser.clock
        began = clock()
        chooser.use(began)
        ranking = chooser.ranking(flow.network)
        failed: list[tuple[str, Exception]] = []

        def by(way: Outbound) -> Coroutine[None, None, T]:
            return dial(self._as_chosen(way))

        turns = list(islice(chooser.turns(flow), MOST_TRIED))
        shown = _shown(ranking, turns)
        for left, (member, told) in zip(range(len(turns) - 1, -1, -1), turns, strict=True):
            trail.note(Step(self.name, member, told, ranking=shown))
            patience = self._patience(ranking, member, clock() - began) if left else None
            try:
                async with asyncio.timeout(patience) as limit:
                    done = await self.members[member].lead(flow, by, trail)
            except (BywayError, OSError, EOFError) as error:
                late = limit.expired()
                why = TimeoutError(f"no answer within {patience:.1f} s") if late else error
                failed.append((member, why.with_traceback(None)))  # or it holds this frame
                trail.note(Step(self.name, member, str(why) or type(why).__name__, failed=True))
            else:
                chooser.went(flow, member)
                way = self.members[member]
                if isinstance(way, Watched) and flow.network is Network.TCP:
                    trail.watch(way.health.ended)
                return done
        raise self._all_failed(flow, failed)

    async def connect(self, target: Target) -> Stream:
        """A stream to the target, for Byway's own needs. Raises as `lead`."""
        flow = Flow(0, Network.TCP, "", None, target)
        return await self.lead(flow, lambda way: way.connect(target), _NOBODY)

    async def associate(self) -> Datagrams:
        """A way for packets, for Byway's own needs. Raises as `lead`."""
        flow = Flow(0, Network.UDP, "", None, Target("", 0))
        return await self.lead(flow, lambda way: way.associate(), _NOBODY)

    async def bind(self, target: Target) -> Binding:
        """Borrow a port, for Byway's own needs. Raises as `lead`."""
        flow = Flow(0, Network.TCP, "", None, target)
        return await self.lead(flow, lambda way: way.bind(target), _NOBODY)

    def _as_chosen(self, way: Outbound) -> Chosen:
        made = self._ways.get(way)
        if made is None:
            made = self._ways[way] = Chosen(self.name, way)
        return made

    def _patience(self, ranking: Sequence[Rank], member: str, spent: float) -> float:
        """How long a member may take while others wait behind it."""
        left = max(self._dial - spent, 0.0)
        rank = next(rank for rank in ranking if rank.member == member)
        usual = left if rank.dial is None else max(LEAST_PATIENCE, 10.0 * rank.dial)
        return min(left / 2, usual)

    def _all_failed(self, flow: Flow, failed: list[tuple[str, Exception]]) -> Exception:
        if not failed:
            what = f"{self.name} has no member that carries {flow.network.value.upper()}"
            return Refused(what, Reason.NOT_SUPPORTED, f"give {self.name} one that does")
        errors = [error for _, error in failed]
        if len(errors) == 1:
            return errors[0]
        told = [f"{member}: {in_words(error)}" for member, error in failed[:MOST_TOLD]]
        if len(failed) > MOST_TOLD:
            told.append(f"and {len(failed) - MOST_TOLD} more")
        message = f"{self.name}: no member got through: {'; '.join(told)}"
        reasons = [reason for error in errors if (reason := reason_of(error)) not in _VAGUE]
        reason = reasons[0] if reasons else reason_of(errors[-1])
        if all(isinstance(error, Refused) for error in errors):
            hints = [error.hint for error in errors if isinstance(error, Refused) and error.hint]
            return Refused(message, reason, hints[0] if hints else "")
        return Unreachable(message, self.name, reason)


def _shown(ranking: tuple[Rank, ...], turns: Sequence[Turn]) -> tuple[Rank, ...]:
    """What is remembered with a flow: all, of a large group those that it would try."""
    if len(ranking) <= MOST_TRIED:
        return ranking
    tried = {member for member, _ in turns}
    return tuple(rank for rank in ranking if rank.member in tried)


class _Nobody:
    """Whoever does not want to know."""

    def note(self, step: Step) -> None:
        pass

    def watch(self, witness: Witness) -> None:
        pass


_VAGUE = (Reason.FAILURE, Reason.TIMED_OUT)
_NOBODY = _Nobody()
