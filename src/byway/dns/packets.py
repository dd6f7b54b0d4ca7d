"""Questions in packets (UDP): from this host itself, or by way of an outbound.

What answers another question, or is no message, is dropped, and the wait goes on; the caller limits
it. Who is flooded with such packets is told to ask by TCP instead (RFC 5452, section 9.2).
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Container, Sequence
from contextlib import suppress

from byway.dns.manner import Manner
from byway.dns.message import PAYLOAD, Answer, Question, Stray, Truncated, Wanted, answer, question
from byway.dns.start import Start
from byway.engine import (
    DialOptions,
    Engine,
    EngineRelay,
    PacketCaller,
    PacketListener,
    PacketOptions,
)
from byway.errors import EngineError, PeerError, Reason, Unreachable
from byway.flow import Target
from byway.interfaces import Datagrams

MOST_STRAYS = 32  # for one question
FRESH = 30.0  # seconds that a session may rest and still be used
IDLE = 60.0

Resolve = Callable[[str], Awaitable[Sequence[bytes]]]
Reach = Callable[[], Awaitable[tuple[Datagrams, Target]]]


class LocalPackets:
    """From this host, each question from a port of its own that the kernel chooses at random."""

    def __init__(
        self,
        server: Target,
        options: DialOptions,
        resolve: Resolve,
        manner: Manner | None = None,
    ) -> None:
        self._manner = manner or Manner()
        self._server = server
        self._options = options
        self._resolve = resolve
        self._turn = 0

    async def ask(self, name: str, family: Wanted) -> Answer:
        """What the server answers. Raises Truncated, Failed, OSError, Unreachable."""
        loop = asyncio.get_running_loop()
        manner = self._manner
        asked = question(name, family, number(), edns=manner.edns, subnet=manner.subnet)
        server = await self._address()
        kind = socket.AF_INET6 if ":" in server.host else socket.AF_INET
        with socket.socket(kind, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as own:
            own.setblocking(False)
            _prepare(own, self._options)
            own.connect((server.host, server.port))  # others' packets do not come in then
            await loop.sock_sendall(own, asked.wire)
            for _ in range(MOST_STRAYS):
                try:
                    return answer(asked, await loop.sock_recv(own, PAYLOAD + 4096))
                except Stray:
                    continue
        raise Truncated("too many packets that do not answer the query")

    def renew(self) -> None:
        """Nothing is kept between two questions."""

    def close(self) -> None:
        """Nothing is kept between two questions."""

    async def _address(self) -> Target:
        """The server's address; several of them take turns, so that a second try finds another."""
        if self._server.packed is not None:
            return self._server
        found = await self._resolve(self._server.full)
        if not found:
            raise Unreachable(f"{self._server.host} has no address", str(self._server))
        self._turn += 1
        return Target.from_packed(found[(self._turn - 1) % len(found)], self._server.port)


class FarPackets:
    """By way of an outbound: one session of the engine, whose near end is in this process.

    `reach` gives a way for packets to the server, and the server as they are sent to it; `start`
    owns the task that hears the answers.
    """

    def __init__(
        self,
        server: Target,
        engine: Engine,
        reach: Reach,
        start: Start,
        manner: Manner | None = None,
    ) -> None:
        self._start = start
        self._manner = manner or Manner()
        self._server = server
        self._engine = engine
        self._reach = reach
        self._session: _Session | None = None
        self._opening = asyncio.Lock()

    async def ask(self, name: str, family: Wanted) -> Answer:
        """What the server answers. Raises as LocalPackets does, and as the outbound does."""
        async with self._opening:
            session = self._session
            if session is None or session.is_old:
                self.renew()
                session = self._session = await self._opened()
        return await session.ask(name, family, self._manner)

    def renew(self) -> None:
        """Begin anew with the next question: this session may be dead."""
        session, self._session = self._session, None
        if session is not None:
            session.close()

    def close(self) -> None:
        """Give up the session."""
        self.renew()

    async def _opened(self) -> _Session:
        far, located = await self._reach()
        try:
            options = PacketOptions(idle=IDLE, sessions=1, targets=1)
            listener, caller = self._engine.packet_pair(self._server, options)
        except BaseException:
            far.close()
            raise
        session = _Session(listener, caller, far, located)
        self._start(session.listen())
        return session


class _Session:
    """Questions and answers by their numbers."""

    def __init__(
        self, listener: PacketListener, caller: PacketCaller, far: Datagrams, located: Target
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._listener, self._caller = listener, caller
        self._far, self._located = far, located
        self._relay: EngineRelay | None = None
        self._begun = False
        self._used = self._loop.time()
        self._asked: dict[bytes, tuple[Question, asyncio.Future[Answer]]] = {}

    @property
    def is_old(self) -> bool:
        """Whether it rested so long that its ways may be forgotten on the way."""
        return self._loop.time() - self._used > FRESH

    async def ask(self, name: str, family: Wanted, manner: Manner) -> Answer:
        self._used = self._loop.time()
        drawn = number(self._asked)
        asked = question(name, family, drawn, edns=manner.edns, subnet=manner.subnet)
        told: asyncio.Future[Answer] = self._loop.create_future()
        self._asked[asked.id] = asked, told
        try:
            if not self._caller.send(asked.wire):
                raise Unreachable("too many questions wait", str(self._located))
            if not self._begun:
                self._begun = True  # the engine asks once, for the first packet
                (pair, *_) = await self._listener.accept()
                self._relay = pair.relay(self._far, self._located)
            return await told
        finally:
            del self._asked[asked.id]

    async def listen(self) -> None:
        """Hand out answers until the session is over."""
        with suppress(EOFError, EngineError):
            while True:
                for wire in await self._caller.receive():
                    self._take(wire)

    def _take(self, wire: bytes) -> None:
        asked, told = self._asked.get(wire[:2], (None, None))
        if asked is None or told is None or told.done():
            return
        try:
            told.set_result(answer(asked, wire))
        except Stray:
            return
        except PeerError as error:
            told.set_exception(error)

    def close(self) -> None:
        self._caller.close()
        self._listener.close()
        self._far.close()
        for _, told in self._asked.values():
            if not told.done():
                why = "the session was given up"
                told.set_exception(Unreachable(why, str(self._located), Reason.TIMED_OUT))


def number(taken: Container[bytes] = ()) -> int:
    """A random number for a question, none of those `taken` (RFC 5452, section 9.2)."""
    while True:
        drawn = os.urandom(2)
        if drawn not in taken:
            return int.from_bytes(drawn)


def _prepare(own: socket.socket, options: DialOptions) -> None:
    """Leave as the outbound `direct` does."""
    if options.mark is not None:
        own.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, options.mark)
    if options.interface is not None:
        own.setsockopt(
            socket.SOL_SOCKET, socket.SO_BINDTODEVICE, options.interface.encode() + b"\0"
        )
    if options.bind is not None:
        own.bind((options.bind, 0))
