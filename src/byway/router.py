"""START HERE: the path of one flow: judge, dial, relay, log.

Comes in: an `Arrival` (TCP or UDP alike) that still waits for its answer. Goes out: one log line.
"""

from __future__ import annotations

import asyncio
from contextlib import nullcontext

from byway.errors import FAULTS, Reason, Refused, in_words
from byway.facts.finder import Finder
from byway.interfaces import Arrival, FarT, InForce, Outbound
from byway.ledger import Course, Ledger, Passage
from byway.ledger.log import Log
from byway.rules import Fact, Lacks, Reject, Verdict, Via

_OWN_TIME = frozenset({Fact.SNIFFED, Fact.ANSWER})  # facts that are not waited for any longer
_UNTIMED = nullcontext()


class Router:
    """Carries flows: the only part that knows judge, outbounds and ledger together."""

    def __init__(self, in_force: InForce[Course], finder: Finder, ledger: Ledger, log: Log) -> None:
        self._in_force = in_force
        self._finder = finder
        self._ledger = ledger
        self._log = log

    async def carry(self, arrival: Arrival[FarT]) -> None:
        """Bring one flow to its end. Raises nothing but CancelledError, and harms no sibling."""
        passage = Passage(arrival.flow)
        try:
            self._ledger.enter(passage)
            course = self._in_force.now
            passage.facts, arrival.flow = await self._finder.named(arrival.flow, arrival.hear)
            passage.flow = arrival.flow
            passage.verdict = verdict = await self._judged(arrival, passage, course)
            course.hits[verdict.rule] = course.hits.get(verdict.rule, 0) + 1
            if isinstance(verdict, Via):
                with course.dialling:
                    far = await self._dialled(arrival, course.outbounds[verdict.outbound], passage)
                relay = await arrival.relay(far, passage.buckets)
                del far  # the relay has it
                passage.join(relay)
                passage.reason = await relay.wait()
            elif isinstance(verdict, Reject):
                passage.reason = "rejected by a rule"
                await arrival.refuse(Refused(str(verdict.rule), Reason.RULES))
            else:
                passage.reason = "dropped by a rule"
                await arrival.refuse(None)
        except asyncio.CancelledError:
            passage.reason = passage.reason or "Byway stopped"
            raise
        except Exception as error:
            await self._failed(arrival, passage, error)
        finally:
            self._ledger.leave(passage)
            self._log.flow(passage)

    async def _judged(self, arrival: Arrival[FarT], passage: Passage, course: Course) -> Verdict:
        flow, judge = arrival.flow, course.judge
        passage.judge = judge
        passage.facts = facts = self._finder.begin(flow, passage.facts)
        flow = flow.judged
        while isinstance(verdict := judge.decide(flow, facts), Lacks):
            with _UNTIMED if verdict.fact in _OWN_TIME else course.dialling:
                passage.facts = facts = await self._finder.find(verdict, flow, facts, arrival.hear)
        return verdict

    async def _dialled(self, arrival: Arrival[FarT], outbound: Outbound, passage: Passage) -> FarT:
        for way in outbound.ways(arrival.flow):
            try:
                self._ledger.lead(passage, way)
                far = await arrival.dial(way)
            except BaseException as error:
                if not way.failed(error):
                    raise
            else:
                way.worked()
                return far
        raise Refused(f"{outbound.name} has no way to it", Reason.NOT_SUPPORTED)

    async def _failed(self, arrival: Arrival[FarT], passage: Passage, error: Exception) -> None:
        passage.failed, passage.reason = True, in_words(error)
        if not isinstance(error, FAULTS):
            self._log.fault(error, flow=passage.flow.id)
        await arrival.refuse(error)
