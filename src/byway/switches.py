"""Switches rules off and on while Byway runs.

On config time: a judge without those rules is made in a thread, and then put in place whole.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from byway.errors import BywayError
from byway.log import Log
from byway.rules import Judge, RuleRef

LONGEST = 366 * 86400.0  # seconds


class NoSwitch(BywayError):  # noqa: N818 - says of a rule what it lacks
    """The rule cannot be switched; the text says why."""


@dataclass(frozen=True, slots=True)
class Off:
    """A rule that is off; `until` in `time.monotonic`, None: until it is switched on."""

    until: float | None = None

    @property
    def left(self) -> float | None:
        """Seconds that it stays off."""
        return None if self.until is None else max(0.0, self.until - time.monotonic())


class Switches:
    """Which rules of the judge in force are off. Rules are counted from 0 here.

    `place` puts a judge in force; `tasks` owns what waits for an end.
    """

    def __init__(
        self, judge: Judge, place: Callable[[Judge], None], tasks: asyncio.TaskGroup, log: Log
    ) -> None:
        self._judge = judge
        self._place = place
        self._tasks = tasks
        self._log = log
        self._off: dict[int, Off] = {}
        self._timers: dict[int, asyncio.TimerHandle] = {}
        self._changing = asyncio.Lock()

    @property
    def rules(self) -> Sequence[RuleRef]:
        """All rules of the config, in order."""
        return [rule.verdict.rule for rule in self._judge.rules]

    @property
    def off(self) -> Mapping[int, Off]:
        """Those that are off by hand."""
        return self._off

    def is_enabled(self, at: int) -> bool:
        """Whether the config has a rule switched on."""
        return self._judge.rules[at].enabled

    async def switch_off(self, at: int, seconds: float | None = None) -> None:
        """Pass a rule over from now on, for so long. Raises NoSwitch."""
        rule = self._judge.rules[at]
        if rule.takes_all:
            raise NoSwitch(
                "the last rule cannot be switched off", "everything needs a way; change the config"
            )
        if not rule.enabled:
            raise NoSwitch("the rule is switched off in the config already")
        if seconds is not None and not 0 < seconds <= LONGEST:
            raise NoSwitch(f"for {seconds:g} seconds is not possible", "a moment to a year")
        self._forget(at)
        self._note(at, Off(None if seconds is None else time.monotonic() + seconds))
        await self._changed()
        how_long = None if seconds is None else f"{seconds:g}s"
        self._log.info("a rule is switched off", rule=rule.verdict.rule, lasts=how_long)

    async def switch_on(self, at: int) -> bool:
        """Try a rule again from now on; False when it was not off by hand."""
        if at not in self._off:
            return False
        self._forget(at)
        await self._changed()
        self._log.info("a rule is switched on again", rule=self._judge.rules[at].verdict.rule)
        return True

    def turn(self, judge: Judge) -> tuple[Judge, Sequence[str]]:
        """The judge of a new config without the rules that are off and that it still has, and what
        became of those, in lines for a person. It is for the caller to put it in force."""
        places = defaultdict(list)
        for at, rule in enumerate(judge.rules):
            places[rule.verdict.rule.text].append(at)
        old, before, told = self._judge, dict(self._off), []
        taken: dict[str, int] = defaultdict(int)
        kept: dict[int, Off] = {}
        for at, rule in enumerate(old.rules):
            text = rule.verdict.rule.text
            nth, taken[text] = taken[text], taken[text] + 1
            if at in before:
                now = places[text][nth] if nth < len(places[text]) else None
                if now is not None and judge.rules[now].enabled:
                    kept[now] = before[at]
                    told.append(f"= rule {text}: stays switched off")
                elif now is None:
                    told.append(f"= rule {text}: was switched off, and is not there any more")
        for at in before:
            self._forget(at)
        self._judge = judge
        for at, off in kept.items():
            self._note(at, off)
        return judge.without(kept) if kept else judge, told

    def close(self) -> None:
        """Wait for no end any more."""
        for at in tuple(self._off):
            self._forget(at)

    def _note(self, at: int, off: Off) -> None:
        self._off[at] = off
        if off.left is not None:
            loop = asyncio.get_running_loop()
            self._timers[at] = loop.call_later(off.left, self._over, at)

    def _forget(self, at: int) -> None:
        self._off.pop(at, None)
        timer = self._timers.pop(at, None)
        if timer is not None:
            timer.cancel()

    def _over(self, at: int) -> None:
        self._tasks.create_task(self._ended(at, self._off.get(at)))

    async def _ended(self, at: int, off: Off | None) -> None:
        if off is not None and self._off.get(at) is off:
            await self.switch_on(at)

    async def _changed(self) -> None:
        """Put a judge in force that agrees with what is off now."""
        async with self._changing:
            while True:
                whole, off = self._judge, frozenset(self._off)
                judge = await asyncio.to_thread(whole.without, off) if off else whole
                if whole is self._judge and off == frozenset(self._off):
                    self._place(judge)
                    return


def carried_over(hits: Mapping[RuleRef, int], rules: Sequence[RuleRef]) -> dict[RuleRef, int]:
    """How often rules decided, for the rules of a new config that were there before, by text."""
    by_text: dict[str, Iterator[int]] = {}
    counts: dict[str, list[int]] = defaultdict(list)
    for rule, count in sorted(hits.items(), key=lambda one: one[0].line):
        counts[rule.text].append(count)
    for text, found in counts.items():
        by_text[text] = iter(found)
    return {rule: next(by_text.get(rule.text, iter(())), 0) for rule in rules}
