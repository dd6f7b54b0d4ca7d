"""One name server that is asked, by packets or over a few kept connections; and its state.

Every wait in here has its end in `Server.look`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from byway.dns.manner import Manner
from byway.dns.message import Answer, Failed, NoEdns, Records, Truncated, Wanted
from byway.engine import Outcome
from byway.errors import BywayError, PeerError, Reason, Refused, Unreachable, in_words
from byway.interfaces import Resolver

MOST_CONNECTIONS = 4
MOST_ALIASES = 8  # asked for one after another, where a server does not follow them itself
HEAD_START = 0.3  # seconds that a server has before the next one is asked as well
FAILS = 2  # questions in a row without an answer, after which a server counts as failing
SLOWER = "another server was faster"
REST = 10.0  # seconds that a failing one is asked last
TRIES = (0.2, 0.2, 0.6)  # parts of the time for a question, each with a packet of its own
SYSTEM_KEPT = 5.0  # seconds: the host's resolver tells no lifetime


class Connection(Protocol):
    """A connection to a server; `room` is how many more questions it takes now."""

    @property
    def room(self) -> int: ...
    @property
    def is_open(self) -> bool: ...
    @property
    def heard(self) -> float:
        """When something last came on it, by the loop's clock; 0 before that."""

    async def ask(self, name: str, family: Wanted) -> Answer: ...
    def close(self) -> None: ...


class Packets(Protocol):
    """A way to ask by packets; `renew` after one that got no answer."""

    async def ask(self, name: str, family: Wanted) -> Answer: ...
    def renew(self) -> None: ...
    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Heard:
    """An answer, by whom, and after how many seconds."""

    answer: Answer
    server: str
    seconds: float


class Asked(Protocol):
    """Whoever can be asked for a name."""

    @property
    def name(self) -> str: ...
    @property
    def is_failing(self) -> bool: ...
    async def look(self, name: str, family: Wanted) -> Heard:
        """Raises Unreachable, within a bounded time."""


class Connections:
    """The connections to one server: used as long as they live, a few of them at most."""

    def __init__(self, connect: Callable[[], Awaitable[Connection]]) -> None:
        self._connect = connect
        self._open: list[Connection] = []
        self._opening = asyncio.Lock()
        self._freed = asyncio.Event()

    @property
    def count(self) -> int:
        """How many are open."""
        return sum(connection.is_open for connection in self._open)

    async def ask(self, name: str, family: Wanted) -> Answer:
        """Ask on one of them. What a kept one fails at is tried once more on a new one."""
        connection, kept = await self._free(False)
        try:
            return await self._asked(connection, name, family)
        except (EOFError, OSError, PeerError) as error:
            if not kept or isinstance(error, (TimeoutError, Failed)):
                raise
        connection, _ = await self._free(True)
        return await self._asked(connection, name, family)

    def close(self) -> None:
        """Close all; the next question opens anew."""
        for connection in self._open:
            connection.close()
        self._open.clear()

    def close_silent(self, since: float) -> None:
        """Close those on which nothing has come since then: others wait for answers on the rest."""
        for connection in self._open:
            if connection.heard <= since:
                connection.close()

    async def _asked(self, connection: Connection, name: str, family: Wanted) -> Answer:
        try:
            return await connection.ask(name, family)
        finally:
            self._freed.set()

    async def _free(self, new: bool) -> tuple[Connection, bool]:
        """One with room, and whether it was there before. One at a time is opened."""
        while True:
            if not new and (connection := self._with_room()) is not None:
                return connection, True
            async with self._opening:
                # whoever waited for this may find room in what was opened meanwhile
                if not new and (connection := self._with_room()) is not None:
                    return connection, True
                if new and len(self._open) >= MOST_CONNECTIONS:
                    self._open.pop(0).close()
                if len(self._open) < MOST_CONNECTIONS:
                    connection = await self._connect()
                    self._open.append(connection)
                    return connection, False
            self._freed.clear()
            await self._freed.wait()

    def _with_room(self) -> Connection | None:
        self._open = [connection for connection in self._open if connection.is_open]
        return next((connection for connection in self._open if connection.room > 0), None)


