"""Background work that outlives a config: quotas, plugins, probes, sets from the web.

Each starts when a config first needs it, and from then on follows what is in force.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING

from byway.app.generation import Generation, Lasting
from byway.config import Config, UrlSet
from byway.config.limited import terms_of
from byway.engine import TlsClient, TlsClientOptions
from byway.interfaces import Stream
from byway.rules.sets import RuleSet

if TYPE_CHECKING:
    from byway.app.refresh import Refresher
    from byway.outbounds.prober import Prober
    from byway.outbounds.web import Document
    from byway.system.plugin import Plugin


class Keepers:
    """Those of one app. `tasks` owns their tasks until `close`."""

    def __init__(self, lasting: Lasting, tasks: asyncio.TaskGroup) -> None:
        self._lasting = lasting
        self._tasks = tasks
        self._running: list[asyncio.Task[None]] = []
        self._quotas: asyncio.Task[None] | None = None
        self._plugins: list[Sequence[Plugin]] = []
        self.refresher: Refresher | None = None  # None as long as no set is from the web
        self.prober: Prober | None = None  # None as long as no group is probed

    def unchanged(self, config: Config) -> Mapping[str, RuleSet]:
        """The sets from the web that go on as they are."""
        return {} if self.refresher is None else self.refresher.unchanged(config)

    def follow(self, after: Generation) -> None:
        """Work for the generation that was just put in force."""
        self._lasting.turnstile.set(after.flows, after.per_source)
        self._lasting.finder.follow(after.config.functions.values())
        self._plugins.append(after.plugins)  # those of former outbounds still carry flows
        for plugin in after.dialling_plugins:
            self._start(plugin.serve())
        self._refresh(after)
        self._probe(after)

    async def limit(self, before: Generation, after: Generation) -> None:
        """Hold flows to its limits. No flow runs before the first generation has them."""
        config, limits = after.config, self._lasting.ledger.limits
        if before.number:
            await asyncio.to_thread(limits.follow, terms_of(config))  # it may read a file
        else:
            limits.follow(terms_of(config))
        if self._quotas is None and limits.has_quotas:
            self._quotas = self._start(limits.keep())
        if limits.problem:
            self._lasting.log.warning("used quotas may be lost at a restart", why=limits.problem)

    def stop(self) -> None:
        """Stop all work."""
        if self.refresher is not None:
            self.refresher.stop()
        for task in self._running:
            task.cancel()

    async def close(self) -> None:
        """End the plugins that no config in force uses."""
        for plugins in self._plugins:
            for plugin in plugins:
                await plugin.close()

    def _start(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = self._tasks.create_task(work)
        self._running.append(task)
        return task

    def _refresh(self, after: Generation) -> None:
        """Keep the sets from the web fresh."""
        if self.refresher is None:
            if not any(isinstance(section, UrlSet) for section in after.config.sets.values()):
                return
            from byway.app.refresh import Refresher

            self.refresher = Refresher(self._fetched, self._lasting.log)
        self.refresher.follow(after.config, after.sets, self._tasks)

    async def _fetched(self, section: UrlSet, known: Document | None) -> Document | None:
        from byway.outbounds.own import Own
        from byway.outbounds.web import fetch

        engine, outbounds = self._lasting.engine, self._lasting.in_force.now.outbounds

        async def secured(stream: Stream, name: str) -> Stream:
            options = TlsClientOptions(name, ("http/1.1",))
            client = await asyncio.to_thread(TlsClient, options)  # reads the system's CAs
            return await engine.tls_client(stream, client)

        way = Own(outbounds[section.via])
        return await fetch(section.url, way, secured, section.max, known)

    def _probe(self, after: Generation) -> None:
        """Probe the members of groups, while they are in use."""
        if self.prober is None and not after.config.groups:
            return
        from byway.app.grouping import probings

        probing = probings(after.config, after.roster.choosers)
        if self.prober is None:
            if not probing:
                return
            from byway.outbounds.prober import Prober
            from byway.outbounds.secure import WebTls

            self.prober = Prober(WebTls(self._lasting.engine), time.monotonic)
            self._start(self.prober.serve())
        after.roster.on_change = self.prober.wake
        self.prober.follow(probing, after.outbounds)
