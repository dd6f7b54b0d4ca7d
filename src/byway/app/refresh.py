"""Updates rule sets from the web while Byway runs. A part of the root, on config time.

Comes in: the config's sets and a way to fetch. Goes out: newer contents in the rule sets that the
judge asks already, so that no rule and no flow notices but by the answer. Whatever goes wrong, the
set that is there stays, and says since when and why.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from byway.config import Config, UrlSet
from byway.config.rules import fetched
from byway.config.rules.compiled import user_cache
from byway.config.rules.fetched import Kept
from byway.config.rules.sets import problems_of
from byway.errors import BywayError, PeerError, Problem, in_words
from byway.ledger.log import Log
from byway.outbounds.web import Denied, Document
from byway.rules.gathering import Bad, BadEntry
from byway.rules.geo import NOWHERE, World
from byway.rules.sets import Contents, RuleSet

AT_ONCE = 4  # fetches
FIRST_RETRY = 15.0  # seconds; each further wait is twice as long
LONGEST_RETRY = 6 * 3600.0
LONGEST_SLEEP = 600.0  # then the clock is looked at again: it may have been set, or stood still

Fetch = Callable[[UrlSet, Document | None], Awaitable[Document | None]]
"""Fetches a set's list, or None where it is the known one still. Raises as `web.fetch` does."""


@dataclass(slots=True, eq=False)
class Following:
    """One set from the web, and how it stands with it. Times: seconds since 1970, 0 for never."""

    name: str
    section: UrlSet
    rules: RuleSet
    world: World = NOWHERE
    kept: Kept | None = None
    checked: float = 0.0
    due: float = 0.0
    since: float = 0.0  # when it began not to be as the config wants it
    why: str = ""
    failures: int = 0
    renewed: float = 0.0  # time.monotonic: when it got other contents
    problems: Sequence[Problem] = ()
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    waiting: list[asyncio.Future[str]] = field(default_factory=list)


