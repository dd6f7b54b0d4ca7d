"""How an outbound does, by what its dials and probes show. Pure: time and chance are passed in.

A `Score` is about one network of one outbound; a `Health` holds those of an outbound, for all the
groups it is a member of.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from byway.flow import Network, Rank, State
from byway.interfaces import Stream

FIRST_OUT = 2.0
"""Seconds that a member is out after its first failure; they double with each further one."""

LONGEST_OUT = 300.0
"""Seconds that it is out at most, before it is tried again."""

SPREAD = 0.2
"""By how much of itself that time is longer or shorter by chance, lest all come back at once."""

DOUBTS = 3
"""Dials in a row that came to nothing after the server was reached count as one failure: one such
dial is more likely its target's fault."""

QUICKLY, SLOWLY = 0.5, 0.125
"""The weight of a dial that took less, or more, than usual. A dial may be slow by its target's
fault and never fast, so the smoothed delay stays near the fast ones."""


class Score:
    """The record of one outbound's dials for one network. `began`, `now` are one clock's."""

    __slots__ = (
        "answer", "delay", "doubts", "failed", "failures", "mute", "out", "reached", "seen", "went",
        "why",
    )  # fmt: skip

    def __init__(self) -> None:
        self.delay: float | None = None  # seconds a dial takes, smoothed
        self.answer: float | None = None  # seconds from there to the answer of a probe, smoothed
        self.failures = 0  # in a row
        self.doubts = 0  # in a row
        self.mute = False  # the last failure came after the dial: no dial alone disproves it
        self.out = 0.0  # until when
        self.why = ""  # of the last failure
        self.seen: float | None = None  # when it last went or failed
        self.reached: float | None = None  # when its server was last reached
        self.went = 0  # dials in all, of them well
        self.failed = 0

    def succeed(self, took: float, now: float, whole: bool = True) -> bool:
        """A dial went well after so many seconds. Whether that changed the state.

        `whole`: the target was reached, and not just the server.
        """
        self.delay = smoothed(self.delay, took)
        self.seen = now
        self.went += 1
        return (whole or not self.mute) and self.heal(whole)

    def heal(self, wholly: bool = True) -> bool:
        """It works, as was just seen. Whether that changed the state."""
        changed = self.failures > 0
        self.failures, self.mute, self.out = 0, False, 0.0
        if wholly:
            self.doubts = 0
        return changed

    def fail(self, why: str, began: float, now: float, chance: float, mute: bool = False) -> bool:
        """A dial that began then failed; `chance` is of 0 to 1. Whether that changed the state.

        Dials that began before the last failure add nothing: a hundred that fail at once are
        one failure. `mute`: the dial went well, and nothing came after it.
        """
        self.failed += 1
        self.why = why
        known = self.seen if self.failures else None
        self.seen = now
        if known is not None and began <= known:
            return False
        self.doubts, self.mute = 0, mute
        self.failures += 1
        pause = min(FIRST_OUT * 2.0 ** min(self.failures - 1, 30), LONGEST_OUT)
        self.out = now + pause * (1.0 + SPREAD * (2.0 * chance - 1.0))
        return True

    def doubt(self, why: str, began: float, now: float, chance: float, mute: bool = False) -> bool:
        """It came to nothing after the server was reached. Whether that changed the state."""
        self.doubts += 1
        if self.doubts < DOUBTS:
            return False
        self.doubts = 0
        return self.fail(why, began, now, chance, mute)

    def state(self, now: float) -> State:
        """Its state now."""
        if not self.failures:
            return State.WELL
        return State.OUT if now < self.out else State.TRIAL


class Health:
    """The scores of one outbound. `changed` is called whenever its state did.

    `server_answers`: its protocol says whether the target was reached. Where it does not, what
    comes back on a flow is the only sign of that.
    """

    __slots__ = (
        "_chance", "_scores", "changed", "clock", "name", "probed", "probing", "server_answers",
    )  # fmt: skip

    def __init__(
        self,
        name: str,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = lambda: 0.5,
        changed: Callable[[], None] = lambda: None,
        server_answers: bool = True,
    ) -> None:
        self.name = name
        self.server_answers = server_answers
        self.clock = clock
        self.changed = changed
        self.probed: float | None = None  # when it was last probed
        self.probing = False
        self._chance = chance
        self._scores = {Network.TCP: Score(), Network.UDP: Score()}

    def score(self, network: Network) -> Score:
        """The record for a network."""
        return self._scores[network]

    def reached(self) -> None:
        """Its server was reached: what fails from here on may be somebody else's fault."""
        self._scores[Network.TCP].reached = self.clock()

    async def noted(self, stream: Stream) -> Stream:
        """A layer that adds nothing: with it on, the server was reached."""
        self.reached()
        return stream

    def succeeded(self, network: Network, began: float, done: float | None = None) -> None:
        """A dial that began then went well; it was done then, or now."""
        now = self.clock() if done is None else done
        if self._scores[network].succeed(now - began, now, self.server_answers):
            self.changed()

    def failed(self, network: Network, began: float, why: str) -> None:
        """A dial that began then failed, by this outbound's fault."""
        if self._scores[network].fail(why, began, self.clock(), self._chance()):
            self.changed()

    def gave_up(self, network: Network, began: float, why: str) -> None:
        """Nobody waited any longer for a dial that began then."""
        now, score = self.clock(), self._scores[network]
        reached = self._scores[Network.TCP].reached
        if reached is not None and reached >= began:
            changed = score.doubt(why, began, now, self._chance())
        else:
            changed = score.fail(why, began, now, self._chance())
        if changed:
            self.changed()

    def ended(self, up: int, down: int, began: float) -> None:
        """A TCP flow by it ended, which began then and moved so much."""
        score = self._scores[Network.TCP]
        if down > 0:
            changed = score.heal()
        elif up > 0 and not self.server_answers:
            why = "sent data got no response"
            changed = score.doubt(why, began, self.clock(), self._chance(), mute=True)
        else:
            return
        if changed:
            self.changed()

    def answered(self, took: float) -> None:
        """A probe had its answer so many seconds after its dial."""
        score = self._scores[Network.TCP]
        score.answer = smoothed(score.answer, took)
        if score.heal():
            self.changed()

    def unanswered(self, began: float, why: str) -> None:
        """A probe that began then had no answer, or a wrong one."""
        now = self.clock()
        if self._scores[Network.TCP].fail(why, began, now, self._chance(), mute=True):
            self.changed()

    def rank(self, network: Network, now: float) -> Rank:
        """Its rank for a network: without its TCP there is no UDP."""
        tcp = score = self._scores[Network.TCP]
        if network is Network.UDP and self._scores[network].state(now) >= tcp.state(now):
            score = self._scores[network]
        delay = tcp.delay if score.delay is None else score.delay
        return Rank(
            self.name, score.state(now), delay, tcp.answer, score.failures, score.out, score.why
        )


def smoothed(before: float | None, took: float) -> float:
    """The smoothed delay after one more dial."""
    if before is None:
        return took
    return before + (took - before) * (QUICKLY if took < before else SLOWLY)
