"""The live flows and the last ones that ended: list, count, limit, cut.

Comes in: a `Passage` for each flow, from the router. Goes out: its record. On flow
time: entering and leaving cost a few dictionary operations.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from contextvars import Token
from dataclasses import dataclass

from byway.dns.lookups import ASKER
from byway.errors import Reason, Refused
from byway.flow import Flow, Network, Step, source_key
from byway.interfaces import Bounds, Bucket, InForce, Outbound, Relay, Way
from byway.ledger.deadline import Deadline
from byway.ledger.limits import QUOTA, Limit, Limiter
from byway.ledger.room import Room
from byway.rules import NO_FACTS, Judge, RuleRef, Verdict
from byway.system.state import StateFile

JUDGES = 4  # so many judges that are not in force any more are kept, for `why --flow`


@dataclass(frozen=True, kw_only=True)
class Course:
    """The generation as a flow needs it: kept from its arrival to its end."""

    judge: Judge
    outbounds: Mapping[str, Outbound]
    dialling: Deadline
    hits: dict[RuleRef, int]
    """How many flows each rule decided."""


class Passage:
    """One flow's way through Byway: the rule that decided, its chain, bytes and end.

    `chain` is empty until it was dialled, `reason` until it ended. `steps` are those of the groups
    that it left by, with the members that failed. `judge` and `facts` are what the verdict was
    made of, so that it can be explained later (no judge: too long ago); `limits` are those it is
    under, once it was dialled. Times are `time.monotonic`.
    """

    __slots__ = (
        "_asks", "_down", "_up", "chain", "facts", "failed", "flow", "judge", "limits", "reason",
        "relay", "started", "steps", "stopped", "task", "verdict", "way",
    )  # fmt: skip

    def __init__(self, flow: Flow) -> None:
        self.flow = flow
        self.started = time.monotonic()
        self.stopped: float | None = None
        self.verdict: Verdict | None = None
        self.judge: Judge | None = None
        self.facts = NO_FACTS
        self.chain: tuple[str, ...] = ()
        self.steps: Sequence[Step] = ()
        self.way: Way | None = None
        self.limits: tuple[Limit, ...] = ()
        self.relay: Relay | None = None
        self.task: asyncio.Task[object] | None = None
        self.reason = ""
        self.failed = False
        self._up = self._down = 0
        self._asks: Token[Flow | None] | None = None

    @property
    def up(self) -> int:
        """Bytes from near to far, up to now."""
        return self._up if self.relay is None else self.relay.up

    @property
    def down(self) -> int:
        """Bytes from far to near, up to now."""
        return self._down if self.relay is None else self.relay.down

    @property
    def buckets(self) -> Sequence[Bucket]:
        """The buckets of its relay."""
        return [limit.bucket for limit in self.limits] if self.limits else ()

    @property
    def duration(self) -> float:
        """Seconds since its arrival, up to now."""
        return (self.stopped or time.monotonic()) - self.started

    def begin(self, task: asyncio.Task[object] | None) -> None:
        """This task carries it, and asks for names for it."""
        self.task = task
        self._asks = ASKER.set(self.flow)

    def join(self, relay: Relay) -> None:
        """It relays from now on, and has no more names to ask for: what a context takes that holds
        something, 136 bytes, is let go."""
        self.relay = relay
        if self._asks is not None:
            ASKER.reset(self._asks)
            self._asks = None

    def stop(self) -> None:
        """Note the end; what is only of use to a living flow is let go."""
        self.stopped = time.monotonic()
        if (relay := self.relay) is not None:
            self._up, self._down = relay.up, relay.down
            self.relay = None
        self.task = self._asks = None
        if (way := self.way) is not None:
            if self.flow.network is Network.TCP:
                way.ended(self._up, self._down, self.started)
            self.way = None


class Ledger:
    """Holds every live passage and a bounded number of past ones, and holds them to limits."""

    def __init__(
        self,
        in_force: InForce[Bounds] | None = None,
        past: int = 1024,
        limits: Limiter | None = None,
    ) -> None:
        self._in_force = in_force or InForce(Bounds())
        self.limits = limits or Limiter(StateFile(None))
        self.room = Room(self._in_force)
        self.past: deque[Passage] = deque(maxlen=past)
        self.carried = 0
        self.failed = 0
        self.up = self.down = 0  # of the flows that have ended
        self._loop: asyncio.AbstractEventLoop | None = None
        self._live: dict[int, Passage] = {}
        self._sources: dict[bytes, int] = {}

    @property
    def live(self) -> Collection[Passage]:
        """The live flows, the oldest first."""
        return self._live.values()

    def forget_judges(self) -> None:
        """Let go of the rules of long ago: of all but the last `JUDGES` that judged a flow.

        Each may hold a hundred thousand rules, and a quiet Byway that is reloaded now and then
        would keep one for every flow it remembers.
        """
        known: list[Judge] = []
        for passage in (*reversed(self._live.values()), *reversed(self.past)):
            if (judge := passage.judge) is None or any(judge is one for one in known):
                continue
            if len(known) < JUDGES:
                known.append(judge)
            else:
                passage.judge = None

    def enter(self, passage: Passage) -> None:
        """Admit a flow. Raises Refused (LIMIT) when there are too many, in all or of its source."""
        if (key := source_key(passage.flow.source)) is not None:
            count = self._sources.get(key, 0)
            if count >= self._in_force.now.per_source:
                raise Refused(
                    f"already {count} flows of this source (limits.flows_per_source)", Reason.LIMIT
                )
            self.room.enter()
            self._sources[key] = count + 1
        else:
            self.room.enter()
        # Asking for the running loop costs a system call before Python 3.12: so only once.
        loop = self._loop = self._loop or asyncio.get_running_loop()
        passage.begin(asyncio.current_task(loop))
        self._live[passage.flow.id] = passage

    def lead(self, passage: Passage, way: Way) -> None:
        """Note the way that a flow is about to take. Raises Refused (LIMIT) where a limit is full;
        then it may take another."""
        passage.way, passage.chain, passage.steps = way, way.chain, way.steps
        left, passage.limits = passage.limits, ()
        for limit in left:
            limit.leave()
        assert passage.verdict is not None
        limits = self.limits.of(passage.flow, passage.verdict.rule, passage.chain)
        self.limits.enter(limits)
        passage.limits = limits

    def leave(self, passage: Passage) -> None:
        """Note a flow's end, also of one that was not admitted."""
        passage.stop()
        for limit in passage.limits:
            limit.leave()
            if limit.bucket.spent:
                self._used_up(limit, passage)
        self.past.append(passage)
        self.failed += passage.failed
        self.up += passage.up
        self.down += passage.down
        if self._live.pop(passage.flow.id, None) is None:
            return
        self.carried += 1
        self.room.leave()
        if (key := source_key(passage.flow.source)) is not None:
            if (count := self._sources[key]) == 1:
                del self._sources[key]
            else:
                self._sources[key] = count - 1

    def _used_up(self, limit: Limit, passage: Passage) -> None:
        """A quota is over: so are the flows that are under it."""
        if passage.reason == QUOTA:
            passage.reason = limit.spent_words
        if not limit.reported:
            limit.reported = True
            for other in self._live.values():
                if other.relay is not None and limit in other.limits:
                    other.relay.cut(limit.spent_words)

    def find(self, flow_id: int) -> Passage | None:
        """A flow by its id: a live one, or one of the past that is still remembered."""
        live = self._live.get(flow_id)
        return live or next((past for past in self.past if past.flow.id == flow_id), None)

    def cut(self, flow_id: int, reason: str = "cut by a user") -> bool:
        """End a live flow now. False when there is none with this id."""
        passage = self._live.get(flow_id)
        if passage is None:
            return False
        if passage.relay is not None:
            passage.relay.cut(reason)
        elif passage.task is not None:
            passage.reason = reason
            passage.task.cancel(reason)
        return True
