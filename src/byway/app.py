"""The composition root: from a config to a running Byway. Only here do the stations meet.

An `App` is a value: several can live in one process, and a program can run one as a library:

    async with App(load("byway.yaml")) as app:
        ...                                  # app.addresses, app.ledger
"""

from __future__ import annotations

import asyncio
import itertools
import os
import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Self

from byway.config import Config, judge_of, open_sets
from byway.dns import SystemResolver
from byway.engine import Engine, ListenOptions, PacketOptions
from byway.facts import Finder
from byway.inbounds.entry import Means
from byway.interfaces import Inbound, Outbound, Resolver
from byway.ledger import Ledger
from byway.log import Log
from byway.router import Router
from byway.system.limits import flows_for, open_files
from byway.system.lines import LineWriter
from byway.ways import Ways

STDERR = 2

Reread = Callable[[], Config]
"""Reads an App's config again, from wherever it came. Raises ConfigError."""


class App:
    """One running Byway. Use it as an async context manager, in one task.

    Entering binds every listener (OSError with the address where one cannot be) and starts to
    serve; leaving ends every flow. `drain` before leaving lets flows come to their own end.
    """

    def __init__(self, config: Config, resolver: Resolver | None = None) -> None:
        self.config = config
        self.started = time.monotonic()
        self.outbounds: Mapping[str, Outbound] = {}
        self._resolver = resolver
        self._inbounds: list[Inbound] = []
        self._serving: list[asyncio.Task[None]] = []
        self._keeping: list[asyncio.Task[None]] = []
        self._hurry = asyncio.Event()

    @property
    def addresses(self) -> Mapping[str, Sequence[str]]:
        """Where each inbound listens, with real ports."""
        return {inbound.name: inbound.addresses for inbound in self._inbounds}

    @property
    def lines_lost(self) -> int:
        """Log lines that found no room, since their reader was too slow."""
        return self._writer.dropped

    async def __aenter__(self) -> Self:
        config, limits = self.config, self.config.limits
        self._writer = _writer(config)
        self.log = Log(self._writer.write, config.log.level, config.log.format, config.log.flows)
        self._own_resolver = SystemResolver() if self._resolver is None else None
        resolver = self._resolver or self._own_resolver
        assert resolver is not None
        self.engine = Engine()
        total = limits.flows or flows_for(open_files())
        self.ledger = Ledger(total, limits.flows_per_source)
        ways = self._ways = Ways(config, self.engine, resolver, self.log)
        sets = open_sets(config)
        means = Means(
            self.engine,
            self.log,
            itertools.count(1).__next__,
            limits.handshake,
            limits.idle,
            limits.head,
            PacketOptions(limits.udp_idle, limits.udp_sessions, limits.udp_targets),
        )
        listening = ListenOptions(
            first=limits.handshake, per_source=limits.flows_per_source, total=total
        )
        try:
            outbounds = self.outbounds = ways.outbounds()
            self._inbounds = [ways.inbound(name, means, listening) for name in config.inbounds]
            for plugin in ways.dialling:
                await plugin.open()
            for inbound in self._inbounds:
                await inbound.open()
        except BaseException:
            await self._closed()
            raise
        router = self.router = Router(
            judge_of(config, sets.sets),
            Finder(resolver),
            outbounds,
            self.ledger,
            self.log,
            limits.dial,
        )
        self._tasks = asyncio.TaskGroup()
        await self._tasks.__aenter__()
        self._serving = [
            self._tasks.create_task(inbound.serve(router.carry)) for inbound in self._inbounds
        ]
        self._keeping = [self._tasks.create_task(plugin.serve()) for plugin in ways.dialling]
        for odd in (*config.warnings, *sets.problems):
            place = f"{odd.file}:{odd.line}:{odd.column}"
            self.log.warning(odd.message, at=place, key=odd.key or None, hint=odd.hint or None)
        for name, addresses in self.addresses.items():
            self.log.info("listening", inbound=name, addresses=",".join(addresses))
        self.log.info("ready", config=config.file, flows=total)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            for task in (*self._serving, *self._keeping):
                task.cancel()
            # The body's own error goes on as it is; a cancel may be the group's, for a failed task.
            cancelled = kind is not None and issubclass(kind, asyncio.CancelledError)
            await self._tasks.__aexit__(
                *((kind, error, trace) if cancelled else (None, None, None))
            )
        finally:
            self.log.info("stopped", flows=self.ledger.carried)
            await self._closed()

    async def drain(self) -> None:
        """Accept no more, and wait for the flows, up to `limits.drain` or until `hurry`."""
        for inbound in self._inbounds:
            inbound.close()
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

    def hurry(self) -> None:
        """Cut a drain short."""
        self._hurry.set()

    async def _closed(self) -> None:
        for inbound in self._inbounds:
            inbound.close()
        for plugin in self._ways.plugins:
            await plugin.close()
        await self.engine.close()
        if self._own_resolver is not None:
            self._own_resolver.close()
        self._writer.close()


def _writer(config: Config) -> LineWriter:
    if config.log.file is None:
        return LineWriter(STDERR)
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
    return LineWriter(os.open(config.log.file, flags, 0o640), owned=True)
