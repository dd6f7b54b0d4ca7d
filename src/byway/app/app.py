"""One running Byway, from its config to its end.

An `App` is a value: several can live in one process, and a program can run one as a library:

    async with App(load("byway.yaml")) as app:
        ...                                  # app.addresses, app.ledger
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

from byway.app.choices import Choices
from byway.app.exchange import Exchange
from byway.app.firewall import Firewall
from byway.app.generation import Generation, Lasting, nothing
from byway.app.keepers import Keepers
from byway.app.naming import Naming
from byway.app.routing import Routing
from byway.app.switches import Off, Switches
from byway.config import Config
from byway.engine import Engine, Turnstile
from byway.errors import ConfigError, in_words
from byway.facts.finder import Finder
from byway.facts.flow_names import FlowNames
from byway.inbounds.silence import Silence
from byway.interfaces import InForce, Resolver
from byway.ledger import Ledger
from byway.ledger.limits import Limiter
from byway.ledger.log import Log
from byway.outbounds.loops import Loops
from byway.outbounds.roster import Roster
from byway.router import Router
from byway.rules import Judge
from byway.system.firewall.table import FirewallError
from byway.system.open_files import open_files, pipes_for
from byway.system.own import OwnAddresses
from byway.system.plan import HostError
from byway.system.state import StateFile

MOST_FAKES = 64 << 20
"""Bytes of the file of fake addresses: a million names take half of it."""

Reread = Callable[[], Config]
"""Reads an App's config again, from wherever it came. Raises ConfigError."""


