"""Builds the resolver from the `dns` section of a config. A part of the root.

Ways out need a resolver, and name servers may need ways out. So every way is given this one object,
which is there before them, and reads what is in force.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from contextvars import Context
from dataclasses import dataclass, field, replace
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeVar

from byway.app.ways import Ways
from byway.config import Config, open_sets
from byway.dns import SystemResolver
from byway.dns.given_names import GivenNames
from byway.dns.resolution import Resolution
from byway.dns.scopes import scope_of
from byway.engine import Engine, EngineAnswers, EngineMessages, PacketListener
from byway.errors import Unreachable
from byway.flow import Dial, Flow, Target
from byway.interfaces import InForce, Outbound, Resolver, Stream
from byway.ledger.log import Log, Writing
from byway.outbounds.own import Own
from byway.outbounds.secure import SetTls
from byway.rules.sets import RuleSet
from byway.system.state import Kept, StateFile

if TYPE_CHECKING:
    from byway.config.names.dns import Dns, DnsServer
    from byway.dns.fake import FakeNames
    from byway.dns.manner import Manner
    from byway.dns.message import Answer, Records
    from byway.dns.resolver import Choice, NameResolver
    from byway.dns.server import Asked, Connection, Packets, Server
    from byway.dns.service import Faking, Service

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Names:
    """The resolver of a config's `dns`. `named` and `answers` are None for the host's resolver."""

    named: NameResolver | None = None
    answers: EngineAnswers | None = None
    size: int = 0
    service: Service | None = None
    fakes: FakeNames | None = None
    servers: Mapping[_Definition, Server] = field(default_factory=dict)
    realms: Mapping[tuple[_Definition, ...], int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Resolving:
    """The part of a generation that is about names."""

    names: Names = field(default_factory=Names)
    mark: int | None = None
    """The firewall mark of questions that leave from this host."""


class Naming:
    """`interfaces.Resolver` of a whole App: the host's resolver, or the one of `dns`.

    Enter and leave it in one task; leaving ends every look-up. What needs dnspython is imported
    when a config first has a `dns`.
    """

    def __init__(
        self,
        engine: Engine,
        log: Log,
        in_force: InForce[Resolving],
        system: Resolver | None = None,
        memory: StateFile | None = None,
    ) -> None:
        self._engine = engine
        self._log = log
        self._in_force = in_force
        self._own = SystemResolver(mark=lambda: in_force.now.mark) if system is None else None
        self._system: Resolver = self._own or system or SystemResolver()
        self._realm = 0
        self.given = GivenNames()
        """Which clients were told which addresses for which names."""
        self.messages = EngineMessages(0)
        """Answers for clients that are still good."""
        self._memory = memory or StateFile(None)
        self._saving = False
        self._group = asyncio.TaskGroup()
        self._tasks: set[asyncio.Task[object]] = set()

    @property
    def servers(self) -> Sequence[Server]:
        """The servers in use, those of the host left out."""
        return tuple(self._in_force.now.names.servers.values())

    @property
    def named(self) -> NameResolver | None:
        """The resolver of a `dns`; None: there is none, and the host's is asked."""
        return self._in_force.now.names.named

    @property
    def answers(self) -> EngineAnswers | None:
        """The answers that are remembered, where there is a `dns`."""
        return self._in_force.now.names.answers

    def resolve(self, name: str) -> Coroutine[None, None, Sequence[bytes]]:
        """The addresses of a name, best first. Raises Unreachable."""
        return (self._in_force.now.names.named or self._system).resolve(name)

    def by(self, use: Sequence[str]) -> Resolver:
        """The same, but for a way out that has name servers of its own."""
        return _Through(self, " ".join(use))

    def listed(self, name: str) -> Sequence[bytes] | None:
        """The addresses of a name in `hosts`; None for all others. Sends no query."""
        named = self._in_force.now.names.named
        return None if named is None else named.listed(name)

    async def answer(self, wire: bytes, flow: Flow, streamed: bool) -> bytes | None:
        """The message that answers a client's query; None: nothing is answered."""
        service = self._in_force.now.names.service
        return None if service is None else await service.answer(wire, flow, streamed)

    def answer_by(self, listener: PacketListener, inbound: str) -> None:
        """Have queries that an inbound's listener hears answered where the answer is known."""
        listener.answer_by(self.messages, scope_of(inbound))

    async def _host_records(self, name: str, wanted: Records) -> Answer:
        if self._own is None:
            raise Unreachable(f"cannot resolve {name}: only addresses are known", name)
        return await self._own.records(name, wanted)

    @property
    def fakes(self) -> FakeNames | None:
        """The names that have fake addresses; None: no name has."""
        return self._in_force.now.names.fakes

    def _changed_fakes(self) -> None:
        """Write them down within a moment, all that come meanwhile together."""
        if not self._saving:
            self._saving = True
            self.start(self._save_fakes(SAVED_AFTER))

    async def _save_fakes(self, after: float) -> None:
        try:
            await asyncio.sleep(after)
        finally:
            self._saving = False
        if (fakes := self.fakes) is not None:
            await asyncio.to_thread(self._memory.write, written(fakes))

    async def inquire(self, name: str, use: Sequence[str] = ()) -> Resolution:
        """Resolve a name and report how. A failure is in its `error`."""
        if self.named is not None:
            return await self.named.inquire(name, " ".join(use))
        begun, host = time.monotonic(), ("system",)
        try:
            found = tuple(await self._system.resolve(name))
        except Unreachable as error:
            spent = time.monotonic() - begun
            return Resolution(name, "server", (), host, seconds=spent, error=str(error))
        return Resolution(name, "server", found, host, seconds=time.monotonic() - begun)

    def chosen(self, name: str, use: Sequence[str] = ()) -> Resolution:
        """The servers for a name. Sends no query. Raises Unreachable for endless aliases."""
        if self.named is not None:
            return self.named.chosen(name, " ".join(use))
        return Resolution(name, servers=("system",))

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._saving and (fakes := self.fakes) is not None:
            self._memory.write(written(fakes))
        for server in self.servers:
            server.close()
        for task in tuple(self._tasks):
            task.cancel()
        if self._own is not None:
            self._own.close()
        cancelled = kind is not None and issubclass(kind, asyncio.CancelledError)
        await self._group.__aexit__(*((kind, error, trace) if cancelled else (None, None, None)))

    def start(self, work: Coroutine[None, None, T]) -> asyncio.Task[T | None]:
        """Run something until it ends, or this is left. What fails in it ends nothing else."""
        task = self._group.create_task(self._kept(work), context=Context())  # nobody's
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _: work.close())  # a task cancelled at once never began it
        return task

    async def _kept(self, work: Coroutine[None, None, T]) -> T | None:
        try:
            return await work
        except Exception as error:
            self._log.fault(error)
            return None

    def built(
        self, config: Config, outbounds: Mapping[str, Outbound], sets: Mapping[str, RuleSet]
    ) -> Names:
        """What comes of a config, with the servers and answers in force that stay the same. Raises
        OSError for a file that is not what it should be."""
        if config.dns is None:
            return Names()
        from byway.config.names.own import hosts_of, own_names, used_by
        from byway.config.rules.compile import believing_of, names_judge_of, names_said, server_key
        from byway.dns.resolver import Lifetimes, NameResolver, Plan
        from byway.dns.service import Service, Shared

        dns, before = config.dns, self._in_force.now.names
        hosts, cache = hosts_of(dns), dns.cache
        judge, default = names_judge_of(config, dns, sets)
        servers: dict[_Definition, Server] = {}
        realms: dict[tuple[_Definition, ...], int] = {}

        def choice(words: Sequence[str]) -> Choice:
            return self._choice(servers, realms, config, dns, words, outbounds)

        uses = (*(rule.use or dns.use for rule in dns.rules), *used_by(config))
        choices = {server_key(use): choice(use) for use in uses}
        choices[server_key(dns.use)] = choice(dns.use)
        if (fallback := dns.fallback) is not None:
            other = choice(fallback.use)
            choices[server_key(dns.use)] = replace(
                choice((*dns.use, *fallback.use)),  # of a realm of its own
                servers=choice(dns.use).servers,
                fallback=other.servers,
                believes=believing_of(config, fallback),
            )
        plan = Plan(
            judge,
            choices,
            choice(("system",)),
            default,
            {name: choice((word,)) for name, word in own_names(config, dns, hosts).items()},
            hosts,
            dns.addresses,
            Lifetimes(cache.min, cache.max, cache.negative, cache.stale),
            names_said(dns),
        )
        if before.answers is None or before.named is None:
            answers = EngineAnswers(cache.size)
            named = NameResolver(self.start, answers, plan)
        else:
            answers, named = before.answers, before.named.following(plan)
        faking = self._faking(config, dns, sets)
        shared = Shared(
            self.messages,
            any(rule.source is not None for rule in dns.rules),
            None if dns.hijack else _servers(config),
        )
        service = Service(
            named,
            faking,
            self.given,
            shared,
            plan.lifetimes,
            self.start,
            self._changed_fakes,
            lambda: self._in_force.now.names.service,
        )
        fakes = None if faking is None else faking.names
        return Names(named, answers, cache.size, service, fakes, servers, realms)

    def _faking(self, config: Config, dns: Dns, sets: Mapping[str, RuleSet]) -> Faking | None:
        """The fake addresses of a config: those in force, where they are of the same ranges, or
        those that were remembered."""
        from byway.config.rules.compile import faking_of
        from byway.dns.fake import FakeNames
        from byway.dns.service import Faking

        if (fake := dns.fake_ip) is None:
            return None
        names = FakeNames(fake.ranges, fake.size)
        before = self._in_force.now.names.fakes
        if before is not None and before.ranges == names.ranges:
            if before.most == names.most:
                names = before
            else:
                names.restore(before.places)
        else:
            names.restore(remembered(self._memory.read(), names))
        excluded = faking_of(config, fake, sets)
        return Faking(names, max(1, int(fake.ttl)), fake.everywhere, excluded)

    def _choice(
        self,
        servers: dict[_Definition, Server],
        realms: dict[tuple[_Definition, ...], int],
        config: Config,
        dns: Dns,
        words: Sequence[str],
        outbounds: Mapping[str, Outbound],
    ) -> Choice:
        from byway.dns.resolver import Choice
        from byway.dns.server import SystemServer

        before = self._in_force.now.names
        asked: list[Asked] = []
        definitions: list[_Definition] = []
        for word in words:
            section = dns.server(word)
            name = word if word in dns.servers else str(section.address)
            way = outbounds[section.via or "direct"]
            definition = (name, section, dns.timeout, way)
            definitions.append(definition)
            if section.address.target is None:
                asked.append(SystemServer(name, self._system, self._host_records))
                continue
            server = servers.get(definition) or before.servers.get(definition)
            if server is None:
                server = self._server(name, section, config, dns.timeout, way)
            servers[definition] = server
            asked.append(server)
        key = tuple(definitions)
        realm = realms.get(key) or before.realms.get(key)
        if realm is None:
            self._realm = realm = self._realm + 1
        realms[key] = realm
        return Choice(realm, tuple(asked))

    def _server(
        self, name: str, section: DnsServer, config: Config, patience: float, way: Outbound
    ) -> Server:
        from byway.dns.manner import Manner
        from byway.dns.server import Connections, Server

        target, scheme = section.address.target, section.address.scheme
        assert target is not None
        manner = Manner(subnet=section.client_subnet)
        dial = self._dialling(name, section, target, way, manner)
        packets = self._packets(section, target, config, way, manner) if scheme == "udp" else None
        via = section.via or "direct"
        place = str(section.address)
        return Server(name, place, via, Connections(dial), packets, patience, self._changed, manner)

    def _changed(self, server: Server) -> None:
        """A server began to fail, or answers again."""
        if server.is_failing:
            self._log.warning("name server fails", server=server.name, error=server.error)
        else:
            self._log.info("name server answers again", server=server.name)

    def _packets(
        self,
        section: DnsServer,
        target: Target,
        config: Config,
        way: Outbound,
        manner: Manner,
    ) -> Packets | None:
        """None where the way carries no packets: the server is asked by TCP then."""
        from byway.dns.packets import FarPackets, LocalPackets
        from byway.flow import Network

        own = config.outbounds.get(section.via or "direct")
        if own is not None and (options := own.dialling) is not None:
            mark = config.mark if options.mark is None else options.mark
            return LocalPackets(target, replace(options, mark=mark), self.resolve, manner)
        if Network.UDP not in way.networks:
            return None
        reach = partial(Own(way).packets, Dial(target))
        return FarPackets(target, self._engine, reach, self.start, manner)

    def _dialling(
        self, name: str, section: DnsServer, target: Target, way: Outbound, manner: Manner
    ) -> Callable[[], Coroutine[None, None, Connection]]:
        from byway.dns.pipe import Pipe
        from byway.dns.web import ALPN, Http1, Http2, Resource
        from byway.values.tls import ClientTls

        address, engine, own = section.address, self._engine, Own(way)
        if address.scheme in ("udp", "tcp"):

            async def plain() -> Connection:
                stream = await own.connect(Dial(target))
                return Pipe(stream, self.start, padded=False, manner=manner)

            return plain
        tls = section.tls or ClientTls()
        if address.scheme == "https" and not tls.alpn:
            tls = tls.model_copy(update={"alpn": ALPN})
        layer = SetTls(engine, f"name server {name}", tls, target)
        if problem := layer.read():
            self._log.warning("a name server does not work", server=name, why=f"tls: {problem}")
        resource = Resource(address.authority, address.path)

        async def secured() -> Connection:
            raw: Stream = await own.connect(Dial(target))
            stream = await layer(raw)
            if address.scheme == "tls":
                return Pipe(stream, self.start, padded=True, manner=manner)
            settled = stream.tls
            if settled is not None and settled.alpn == "h2":
                return Http2(stream, resource, self.start, manner)
            return Http1(stream, resource, manner)

        return secured