async def pause(asked: asyncio.Event, seconds: float) -> None:
    """Wait so long, or until asked."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await asked.wait()


class Refresher:
    """Fetches lists when they are due. Clock, chance and waits are handed in for tests."""

    def __init__(
        self,
        fetch: Fetch,
        log: Log,
        folder: Path | None = None,
        now: Callable[[], float] = time.time,
        chance: Callable[[], float] = random.random,
        wait: Callable[[asyncio.Event, float], Awaitable[None]] = pause,
    ) -> None:
        self._fetch = fetch
        self._log = log
        self._folder = user_cache() if folder is None else folder
        self._now = now
        self._chance = chance
        self._wait = wait
        self._room = asyncio.Semaphore(AT_ONCE)
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self.sets: dict[str, Following] = {}

    def unchanged(self, config: Config) -> Mapping[str, RuleSet]:
        """The sets of a new config that are followed already, and go on as they are."""
        return {
            name: one.rules
            for name, one in self.sets.items()
            if config.sets.get(name) == one.section and config.world == one.world == NOWHERE
        }

    def follow(self, config: Config, sets: Mapping[str, RuleSet], tasks: asyncio.TaskGroup) -> None:
        """Follow the sets of this config from now on, and no others."""
        wanted = {name: part for name, part in config.sets.items() if isinstance(part, UrlSet)}
        for name in [name for name, one in self.sets.items() if one.rules is not sets.get(name)]:
            self._tasks.pop(name).cancel()
            self._answer(self.sets.pop(name), "no longer in the config")
        for name, section in wanted.items():
            if name not in self.sets:
                self.sets[name] = self._begun(Following(name, section, sets[name], config.world))
                self._tasks[name] = tasks.create_task(self._keep(self.sets[name]))

    def stop(self) -> None:
        """Stop fetching."""
        for task in self._tasks.values():
            task.cancel()

    def update(self, name: str) -> asyncio.Future[str]:
        """Ask the server of this set now; what comes of it, in a few words."""
        outcome: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.sets[name].waiting.append(outcome)
        self.sets[name].asked.set()
        return outcome

    def _begun(self, one: Following) -> Following:
        one.kept = fetched.find(one.section.url, self._folder)
        if one.kept is None or not one.rules.contents.complete:
            one.since, one.why = self._now(), "not fetched yet"
            one.kept = None
        else:
            one.checked = one.kept.checked
            one.due = one.checked + self._spread(one.section.every, 0.1)
        return one

    async def _keep(self, one: Following) -> None:
        while True:
            while not one.asked.is_set():
                left = min(one.due - self._now(), 1.1 * one.section.every)
                if left <= 0:
                    break
                await self._wait(one.asked, min(left, LONGEST_SLEEP))
            one.asked.clear()
            async with self._room:
                outcome = await self._refreshed(one)
            self._answer(one, outcome)

    async def _refreshed(self, one: Following) -> str:
        """One attempt; what came of it."""
        try:
            document = await self._fetch(one.section, one.kept.known if one.kept else None)
            outcome = await self._taken(one, document)
        except (BywayError, Bad, OSError, EOFError) as error:
            return self._failed(one, error)
        except Exception as error:  # a list must not end Byway
            self._log.fault(error, set=one.name)
            return self._failed(one, error)
        one.checked = self._now()
        one.due = one.checked + self._spread(one.section.every, 0.1)
        one.failures, one.since, one.why = 0, 0.0, ""
        return outcome

    async def _taken(self, one: Following, document: Document | None) -> str:
        """Put a newer list in place. Raises Bad for what is no list; the older one stays then."""
        kept = one.kept
        if kept is not None and await asyncio.to_thread(self._is_still, kept, document):
            one.kept = kept if document is None else kept.known_by(document)
            return "unchanged"
        if document is None:
            raise PeerError("the server answered 304 for a list that was never fetched")
        others = [other.kept.path for other in self.sets.values() if other.kept is not None]
        kept, contents, bad = await asyncio.to_thread(self._read, one, document, others)
        before, one.kept, one.rules.contents = len(one.rules.contents), kept, contents
        one.renewed = time.monotonic()
        one.problems = problems_of(bad, str(one.section.url), one.name)
        for problem in one.problems:
            place = f"{problem.file}:{problem.line}:{problem.column}"
            self._log.warning(problem.message, at=place, key=problem.key)
        self._log.info("set updated", set=one.name, entries=len(contents), before=before)
        return f"{len(contents)} entries"

    def _is_still(self, kept: Kept, document: Document | None) -> bool:
        """In a thread: whether a list is the kept one, which then says when that was seen."""
        if document is not None and hashlib.sha256(document.body).hexdigest() != kept.digest:
            return False
        with contextlib.suppress(OSError):  # else it is fetched once more after a restart
            if document is None or kept.known == kept.known_by(document).known:
                kept.touch(self._now())
            else:
                again = kept.known_by(document)
                fetched.store(replace(again, checked=self._now()), document.body)
        return True

    def _read(
        self, one: Following, document: Document, others: Sequence[Path]
    ) -> tuple[Kept, Contents, list[BadEntry]]:
        """In a thread: read, look whether it is good for anything, and only then keep."""
        form, part = one.section.format, one.section.list or ""
        kept = fetched.planned(one.section.url, document, self._folder, self._now(), form)
        contents, bad = fetched.read(kept, form, self._folder, one.world, document.body, part)
        if len(contents) == 0:
            why = (
                f", for example {bad[0].text!r} on line {bad[0].line}: {bad[0].why}" if bad else ""
            )
            raise Bad(f"no valid entry{why}")
        try:
            fetched.store(kept, document.body)
            fetched.prune(self._folder, {kept.path, *others})
        except OSError as error:
            self._log.warning("a set cannot be saved", set=one.name, error=error)
        return kept, contents, bad

    def _failed(self, one: Following, error: Exception) -> str:
        one.failures += 1
        wait = min(FIRST_RETRY * 2.0 ** min(one.failures - 1, 20), LONGEST_RETRY)
        wait = self._spread(min(wait, one.section.every), 0.25)
        if isinstance(error, Denied):
            wait = max(wait, min(error.after, one.section.every))
        one.due = self._now() + wait
        one.why = in_words(error)
        one.since = one.since or self._now()
        retry = f"{wait:.0f}s"
        self._log.warning("set not updated", set=one.name, error=one.why, again_in=retry)
        return f"failed: {one.why}"

    def _spread(self, seconds: float, part: float) -> float:
        """Not when everybody else asks the same server."""
        return seconds * (1 - part + 2 * part * self._chance())

    def _answer(self, one: Following, outcome: str) -> None:
        waiting, one.waiting = one.waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(outcome)
