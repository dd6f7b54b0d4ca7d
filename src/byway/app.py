"""The composition root: from a config to a running Byway. Only here do the stations meet.

An `App` is a value: several can live in one process, and a program can run one as a library:

    async with App(load("byway.yaml")) as app:
        ...                                  # app.addresses, app.ledger
"""

from __future__ import annotations

import asyncio
import errno
import itertools
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from byway.config import (
    Config,
    OpenSets,
    SelectGroup,
    UrlSet,
    changes,
    judge_of,
    open_sets,
    pac_file,
)
from byway.config.limited import alike, terms_of
from byway.config.listening import cannot_listen
from byway.engine import (
    Engine,
    ListenOptions,
    PacketOptions,
    TlsClient,
    TlsClientOptions,
    Turnstile,
)
from byway.errors import ConfigError, Problem, in_words
from byway.facts import Finder
from byway.flow import Target
from byway.inbounds.both import Both
from byway.inbounds.entry import Means
from byway.inbounds.listener import StreamInbound
from byway.inbounds.silence import Silence
from byway.interfaces import Inbound, Outbound, Resolver, Stream
from byway.ledger import Ledger
from byway.limits import Limits
from byway.log import Log
from byway.naming import Naming
from byway.outbounds.loops import Loops
from byway.outbounds.roster import Roster
from byway.router import Router
from byway.rules import Judge
from byway.rules.sets import RuleSet
from byway.switches import Switches, carried_over
from byway.system.files import open_to_append
from byway.system.limits import flows_for, open_files, pipes_for
from byway.system.lines import LineWriter
from byway.system.own import OwnAddresses
from byway.system.plugin import Plugin
from byway.system.state import StateFile
from byway.ways import Ways, same_way

if TYPE_CHECKING:
    from byway.outbounds.prober import Prober
    from byway.refresh import Refresher
    from byway.web import Document