class Server:
    """A server of the config."""

    def __init__(
        self,
        name: str,
        place: str,
        via: str,
        connections: Connections,
        packets: Packets | None,
        patience: float,
        changed: Callable[[Server], None] = lambda _: None,
        manner: Manner | None = None,
    ) -> None:
        self.name = name
        self.place = place  # its address for a person, without what may be secret
        self.via = via
        self._connections = connections
        self._packets = packets
        self._patience = patience
        self._manner = manner or Manner()
        self._changed = changed  # called when it begins to fail, and when it answers again
        self.asked = self.failed = 0
        self.error = ""  # of the last question, if it failed
        self.delay = 0.0  # seconds, of late
        self._fails = 0
        self._until = 0.0

    @property
    def connections(self) -> int:
        """How many connections to it are open."""
        return self._connections.count

    @property
    def is_failing(self) -> bool:
        """Whether it has not answered of late: then others are asked first."""
        return self._fails >= FAILS and asyncio.get_running_loop().time() < self._until

    async def look(self, name: str, family: Wanted) -> Heard:
        """Ask it, and follow aliases that it leaves to us. Raises Unreachable, in bounded time."""
        clock = asyncio.get_running_loop().time
        begun = clock()
        self.asked += 1
        try:
            async with asyncio.timeout(self._patience):
                answer = await self._followed(name, family)
        except asyncio.CancelledError as error:
            if SLOWER in error.args and clock() - begun >= HEAD_START:  # though it began earlier
                self._fault(name, f"slower than another by {HEAD_START:g} s", Reason.TIMED_OUT)
            raise
        except TimeoutError:
            self._connections.close_silent(begun)  # maybe they lead nowhere any more
            raise self._fault(name, "no answer in time", Reason.TIMED_OUT) from None
        except (BywayError, OSError, EOFError) as error:
            why = in_words(error)
            raise self._fault(name, why, Reason.FAILURE) from error
        spent = clock() - begun
        self.delay = spent if self.delay == 0 else self.delay * 0.8 + spent * 0.2
        failed, self._fails, self.error = self._fails >= FAILS, 0, ""
        if failed:
            self._changed(self)
        return Heard(answer, self.name, spent)

    def close(self) -> None:
        """Close its connections."""
        self._connections.close()
        if self._packets is not None:
            self._packets.close()

    async def _followed(self, name: str, family: Wanted) -> Answer:
        if isinstance(family, Records):  # they are passed on as they are
            return await self._once(name, family)
        answer = await self._once(name, family)
        lifetime = answer.lifetime
        for _ in range(MOST_ALIASES):
            if answer.alias is None:
                return replace(answer, lifetime=min(lifetime, answer.lifetime))
            answer = await self._once(answer.alias, family)
            lifetime = min(lifetime, answer.lifetime)
        raise Failed("too many aliases")

    async def _once(self, name: str, family: Wanted) -> Answer:
        """Ask, and once more without EDNS where the server does not understand it."""
        try:
            return await self._told(name, family)
        except NoEdns:
            self._manner.forgo()
        try:
            return await self._told(name, family)
        except Failed:
            self._manner.resume()
            raise

    async def _told(self, name: str, family: Wanted) -> Answer:
        if self._packets is None:
            return await self._connections.ask(name, family)
        for part in TRIES:
            try:
                async with asyncio.timeout(self._patience * part):
                    return await self._packets.ask(name, family)
            except Truncated:
                break
            except Refused as error:
                if error.reason is not Reason.NOT_SUPPORTED:
                    raise
                self._packets.close()  # a proxy on the way carries none
                self._packets = None
                break
            except TimeoutError:
                self._packets.renew()
        else:
            raise TimeoutError
        return await self._connections.ask(name, family)

    def _fault(self, name: str, why: str, reason: Reason) -> Unreachable:
        self.failed += 1
        self._fails += 1
        self._until = asyncio.get_running_loop().time() + REST
        self.error = why
        if self._fails == FAILS:
            self._changed(self)
        return Unreachable(f"cannot resolve {name}: {self.name}: {why}", name, reason)


Recorded = Callable[[str, Records], Awaitable[Answer]]
"""Tells records of a name as they are. Raises Unreachable, OSError."""


async def _no_records(name: str, wanted: Records) -> Answer:
    raise Unreachable(f"cannot resolve {name}: only addresses are known", name)


class SystemServer:
    """The host's resolver as one of the servers; it asks for both families whatever is wanted."""

    is_failing = False

    def __init__(self, name: str, resolver: Resolver, records: Recorded = _no_records) -> None:
        self.name = name
        self.resolver = resolver
        self._records = records

    async def look(self, name: str, family: Wanted) -> Heard:
        """Ask it. It does not tell a name that is unknown from a server that is away."""
        clock = asyncio.get_running_loop().time
        begun, size = clock(), 4 if family == 4 else 16
        if isinstance(family, Records):
            try:
                answer = await self._records(name, family)
            except (BywayError, OSError, EOFError) as error:
                why = f"cannot resolve {name}: {self.name}: {in_words(error)}"
                raise Unreachable(why, name, Reason.FAILURE) from error
            return Heard(answer, self.name, clock() - begun)
        try:
            found = await self.resolver.resolve(name)
        except Unreachable as error:
            if error.reason is not Reason.NAME_UNKNOWN:
                raise
            return Heard(Answer(Outcome.UNKNOWN, (), 1.0), self.name, clock() - begun)
        addresses = tuple(packed for packed in found if len(packed) == size)
        outcome = Outcome.FOUND if addresses else Outcome.EMPTY
        return Heard(Answer(outcome, addresses, SYSTEM_KEPT), self.name, clock() - begun)


async def first_answer(servers: Sequence[Asked], name: str, family: Wanted) -> Heard:
    """The first answer of several: the first of them has a head start, a failure starts the next.

    That a name is unknown is an answer. Raises Unreachable when none of them answers.
    """
    left = deque(sorted(servers, key=lambda server: server.is_failing))
    if len(left) == 1:
        return await left[0].look(name, family)
    errors: list[Unreachable] = []
    running: set[asyncio.Task[Heard | Unreachable]] = set()
    async with asyncio.TaskGroup() as group:
        try:
            while left or running:
                if left:
                    running.add(group.create_task(_tried(left.popleft(), name, family)))
                wait = HEAD_START if left else None
                done, running = await asyncio.wait(
                    running, timeout=wait, return_when=asyncio.FIRST_COMPLETED
                )
                for task in done:
                    heard = task.result()
                    if isinstance(heard, Heard):
                        for slower in running:
                            slower.cancel(SLOWER)
                        return heard
                    errors.append(heard)
        finally:
            for task in running:
                task.cancel()
    why = "; ".join(in_words(error) for error in errors)
    raise Unreachable(why, name, errors[0].reason)


async def _tried(server: Asked, name: str, family: Wanted) -> Heard | Unreachable:
    try:
        return await server.look(name, family)
    except Unreachable as error:
        return error
