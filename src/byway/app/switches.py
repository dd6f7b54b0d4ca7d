"""Switches rules off and on while Byway runs.

On config time: a judge without those rules is made in a thread, and then put in place whole.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from byway.errors import BywayError
from byway.interfaces import InForce
from byway.ledger.log import Log
from byway.rules import Judge, RuleRef

LONGEST = 366 * 86400.0  # seconds


class NoSwitch(BywayError):  # noqa: N818 - says of a rule what it lacks
    """The rule cannot be switched; the text has the reason."""


@dataclass(frozen=True, slots=True)
class Off:
    """A rule that is off; `until` in `time.monotonic`, None: until it is enabled."""

    until: float | None = None

    @property
    def left(self) -> float | None:
        """Seconds that it stays off."""
        return None if self.until is None else max(0.0, self.until - time.monotonic())


@dataclass(frozen=True, kw_only=True)
class Switched:
    """The part of a generation about rules: `judge` decides; `whole` is the same with all rules on.
    Rules are counted from 0."""

    whole: Judge
    judge: Judge
    off: Mapping[int, Off] = field(default_factory=dict)

    @property
    def rules(self) -> Sequence[RuleRef]:
        """All rules of the config, in order."""
        return [rule.verdict.rule for rule in self.whole.rules]


class Switches:
    """Switches rules of the judge in force. Rules are counted from 0 here.

    `changing` is held by whoever puts something else in force; `place` does that; `tasks` owns what
    waits for an end.
    """

    def __init__(
        self,
        in_force: InForce[Switched],
        place: Callable[[Judge, Mapping[int, Off]], None],
        changing: asyncio.Lock,
        tasks: asyncio.TaskGroup,
        log: Log,
    ) -> None:
        self._in_force = in_force
        self._place = place
        self._changing = changing
        self._tasks = tasks
        self._log = log
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    @property
    def rules(self) -> Sequence[RuleRef]:
        """All rules of the config, in order."""
        return self._in_force.now.rules

    @property
    def off(self) -> Mapping[int, Off]:
        """Those that are off by hand."""
        return self._in_force.now.off

    def is_enabled(self, at: int) -> bool:
        """Whether the config has a rule enabled."""
        return self._in_force.now.whole.rules[at].enabled

    async def switch_off(self, at: int, seconds: float | None = None) -> None:
        """Pass a rule over from now on, for so long. Raises NoSwitch."""
        whole = self._in_force.now.whole
        rule = whole.rules[at]
        if rule.takes_all:
            raise NoSwitch(
                "the last rule cannot be disabled",
                "every flow needs a destination; change the config",
            )
        if not rule.enabled:
            raise NoSwitch("the rule is already disabled in the config")
        if seconds is not None and not 0 < seconds <= LONGEST:
            raise NoSwitch(f"for {seconds:g} seconds is not possible", "1 second to 1 year")
        off = Off(None if seconds is None else time.monotonic() + seconds)
        async with self._changing:
            if self._in_force.now.whole is not whole:
                raise NoSwitch("the config was reloaded just now", "look at its rules again")
            await self._changed({**self.off, at: off})
        how_long = None if seconds is None else f"{seconds:g}s"
        self._log.info("a rule is disabled", rule=rule.verdict.rule, lasts=how_long)

    async def switch_on(self, at: int) -> bool:
        """Try a rule again from now on; False when it was not off by hand."""
        whole, off = self._in_force.now.whole, self.off.get(at)
        async with self._changing:
            if off is None or self._in_force.now.whole is not whole or self.off.get(at) is not off:
                return False
            await self._changed({other: it for other, it in self.off.items() if other != at})
        rule = whole.rules[at].verdict.rule
        self._log.info("a rule is enabled again", rule=rule)
        return True

    def wake(self) -> None:
        """Wait for the next end of what is off now, which has changed."""
        if self._timer is not None:
            self._timer.cancel()
        ends = [off.left for off in self.off.values() if off.left is not None]
        if ends and not self._closed:
            self._timer = asyncio.get_running_loop().call_later(min(ends), self._over)

    def close(self) -> None:
        """Wait for no end any more."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()

    def _over(self) -> None:
        self._tasks.create_task(self._ended())

    async def _ended(self) -> None:
        for at in [at for at, off in self.off.items() if off.left == 0.0]:
            await self.switch_on(at)
        self.wake()

    async def _changed(self, off: Mapping[int, Off]) -> None:
        """Put a judge in force that passes these over."""
        whole = self._in_force.now.whole
        judge = await asyncio.to_thread(whole.without, frozenset(off)) if off else whole
        self._place(judge, off)


def stayed_off(before: Switched, judge: Judge) -> tuple[Mapping[int, Off], Sequence[str]]:
    """Which rules of a new config's judge are off, as they were before, and what became of those
    that were, in lines for a person."""
    if not before.off:
        return {}, ()
    places = defaultdict(list)
    for at, rule in enumerate(judge.rules):
        places[rule.verdict.rule.text].append(at)
    lines: list[str] = []
    taken: dict[str, int] = defaultdict(int)
    kept: dict[int, Off] = {}
    for at, rule in enumerate(before.whole.rules):
        text = rule.verdict.rule.text
        nth, taken[text] = taken[text], taken[text] + 1
        if at in before.off:
            now = places[text][nth] if nth < len(places[text]) else None
            if now is not None and judge.rules[now].enabled:
                kept[now] = before.off[at]
                lines.append(f"= rule {text}: stays disabled")
            elif now is None:
                lines.append(f"= rule {text}: was disabled, and no longer exists")
    return kept, lines


def carried_over(hits: Mapping[RuleRef, int], rules: Sequence[RuleRef]) -> dict[RuleRef, int]:
    """How often rules decided, for the rules of a new config that were there before, by text."""
    by_text: dict[str, Iterator[int]] = {}
    counts: dict[str, list[int]] = defaultdict(list)
    for rule, count in sorted(hits.items(), key=lambda one: one[0].line):
        counts[rule.text].append(count)
    for text, found in counts.items():
        by_text[text] = iter(found)
    return {rule: next(by_text.get(rule.text, iter(())), 0) for rule in rules}
