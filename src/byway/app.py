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

from byway.config import (
    Config,
    DirectOutbound,
    ForwardInbound,
    HttpInbound,
    HttpOutbound,
    InboundConfig,
    MixedInbound,
    UnixPath,
    judge_of,
    open_sets,
)
from byway.dns import SystemResolver
from byway.engine import DialOptions, Engine, ListenOptions, PacketOptions
from byway.facts import Finder
from byway.inbounds.entry import Entry, Means
from byway.inbounds.forward import Forward
from byway.inbounds.http import Http
from byway.inbounds.listener import StreamInbound
from byway.inbounds.mixed import Mixed
from byway.inbounds.socks import Socks
from byway.interfaces import Inbound, Outbound, Resolver
from byway.ledger import Ledger
from byway.log import Log
from byway.outbounds.dialects import Http as HttpDialect
from byway.outbounds.dialects import Socks as SocksDialect
from byway.outbounds.direct import Direct
from byway.outbounds.proxy import Dialect, Proxy
from byway.protocols.credentials import verifier
from byway.protocols.http import HttpOptions
from byway.protocols.socks import SocksOptions
from byway.router import Router
from byway.system.limits import flows_for, open_files
from byway.system.lines import LineWriter
from byway.system.own import OwnAddresses

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
        outbounds = self.outbounds = build_outbounds(config, self.engine, resolver)
        sets = open_sets(config)
        router = Router(
            judge_of(config, sets.sets),
            Finder(resolver),
            outbounds,
            self.ledger,
            self.log,
            limits.dial,
        )
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
        self._inbounds = [
            build_inbound(name, section, means, listening)
            for name, section in config.inbounds.items()
        ]
        try:
            for inbound in self._inbounds:
                await inbound.open()
        except BaseException:
            await self._closed()
            raise
        self._tasks = asyncio.TaskGroup()
        await self._tasks.__aenter__()
        self._serving = [
            self._tasks.create_task(inbound.serve(router.carry)) for inbound in self._inbounds
        ]
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
            for task in self._serving:
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
        await self.engine.close()
        if self._own_resolver is not None:
            self._own_resolver.close()
        self._writer.close()


def build_outbounds(config: Config, engine: Engine, resolver: Resolver) -> dict[str, Outbound]:
    """Every way out by its name; a proxy's `via` is built before it (the config has no loops)."""
    own = OwnAddresses().holds
    built: dict[str, Outbound] = {}

    def of(name: str) -> Outbound:
        if name in built:
            return built[name]
        section = config.outbounds[name]
        made: Outbound
        if isinstance(section, DirectOutbound):
            options = DialOptions(
                timeout=config.limits.dial,
                bind=section.bind,
                interface=section.interface,
                mark=section.mark,
            )
            made = Direct(name, engine, resolver, options, own)
        else:
            password = None if section.password is None else section.password.get_secret_value()
            dialect: Dialect
            if isinstance(section, HttpOutbound):
                dialect = HttpDialect(HttpOptions(section.username, password))
            else:
                options5 = SocksOptions(section.version, section.username, password)
                dialect = SocksDialect(options5, engine)
            via = of(section.via or "direct")
            made = Proxy(name, section.server, via, dialect, resolver, own=own)
        built[name] = made
        return made

    for name in config.outbounds:
        of(name)
    return built


def build_inbound(
    name: str, section: InboundConfig, means: Means, options: ListenOptions
) -> Inbound:
    """One way in."""
    listen = [place.path if isinstance(place, UnixPath) else place for place in section.listen]
    if isinstance(section, ForwardInbound):
        entry = Entry(name, means, guarded=section.guarded)
        return Forward(entry, listen, section.target, frozenset(section.network), options)
    users = {user.name: user.password.get_secret_value() for user in section.users}
    entry = Entry(name, means, verifier(users) if users else None, section.guarded)
    if isinstance(section, MixedInbound):
        greet = Mixed(entry).greet
    elif isinstance(section, HttpInbound):
        greet = Http(entry).greet
    else:
        greet = Socks(entry).greet
    return StreamInbound(entry, listen, greet, options)


def _writer(config: Config) -> LineWriter:
    if config.log.file is None:
        return LineWriter(STDERR)
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
    return LineWriter(os.open(config.log.file, flags, 0o640), owned=True)