def _servers(config: Config) -> frozenset[str]:
    """The inbounds that are DNS servers."""
    return frozenset(name for name, inbound in config.inbounds.items() if inbound.answers)


SAVED_AFTER = 2.0  # seconds


def written(fakes: FakeNames) -> Mapping[str, Kept]:
    """Fake addresses as they are remembered."""
    return {"ranges": [str(one) for one in fakes.ranges], "places": dict(fakes.places)}


def remembered(kept: Mapping[str, Kept], fakes: FakeNames) -> Iterator[tuple[str, int]]:
    """What was remembered of the same ranges."""
    places = kept.get("places")
    if kept.get("ranges") != [str(one) for one in fakes.ranges] or not isinstance(places, Mapping):
        return
    for name, place in places.items():
        if isinstance(place, int) and not isinstance(place, bool):
            yield name, place


class _Through:
    """The resolver of one way out."""

    __slots__ = ("_naming", "_use")

    def __init__(self, naming: Naming, use: str) -> None:
        self._naming = naming
        self._use = use

    async def resolve(self, name: str) -> Sequence[bytes]:
        named = self._naming.named
        if named is None:
            return await self._naming.resolve(name)
        return await named.resolve(name, self._use)


def end_names(naming: Naming, before: Names, after: Names) -> None:
    """End what the former names have alone: servers, answers, and room for them."""
    naming.messages.clear(after.size)  # other rules, other answers
    for definition, server in before.servers.items():
        if after.servers.get(definition) is not server:
            server.close()
    if after.answers is not None and after.answers is before.answers:
        for realm in set(before.realms.values()) - set(after.realms.values()):
            after.answers.forget(realm)
        if before.size != after.size:
            after.answers.resize(after.size, time.monotonic())


@dataclass(frozen=True, slots=True)
class Alone:
    """The ways and the resolver of a config that is not run. Each way is built on first use."""

    ways: Ways
    names: Naming


@asynccontextmanager
async def alone(config: Config) -> AsyncIterator[Alone]:
    """The ways and the resolver of a config that is not run, for verbs that need no running Byway.

    Nothing is opened before the first dial or question. Raises OSError for an invalid file.
    """
    engine, log = Engine(threads=1), Log.to(Writing(lambda _: None, "error", flows=False))
    in_force = InForce(Resolving())
    try:
        async with Naming(engine, log, in_force) as names:
            ways = Ways(config, engine, names, log, answers=names)
            if config.dns is not None:
                outbounds = ways.outbounds()
                built = names.built(config, outbounds, open_sets(config).sets)
                in_force.now = replace(in_force.now, names=built)
                for plugin in ways.dialling:
                    names.start(plugin.serve())
            yield Alone(ways, names)
    finally:
        await engine.close()


_Definition = tuple[object, ...]