class App:
    """One running Byway. Use it as an async context manager, in one task.

    Entering binds every listener (OSError with the address where one cannot be) and starts to
    serve; leaving ends every flow. `drain` before leaving lets flows come to their own end.
    `reload` puts another config in place of the one it runs. `memory` is the folder for what is to
    outlive it; without one, nothing does.
    """

    def __init__(
        self, config: Config, resolver: Resolver | None = None, memory: Path | None = None
    ) -> None:
        self.started = time.monotonic()
        self.in_force = InForce(nothing(config))
        self.reload_error = ""  # why the last one was refused
        self.log = Log(self.in_force)
        self.limits = Limiter(StateFile(memory and memory / "quotas.json"))
        self.ledger = Ledger(self.in_force, limits=self.limits)
        self._first = config
        self._resolver = resolver
        self._fakes = StateFile(memory and memory / "fake-addresses.json", MOST_FAKES)
        self._choices = Choices(StateFile(memory and memory / "choices.json"), self.log)
        self._silence = Silence(self.in_force)
        self.firewall = Firewall(self.log)
        self.routing = Routing(self.log)
        self._changing = asyncio.Lock()
        self._reloading = asyncio.Lock()
        self._hurry = asyncio.Event()

    @property
    def now(self) -> Generation:
        """The generation in force."""
        return self.in_force.now

    @property
    def addresses(self) -> Mapping[str, Sequence[str]]:
        """Where each inbound listens, with real ports."""
        return self.now.addresses

    @property
    def reloads(self) -> int:
        """How many there were."""
        return max(0, self.now.number - 1)

    @property
    def log_problem(self) -> str:
        """The fault of the log: lines were lost, or it cannot be written now; "": none."""
        return "" if self.now.writer is None else self.now.writer.loss

    async def __aenter__(self) -> Self:
        config, log = self._first, self.log
        self.engine = Engine()
        self.engine.bound_pipes(pipes_for(open_files()))
        self.names = await Naming(
            self.engine, log, self.in_force, self._resolver, self._fakes
        ).__aenter__()
        self._finder = Finder(
            self.names,
            ciphers=self.engine.ciphers,
            in_force=self.in_force,
            tell=self._tell_fault,
            listed=self.names.listed,
            names=FlowNames(self.in_force, lambda: self.names.fakes, self.names.given),
        )
        router = Router(self.in_force, self._finder, self.ledger, log)
        self.lasting = lasting = Lasting(
            self.in_force,
            self.engine,
            log,
            self.names,
            self.ledger,
            self._finder,
            Loops(OwnAddresses().holds, self.in_force),
            self._silence,
            Turnstile(self.now.flows, self.now.per_source),
            itertools.count(1).__next__,
        )
        self._tasks = tasks = await asyncio.TaskGroup().__aenter__()
        self.keepers = Keepers(lasting, tasks)
        self.switches = Switches(self.in_force, self._judge_by, self._changing, tasks, log)
        self._exchange = Exchange(
            lasting,
            self.switches,
            self.keepers,
            router.carry,
            self._changing,
            tasks,
            self.firewall,
            self.routing,
        )
        self.in_force.now = replace(self.now, roster=Roster(choices=self._choices.read(config)))
        try:
            await self._exchange.to(config)
        except BaseException:
            await self._ended()
            await self._closed()
            raise
        log.info("ready", config=config.file, flows=self.now.flows)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            # The body's own error goes on as it is; a cancel may be the group's, for a failed task.
            cancelled = kind is not None and issubclass(kind, asyncio.CancelledError)
            await self._ended(*((kind, error, trace) if cancelled else (None, None, None)))
        finally:
            self.log.info("stopped", flows=self.ledger.carried)
            self.limits.save()
            if self.choices_problem:  # the disk may have room again
                self._choices.write(self.now.roster.choices)
            await self._closed()

    async def drain(self) -> None:
        """Stop accepting, and wait for the flows, up to `limits.drain` or until `hurry`."""
        await self._open_up()
        for inbound in self.now.inbounds.values():
            inbound.close()
        self._silence.end()
        within = self.now.config.limits.drain
        self.log.info("draining", flows=len(self.ledger.live), within=f"{within}s")
        hurry = asyncio.ensure_future(self._hurry.wait())
        done = asyncio.gather(*(asyncio.shield(task) for task in self._exchange.serving))
        try:
            await asyncio.wait((hurry, done), timeout=within, return_when=asyncio.FIRST_COMPLETED)
        finally:
            hurry.cancel()
            done.cancel()
            await asyncio.gather(hurry, done, return_exceptions=True)

    def hurry(self) -> None:
        """Cut a drain short."""
        self._hurry.set()

    async def reload_from(self, reread: Reread) -> Sequence[str]:
        """Read the config again and `reload` it; what was refused is logged and remembered.

        Raises ConfigError or OSError, with the old config still in force.
        """
        async with self._reloading:
            try:
                news = await self.reload(await asyncio.to_thread(reread))
            except (ConfigError, OSError) as error:
                self.reload_error = "; ".join(map(str.strip, in_words(error).split("\n")))
                self.log.error(
                    "reload failed, the old config stays in use", error=self.reload_error
                )
                raise
            self.reload_error = ""
            return news

    async def reload(self, config: Config) -> Sequence[str]:
        """Run this config from now on; what changed, in lines for a person.

        Unchanged sections keep their listeners, outbounds and flows; the flows of changed ones come
        to their own end. Raises OSError, with the old config still in force, where an
        address or a file cannot be had.
        """
        news = (await self._exchange.to(config)).news
        self.log.info("reloaded", config=config.file, changes=len(news))
        return news

    async def select(self, group: str, member: str) -> str:
        """Have a group of type select take a member from now on, also after a restart. Returns why
        it cannot be remembered, "" where it can. Raises KeyError or ValueError for other names."""
        async with self._changing:
            roster = self.now.roster
            roster.select(group, member)
            self.log.info("selected", group=group, member=member)
            await self._choices.remember(roster.choices)
        return self._choices.problem

    @property
    def choices_problem(self) -> str:
        """Why what was chosen would be forgotten at the end; "" when it is not."""
        return self._choices.problem if self.now.roster.choices else ""

    def _tell_fault(self, function: str, note: str) -> None:
        self.log.warning("a rule in Python failed: no match", function=function, why=note)

    def _judge_by(self, judge: Judge, off: Mapping[int, Off]) -> None:
        """Another generation, with another judge."""
        self.in_force.now = replace(self.now, judge=judge, off=off)
        self.names.messages.clear(self.now.names.size)  # a rule may have hijacked their queries
        self.ledger.forget_judges()
        self.switches.wake()
        if self.firewall.now is not None:
            self._tasks.create_task(self._divert_anew())

    async def _divert_anew(self) -> None:
        """The firewall obeys rules, too: other ones, since the judge is another."""
        async with self._changing:
            try:
                await self.firewall.follow(self.now, self.now.inbounds)
            except FirewallError as error:
                self.log.error("the firewall obeys former rules", error=error)

    async def _open_up(self) -> None:
        """Undo what was set up in the routes and in the firewall."""
        try:
            await self.routing.close()
        except HostError as error:
            self.log.error("the routes are not undone", error=error, hint=error.hint)
        try:
            await self.firewall.close()
        except FirewallError as error:
            self.log.error("the firewall is not undone", error=error, hint=error.hint)

    async def _ended(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        """End all tasks."""
        self.keepers.stop()
        self.switches.close()
        for task in self._exchange.serving:
            task.cancel()
        await self._tasks.__aexit__(kind, error, trace)

    async def _closed(self) -> None:
        await self._open_up()
        for inbound in self.now.inbounds.values():
            inbound.close()
        await self.keepers.close()
        self._finder.close()
        await self.names.__aexit__(None, None, None)
        await self.engine.close()
        if (writer := self.now.writer) is not None:
            writer.close()
