"""Leave by one member of several: the first that gets through, in the order its chooser gives.

A dial that fails goes on with the next member, within the time that the whole dial has; the near
side knows nothing of it. Only `select` has no next one: a person's choice is obeyed.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from itertools import islice
from typing import TypeVar

from byway.errors import FAULTS, Reason, Refused, Unreachable, in_words, reason_of
from byway.flow import Dial, Flow, Rank, Step
from byway.interfaces import Binding, Datagrams, Outbound, Stream, Way
from byway.outbounds.chooser import Chooser, Turn
from byway.outbounds.over import Over

T = TypeVar("T")

MOST_TRIED = 32
"""Members that one flow tries; time ends it sooner, as a rule."""

LEAST_PATIENCE = 2.0
"""Seconds that a member with a known delay may take at least: a lost packet is sent again after
one (RFC 6298). After ten times its usual delay, the next member is the better bet."""

MOST_NAMED = 4  # failed members that one message names


class Group:
    """The way out by one of its members. `dial` is the time that a whole dial has, in seconds."""

    is_local = False
    only = None

    def __init__(self, chooser: Chooser, members: Mapping[str, Outbound], dial: float) -> None:
        self.name = chooser.name
        self.chain = (chooser.name,)
        self.networks = frozenset(n for member in members.values() for n in member.networks)
        self.chooser = chooser
        self.members = members
        self._dial = dial

    def ways(
        self, flow: Flow, steps: list[Step] | None = None, peek: bool = False
    ) -> Iterator[Choice]:
        """Those of its members in turn. Behind the last one it raises what the only member that was
        tried raised, or Unreachable or Refused with what all of them said."""
        chooser, clock = self.chooser, self.chooser.clock
        steps = [] if steps is None else steps
        began = clock()
        if not peek:
            chooser.use(began)
        ranking = chooser.ranking(flow.network)
        turns = list(islice(chooser.turns(flow, peek), MOST_TRIED))
        shown = _shown(ranking, turns)
        failed: list[tuple[str, Exception]] = []
        for left, (member, why) in zip(range(len(turns) - 1, -1, -1), turns, strict=True):
            steps.append(Step(self.name, member, why, ranking=shown))
            patience = self._patience(ranking, member, clock() - began) if left else math.inf
            until = clock() + patience
            error: Exception | None = None
            try:
                for way in self.members[member].ways(flow, steps, peek):
                    choice = Choice(self, member, flow, way, steps, patience, until)
                    yield choice
                    error = choice.error
                    if clock() >= until:
                        break
            except FAULTS as all_failed:
                error = all_failed
            assert error is not None
            failed.append((member, error.with_traceback(None)))  # or it holds this frame
            steps.append(Step(self.name, member, str(error) or type(error).__name__, failed=True))
        raise self._all_failed(flow, failed)

    def _patience(self, ranking: Sequence[Rank], member: str, spent: float) -> float:
        """How long a member may take while others wait behind it."""
        left = max(self._dial - spent, 0.0)
        rank = next(rank for rank in ranking if rank.member == member)
        usual = left if rank.dial is None else max(LEAST_PATIENCE, 10.0 * rank.dial)
        return min(left / 2, usual)

    def _all_failed(self, flow: Flow, failed: list[tuple[str, Exception]]) -> Exception:
        if not failed:
            what = f"{self.name} has no member that supports {flow.network.value.upper()}"
            return Refused(what, Reason.NOT_SUPPORTED, f"add such a member to {self.name}")
        errors = [error for _, error in failed]
        if len(errors) == 1:
            return errors[0]
        parts = [f"{member}: {in_words(error)}" for member, error in failed[:MOST_NAMED]]
        if len(failed) > MOST_NAMED:
            parts.append(f"and {len(failed) - MOST_NAMED} more")
        message = f"{self.name}: all members failed: {'; '.join(parts)}"
        reasons = [reason for error in errors if (reason := reason_of(error)) not in _VAGUE]
        reason = reasons[0] if reasons else reason_of(errors[-1])
        if all(isinstance(error, Refused) for error in errors):
            hints = [error.hint for error in errors if isinstance(error, Refused) and error.hint]
            return Refused(message, reason, hints[0] if hints else "")
        return Unreachable(message, self.name, reason)


class Choice(Over):
    """A way of a member, for one dial. The member's patience (seconds) ends `until` then."""

    __slots__ = ("_flow", "_group", "_member", "_patience", "_steps", "_until", "error")

    def __init__(
        self,
        group: Group,
        member: str,
        flow: Flow,
        via: Way,
        steps: list[Step],
        patience: float,
        until: float,
    ) -> None:
        super().__init__(group, via)
        self.error: Exception | None = None
        self._group = group
        self._member = member
        self._flow = flow
        self._steps = steps
        self._patience = patience
        self._until = until

    @property
    def chain(self) -> tuple[str, ...]:
        """The group, and the way of its member."""
        return (self._group.name, *self.via.chain)

    @property
    def steps(self) -> Sequence[Step]:
        """Those of all groups that a flow came by."""
        return self._steps

    async def connect(self, dial: Dial) -> Stream:
        """A stream to the target, in time."""
        return await self._in_time(self.via.connect(dial))

    async def associate(self, dial: Dial) -> Datagrams:
        """A way for packets, in time."""
        return await self._in_time(self.via.associate(dial))

    async def bind(self, dial: Dial) -> Binding:
        """A port, in time."""
        return await self._in_time(self.via.bind(dial))

    async def _in_time(self, dialling: Coroutine[None, None, T]) -> T:
        if self._until == math.inf:
            return await dialling
        left = max(self._until - self._group.chooser.clock(), 0.0)
        try:
            async with asyncio.timeout(left) as limit:
                return await dialling
        except FAULTS:
            if limit.expired():
                raise TimeoutError(f"no answer within {self._patience:.1f} s") from None
            raise

    def failed(self, error: BaseException) -> bool:
        """The next way is tried, unless the flow itself was ended."""
        self.via.failed(error)
        if isinstance(error, FAULTS):
            self.error = error.with_traceback(None)
            return True
        return False

    def worked(self) -> None:
        """A flow got through."""
        self.via.worked()
        self._group.chooser.went(self._flow, self._member)


def _shown(ranking: tuple[Rank, ...], turns: Sequence[Turn]) -> tuple[Rank, ...]:
    """The ranking that a flow keeps: of all members, or of those that it would try."""
    if len(ranking) <= MOST_TRIED:
        return ranking
    tried = {member for member, _ in turns}
    return tuple(rank for rank in ranking if rank.member in tried)


_VAGUE = (Reason.FAILURE, Reason.TIMED_OUT)
