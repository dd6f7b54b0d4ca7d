"""A client whose flows share connections: opened when needed, and retired when idle."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from weakref import WeakMethod

from byway.engine import Engine, EngineSession
from byway.errors import EngineError
from byway.flow import TCP_AND_UDP, Dial, Network
from byway.interfaces import Binding, Datagrams, Stream
from byway.outbounds.proxy import Client
from byway.outbounds.reach import Reach
from byway.protocols import sing_mux

IDLE = 30.0
"""Seconds between two looks for connections without flows; one seen twice is given up."""


@dataclass(frozen=True, slots=True)
class Policy:
    """When a flow goes into which connection. `most` 0: no limit. `patience` is in seconds."""

    connections: int
    least: int
    most: int
    patience: float


@dataclass(slots=True)
class _Pool:
    """The sessions by one way to the server, and the opening of the next one."""

    sessions: list[EngineSession] = field(default_factory=list)
    idle: set[EngineSession] = field(default_factory=set)
    opening: asyncio.Task[EngineSession] | None = None

    def opened(self, task: asyncio.Task[EngineSession]) -> None:
        """The next one is there, or failed, whether anybody still waits for it or not."""
        self.opening = None
        if not task.cancelled():
            task.exception()


class Muxed:
    """As `under`, each flow a stream of a session inside a connection that `under` asks for."""

    networks: frozenset[Network] = TCP_AND_UDP
    carries_names = True
    packets_in_stream = True

    def __init__(self, under: Client, engine: Engine, policy: Policy) -> None:
        self._under = under
        self._engine = engine
        self._policy = policy
        self._pools: dict[tuple[str, ...], _Pool] = {}
        self._looking: asyncio.TimerHandle | None = None

    async def connect(self, reach: Reach, dial: Dial) -> Stream:
        """A stream to the target. The server says with its first byte whether it has reached it."""
        stream = await self._opened(reach, dial)
        stream.hold(sing_mux.connect(dial.target))
        return stream

    async def associate(self, reach: Reach, dial: Dial) -> Datagrams:
        """Packets in a stream of their own."""
        stream = await self._opened(reach, dial)
        stream.hold(sing_mux.associate())
        return self._engine.framed(stream, "addressed", b"")

    async def bind(self, reach: Reach, dial: Dial) -> Binding:
        """As the client below, beside the sessions."""
        return await self._under.bind(reach, dial)

    async def _opened(self, reach: Reach, dial: Dial) -> Stream:
        pool = self._pools.setdefault(reach.chain, _Pool())
        while True:
            session = await self._session(pool, reach, dial)
            try:
                stream = session.open()
            except EngineError:
                if session in pool.sessions:
                    pool.sessions.remove(session)
                continue
            pool.idle.discard(session)
            return self._engine.with_status(stream)

    async def _session(self, pool: _Pool, reach: Reach, dial: Dial) -> EngineSession:
        """The session for a flow. Raises as the client below does."""
        while True:
            pool.sessions = [one for one in pool.sessions if one.is_open]
            session = self._chosen(pool)
            if session is not None:
                return session
            if pool.opening is None:
                pool.opening = asyncio.get_running_loop().create_task(self._open(pool, reach, dial))
                pool.opening.add_done_callback(pool.opened)
            session = await asyncio.shield(pool.opening)
            if not session.is_open:
                raise EOFError("the server closed the connection of the mux")

    def _chosen(self, pool: _Pool) -> EngineSession | None:
        """The session with the fewest flows, unless it is time for another one."""
        policy = self._policy
        session = min(pool.sessions, key=lambda one: one.streams, default=None)
        if session is None:
            return None
        count = session.streams
        if policy.most:
            return session if count < policy.most else None
        if count < policy.least or len(pool.sessions) >= policy.connections:
            return session
        return None

    async def _open(self, pool: _Pool, reach: Reach, dial: Dial) -> EngineSession:
        """A new session. It outlives the flow that asked first, so it has a clock of its own."""
        async with asyncio.timeout(self._policy.patience):
            stream = await self._under.connect(reach.lasting, dial.toward(sing_mux.SERVER))
        stream.hold(sing_mux.hello("yamux"))
        session = self._engine.session(stream, "yamux", client=True)
        pool.sessions.append(session)
        self._look_later()
        return session

    def _look_later(self) -> None:
        if self._looking is None:
            look = WeakMethod(self._look)  # who is let go lets its sessions go
            loop = asyncio.get_running_loop()
            self._looking = loop.call_later(IDLE, lambda: (found := look()) and found())

    def _look(self) -> None:
        """Give up what had no flow at two looks in a row."""
        self._looking = None
        for pool in self._pools.values():
            unused = {one for one in pool.sessions if one.streams == 0}
            for session in pool.idle & unused:
                session.leave()
                pool.sessions.remove(session)
            pool.idle = unused & set(pool.sessions)
        live = {way: one for way, one in self._pools.items() if one.sessions or one.opening}
        self._pools = live
        if self._pools:
            self._look_later()