STDERR = 2
FREED = 1.0  # seconds until an address that was given up is surely free

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
        self.config = config
        self.started = time.monotonic()
        self.outbounds: Mapping[str, Outbound] = {}
        self._resolver = resolver
        self._choices = StateFile(memory and memory / "choices.json")
        self.limits = Limits(StateFile(memory and memory / "quotas.json"))
        self._quotas: asyncio.Task[None] | None = None
        self._remembering = asyncio.Lock()
        self._finder: Finder | None = None
        self.reloads = 0
        self.reload_error = ""  # why the last one was refused
        self._inbounds: dict[str, Inbound] = {}
        self._loops = Loops(OwnAddresses().holds)
        self._serving: set[asyncio.Task[None]] = set()
        self._keeping: list[asyncio.Task[None]] = []
        self._plugins: list[Plugin] = []
        self.sets: Mapping[str, RuleSet] = {}
        self.refresher: Refresher | None = None  # None as long as no set is from the web
        self.prober: Prober | None = None  # None as long as no group is probed
        self._number = itertools.count(1).__next__
        self._reloading = asyncio.Lock()
        self._hurry = asyncio.Event()

    @property
    def addresses(self) -> Mapping[str, Sequence[str]]:
        """Where each inbound listens, with real ports."""
        return {name: inbound.addresses for name, inbound in self._inbounds.items()}

    @property
    def log_problem(self) -> str:
        """What is wrong with the log: lines were lost, or it cannot be written now; "": nothing."""
        lost, now = self._writer.lost, self._writer.problem
        if not lost:
            return ""
        counted = f"{lost} lines were lost"
        return (
            f"it cannot be written: {now}; {counted}" if now else f"{counted}: {self._writer.why}"
        )

    async def __aenter__(self) -> Self:
        config, limits = self.config, self.config.limits
        self._writer = _writer(config)
        self.log = Log(self._writer.write, config.log.level, config.log.format, config.log.flows)
        self.engine = Engine()
        self.names = await Naming(self.engine, self.log, self._resolver).__aenter__()
        self.limits.follow(terms_of(config))
        total = _most_flows(config)
        self.ledger = Ledger(total, _per_source(config), limits=self.limits)
        self.turnstile = Turnstile(total, _per_source(config))
        self._silence = Silence()
        self._silence.set(limits.drop, _most_held(config))
        self.engine.bound_pipes(pipes_for(open_files()))
        before = Roster(choices=self._chosen_before())
        ways = Ways(config, self.engine, self.names, self.log, former=before, loops=self._loops)
        sets = open_sets(config)
        self._plugins, self.roster = ways.plugins, ways.roster
        try:
            self.outbounds = ways.outbounds()
            self._adopt(ways.roster)
            self.names.turn(self.names.prepare(config, self.outbounds, sets.sets))
            self._inbounds = self._built(ways, config, config.inbounds)
            for name, inbound in self._inbounds.items():
                try:
                    await inbound.open()
                except OSError as error:
                    raise cannot_listen(config, name, error) from error
            self._loops.turn(self.addresses)
        except BaseException:
            await self._closed()
            raise
        self._finder = Finder(
            self.names,
            framings=self.engine.framings,
            patience=limits.sniff,
            tell=self._tell_fault,
            listed=self.names.listed,
        )
        self._finder.follow(config.functions.values())
        self.router = Router(
            judge_of(config, sets.sets),
            self._finder,
            self.outbounds,
            self.ledger,
            self.log,
            limits.dial,
        )
        self._tasks = asyncio.TaskGroup()
        await self._tasks.__aenter__()
        self.switches = Switches(self.router.judge, self._judge_by, self._tasks, self.log)
        self._keeping = [self._tasks.create_task(plugin.serve()) for plugin in ways.dialling]
        self._tell_odd((*config.warnings, *sets.problems))
        self._keep_quotas()
        self._follow(config, sets)
        self._probe()
        for inbound in self._inbounds.values():
            self._serve(inbound)
        self.log.info("ready", config=config.file, flows=self.ledger.room.total)
        return self

    def _built(self, ways: Ways, config: Config, names: Iterable[str]) -> dict[str, Inbound]:
        """Ways in, not yet open."""
        limits = config.limits
        packets = PacketOptions(limits.udp_idle, limits.udp_sessions, limits.udp_targets)
        means = Means(
            self.engine,
            self.log,
            self._number,
            limits.handshake,
            limits.idle,
            limits.head,
            packets,
            self._pac,
            self.ledger.room,
            self._silence,
        )
        # One turnstile for all of them: the limit on open files is one, too.
        listening = ListenOptions(first=limits.handshake, turnstile=self.turnstile)
        return {name: ways.inbound(name, means, listening) for name in names}

    def _tell_fault(self, function: str, note: str) -> None:
        self.log.warning("a rule in Python failed: no match", function=function, why=note)

    def _judge_by(self, judge: Judge) -> None:
        self.ledger.forget_judges()
        self.router.judge = judge

    def _pac(self, inbound: str, at: Target) -> str:
        return pac_file(self.config, inbound, at, self.switches.off)

    def _follow(self, config: Config, sets: OpenSets) -> None:
        """Keep the sets from the web fresh from now on."""
        self.sets = sets.sets
        if self.refresher is None:
            if not any(isinstance(section, UrlSet) for section in config.sets.values()):
                return
            from byway.refresh import Refresher

            self.refresher = Refresher(self._fetched, self.log)
        self.refresher.follow(config, sets.sets, self._tasks)

    async def _fetched(self, section: UrlSet, known: Document | None) -> Document | None:
        from byway.web import fetch

        async def secured(stream: Stream, name: str) -> Stream:
            options = TlsClientOptions(name, ("http/1.1",))
            client = await asyncio.to_thread(TlsClient, options)  # reads the system's CAs
            return await self.engine.tls_client(stream, client)

        return await fetch(section.url, self.outbounds[section.via], secured, section.max, known)

    def _probe(self) -> None:
        """Probe the members of groups from now on, while they are in use."""
        if not self.config.groups and self.prober is None:
            return
        from byway.grouping import probings

        probing = probings(self.config, self.roster.choosers)
        if self.prober is None:
            if not probing:
                return
            from byway.outbounds.prober import Prober
            from byway.outbounds.secure import WebTls

            self.prober = Prober(WebTls(self.engine), time.monotonic)
            self._keeping.append(self._tasks.create_task(self.prober.serve()))
        self.roster.told = self.prober.wake
        self.prober.follow(probing, self.outbounds)

    def _serve(self, inbound: Inbound) -> None:
        task = self._tasks.create_task(inbound.serve(self.router.carry))
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)
        self.log.info("listening", inbound=inbound.name, addresses=",".join(inbound.addresses))

    def _keep_quotas(self) -> None:
        """Renew and remember quotas from now on, if there are any."""
        if self._quotas is None and self.limits.has_quotas:
            self._quotas = self._tasks.create_task(self.limits.keep())
            self._keeping.append(self._quotas)
        if self.limits.problem:
            self.log.warning("used quotas may be forgotten", why=self.limits.problem)

    def _tell_odd(self, problems: Sequence[Problem]) -> None:
        self.problems = problems
        for odd in problems:
            place = f"{odd.file}:{odd.line}:{odd.column}" if odd.line else odd.file
            self.log.warning(odd.message, at=place, key=odd.key or None, hint=odd.hint or None)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if self.refresher is not None:
                self.refresher.stop()
            self.switches.close()
            for task in (*self._serving, *self._keeping):
                task.cancel()
            # The body's own error goes on as it is; a cancel may be the group's, for a failed task.
            cancelled = kind is not None and issubclass(kind, asyncio.CancelledError)
            await self._tasks.__aexit__(
                *((kind, error, trace) if cancelled else (None, None, None))
            )
        finally:
            self.log.info("stopped", flows=self.ledger.carried)
            self.limits.save()
            if self.choices_problem:  # the disk may have room again
                self._choices.write({"choices": dict(self.roster.choices)})
            await self._closed()

    async def drain(self) -> None:
        """Accept no more, and wait for the flows, up to `limits.drain` or until `hurry`."""
        for inbound in self._inbounds.values():
            inbound.close()
        self._silence.end()
        self.log.info(
            "draining", flows=len(self.ledger.live), within=f"{self.config.limits.drain}s"
        )
        hurry = asyncio.ensure_future(self._hurry.wait())
        done = asyncio.gather(*(asyncio.shield(task) for task in self._serving))
        try:
            await asyncio.wait(
                (hurry, done),
                timeout=self.config.limits.drain,
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            hurry.cancel()
            done.cancel()
            await asyncio.gather(hurry, done, return_exceptions=True)

    async def reload_from(self, reread: Reread) -> Sequence[str]:
        """Read the config again and `reload` it; what was refused is logged and remembered.

        Raises ConfigError or OSError, with the old config still in force.
        """
        async with self._reloading:
            try:
                told = await self.reload(await asyncio.to_thread(reread))
            except (ConfigError, OSError) as error:
                self.reload_error = "; ".join(map(str.strip, in_words(error).split("\n")))
                self.log.error("reload refused, the old config stays", error=self.reload_error)
                raise
            self.reload_error = ""
            return told

    async def reload(self, config: Config) -> Sequence[str]:
        """Run this config from now on; what changed, in lines for a person.

        What is the same keeps its listeners, outbounds and flows, and the flows of what is not the
        same come to their own end. Raises OSError, with the old config still in force, where an
        address or a file cannot be had. Not to be called again before it returns.
        """
        old = self.config
        kept = {name: way for name, way in self.outbounds.items() if same_way(name, old, config)}
        ways = Ways(config, self.engine, self.names, self.log, kept, self.roster, self._loops)
        running = self.refresher.unchanged(config) if self.refresher is not None else {}
        sets = await asyncio.to_thread(open_sets, config, None, running)
        judge = await asyncio.to_thread(judge_of, config, sets.sets)  # seconds, of many rules
        writer = self._writer
        if old.log.file is not None or config.log.file is not None:
            writer = _writer(config)  # also for the same file: it may have been moved away
        try:
            outbounds = ways.outbounds()
            prepared = self.names.prepare(config, outbounds, sets.sets)
            self._inbounds = await self._exchanged(ways, config)
            self._loops.turn(self.addresses)
        except BaseException:
            for plugin in ways.plugins:
                await plugin.close()
            if writer is not self._writer:
                writer.close()
            raise
        self._plugins += ways.plugins  # those of former outbounds still carry their flows
        self._keeping += [self._tasks.create_task(plugin.serve()) for plugin in ways.dialling]
        self.config, self.outbounds = config, outbounds
        self._adopt(ways.roster)
        judge, stayed = self.switches.turn(judge)
        self.names.turn(prepared)
        self.ledger.forget_judges()
        self.router.turn(judge, outbounds, config.limits.dial)
        self.router.hits = carried_over(self.router.hits, self.switches.rules)
        assert self._finder is not None
        self._finder.patience = config.limits.sniff
        self._finder.follow(config.functions.values())
        self.ledger.room.total = _most_flows(config)
        self.ledger.per_source = _per_source(config)
        self.turnstile.set(self.ledger.room.total, self.ledger.per_source)
        self._silence.set(config.limits.drop, _most_held(config))
        self.log.turn(writer.write, config.log.level, config.log.format, config.log.flows)
        if writer is not self._writer:
            self._writer.close()
            self._writer = writer
        self.reloads += 1
        await asyncio.to_thread(self.limits.follow, terms_of(config))
        self._keep_quotas()
        self._tell_odd((*config.warnings, *sets.problems))
        self._follow(config, sets)
        self._probe()
        told = (*await asyncio.to_thread(changes, old, config), *stayed)
        self.log.info("reloaded", config=config.file, changes=len(told))
        return told

    async def _exchanged(self, ways: Ways, config: Config) -> dict[str, Inbound]:
        """The ways in of a new config: kept, turned, or opened anew. Raises OSError, all as it was.

        An address can pass from one inbound to another, so all that go are closed first.
        """
        old, running = self.config, self._inbounds
        same = {
            name
            for name in running
            if old.limits == config.limits and alike(old.inbounds[name], config.inbounds.get(name))
        }
        new = self._built(ways, config, [name for name in config.inbounds if name not in same])
        turned = {name for name, inbound in new.items() if _can_become(running.get(name), inbound)}
        going = [name for name in running if name not in same and name not in turned]
        coming = [name for name in new if name not in turned]
        for name in going:
            running[name].close()
        try:
            for name in coming:
                new[name] = await self._opened(ways, config, name)
        except BaseException:
            for name in coming:
                new[name].close()
            again = Ways(old, self.engine, self.names, self.log, self.outbounds, loops=self._loops)
            self._plugins += again.plugins
            for name in going:
                running[name] = await self._opened(again, old, name)
                self._serve(running[name])
            raise
        for name in turned:
            _turn(running[name], new[name])
        for name in coming:
            self._serve(new[name])
        return {name: new[name] if name in coming else running[name] for name in config.inbounds}

    async def _opened(self, ways: Ways, config: Config, name: str) -> Inbound:
        """A way in, built and open. An address that was just given up takes a moment to be free."""
        until = time.monotonic() + FREED
        while True:
            inbound = self._built(ways, config, [name])[name]
            try:
                await inbound.open()
            except OSError as error:
                inbound.close()
                if error.errno != errno.EADDRINUSE or time.monotonic() > until:
                    raise cannot_listen(config, name, error) from error
                await asyncio.sleep(0.01)
            else:
                return inbound

    async def select(self, group: str, member: str) -> str:
        """Have a group of type select take a member from now on, also after a restart. Returns why
        it cannot be remembered, "" where it can. Raises KeyError or ValueError for other names."""
        self.roster.select(group, member)
        self.log.info("selected", group=group, member=member)
        async with self._remembering:
            kept = {"choices": dict(self.roster.choices)}
            if not await asyncio.to_thread(self._choices.write, kept):
                self.log.warning("a choice is not remembered", error=self._choices.problem)
        return self._choices.problem

    @property
    def choices_problem(self) -> str:
        """Why what was chosen would be forgotten at the end; "" when it is not."""
        return self._choices.problem if self.roster.choices else ""

    def _chosen_before(self) -> dict[str, str]:
        """What was chosen in an earlier life."""
        if not any(isinstance(group, SelectGroup) for group in self.config.groups.values()):
            return {}
        found = self._choices.read().get("choices")
        if self._choices.problem:
            self.log.warning("former choices are forgotten", error=self._choices.problem)
        return {str(k): str(v) for k, v in found.items()} if isinstance(found, dict) else {}

    def _adopt(self, roster: Roster) -> None:
        self.roster = roster
        roster.adopt()
        for group, member, default in roster.strayed():
            self.log.warning("the chosen member is gone", group=group, chosen=member, now=default)

    def hurry(self) -> None:
        """Cut a drain short."""
        self._hurry.set()

    async def _closed(self) -> None:
        for inbound in self._inbounds.values():
            inbound.close()
        for plugin in self._plugins:
            await plugin.close()
        if self._finder is not None:
            self._finder.close()
        await self.names.__aexit__(None, None, None)
        await self.engine.close()
        self._writer.close()


def _can_become(inbound: Inbound | None, new: Inbound) -> bool:
    """Whether a running inbound can become the new one, and keep its listeners."""
    if isinstance(inbound, StreamInbound) and isinstance(new, StreamInbound):
        return inbound.is_placed_as(new)
    return isinstance(inbound, Both) and isinstance(new, Both) and inbound.is_placed_as(new)


def _turn(inbound: Inbound, new: Inbound) -> None:
    """Let a running inbound become the new one, as it can."""
    if isinstance(inbound, Both):
        assert isinstance(new, Both)
        inbound.become(new)
    else:
        assert isinstance(inbound, StreamInbound)
        assert isinstance(new, StreamInbound)
        inbound.become(new)


def _most_flows(config: Config) -> int:
    return config.limits.flows or flows_for(open_files())


def _per_source(config: Config) -> int:
    """One source alone never takes all the places."""
    return min(config.limits.flows_per_source, max(1, _most_flows(config) * 3 // 4))


def _most_held(config: Config) -> int:
    """How many dropped connections are held open; the other places are for those that are not."""
    return max(16, _most_flows(config) // 8)


def _writer(config: Config) -> LineWriter:
    if config.log.file is None:
        return LineWriter(STDERR)
    return LineWriter(open_to_append(config.log.file), owned=True)
