"""The packets' door: sessions of packets become arrivals, one for each (session, target)."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from byway.errors import BywayError, EngineError, Unreachable
from byway.flow import Dial, Flow, Network, Target
from byway.inbounds.entry import Entry
from byway.interfaces import Bucket, Carry, Datagrams, Enough, Relay, Stream, Way

if TYPE_CHECKING:
    from byway.engine import Codec, Framing, PacketAsk, PacketListener, PacketOptions

ENDED = "the client ended its association"
FIRST_LOOK = 0.001  # seconds between two looks for further packets; each wait is twice the last
LAST_LOOK = 0.02
QUIET = 300.0  # seconds that a stream of packets may be without a flow, whatever limits.idle says


class PacketDoor:
    """Takes packets at one address, or out of a stream; each new target of a session is judged
    like a connection.

    `user` is whose all of them are; where packets themselves tell, `users` are those who may come:
    the name of each, and what their flows have in common.
    """

    def __init__(
        self, entry: Entry, user: str | None = None, users: Sequence[tuple[str, Entry]] = ()
    ) -> None:
        self._entry = entry
        self._user = user
        self._users = users
        self._listener: PacketListener | None = None
        self._end: Target | None = None
        self._as_sent = False
        self._streamed: tuple[Target | None] | None = None
        self._associations: dict[tuple[int, Way], _Association] = {}
        self._relays: set[Relay] = set()
        self.closed = False

    def open(self, address: Target, codec: Codec, only: Target | None = None) -> Target:
        """Bind; the address with its real port. With `only` packets of that source alone are taken,
        from the first port seen when its own is zero. Raises OSError."""
        means = self._entry.means
        options = replace(means.packets, only=only)
        listener = means.engine.listen_packets(address, codec, options)
        self.accept_from(listener)
        self._end, self._as_sent = listener.address, codec == "diverted"
        return listener.address

    def accept_from(self, listener: PacketListener) -> None:
        """Take the packets that somebody else has opened a way for."""
        self._listener, self._as_sent = listener, True
        if (answering := self._entry.means.answering) is not None:
            answering(listener, self._entry.name)

    @property
    def options(self) -> PacketOptions:
        """The bounds that it is opened with."""
        return self._entry.means.packets

    def become(self, other: PacketDoor) -> None:
        """Describe new flows as `other` does; sessions and flows stay as they are."""
        self._entry, self._user, self._users = other._entry, other._user, other._users

    def take(self, stream: Stream, framing: Framing | Target, source: Target | None) -> Relay:
        """Take the packets in a stream, which is consumed; its life. A target is that of all."""
        means = self._entry.means
        self._streamed = (source,)
        quiet = min(means.idle, QUIET)
        self._listener, life = means.engine.take_packets(stream, framing, means.packets, quiet)
        return life

    async def serve(self, carry: Carry) -> None:
        """Take packets until closed or cancelled."""
        async with asyncio.TaskGroup() as flows:
            await self._accept(flows, carry)

    async def serve_while(self, life: Coroutine[None, None, None], carry: Carry) -> None:
        """Take packets until `life` is over, which ends all their flows."""
        async with asyncio.TaskGroup() as flows:
            accepting = flows.create_task(self._accept(flows, carry))
            try:
                await life
            finally:
                accepting.cancel()
                self._cut()
        self.close()

    def close(self) -> None:
        """End it and all its flows."""
        self._cut()
        if self._listener is not None:
            self._listener.close()

    def _cut(self) -> None:
        self.closed = True
        for relay in tuple(self._relays):
            relay.cut(ENDED)

    async def _accept(self, flows: asyncio.TaskGroup, carry: Carry) -> None:
        assert self._listener is not None
        entry = self._entry
        while not self.closed:
            try:
                asks = await self._listener.accept()
            except (OSError, EngineError) as error:
                if not self.closed:
                    entry.means.log.error("cannot receive packets", inbound=entry.name, error=error)
                return
            for ask in asks:
                whose, user = entry, self._user
                if ask.user is not None:
                    user, whose = self._users[ask.user]
                source = ask.source if self._streamed is None else self._streamed[0]
                end = ask.target if self._as_sent else self._end
                flow = whose.flow(Network.UDP, source, ask.target, user, end)
                flows.create_task(carry(PacketArrival(flow, ask, self)))

    async def associated(self, session: int, way: Way, dial: Dial) -> _Association:
        """The session's association by a way; targets that come at once share one."""
        key = (session, way)
        shared = self._associations.get(key)
        if shared is not None:
            shared.users += 1
            try:
                await asyncio.shield(shared.ready)
            except BaseException:
                self.released(shared)
                raise
            return shared
        made = self._associations[key] = _Association(key)
        try:
            made.ready.set_result(await way.associate(dial))
        except BaseException as error:
            del self._associations[key]
            failure = error if isinstance(error, Exception) else Unreachable("given up", "udp")
            made.ready.set_exception(failure)
            made.ready.exception()  # known to whoever shares it; nobody may
            raise
        return made

    def released(self, association: _Association) -> None:
        """One target less; the last one closes the association."""
        association.users -= 1
        if association.users == 0 and self._associations.get(association.key) is association:
            del self._associations[association.key]
            ready = association.ready
            if ready.done() and ready.exception() is None:
                ready.result().close()

    def begun(self, relay: Relay) -> None:
        """Note a relay, to be cut with the door."""
        self._relays.add(relay)

    def ended(self, relay: Relay) -> None:
        """Note a relay's end."""
        self._relays.discard(relay)


class _Association:
    """An association of one session by one way."""

    __slots__ = ("key", "ready", "users")

    def __init__(self, key: tuple[int, Way]) -> None:
        self.key = key
        self.ready: asyncio.Future[Datagrams] = asyncio.get_running_loop().create_future()
        self.users = 1


class PacketArrival:
    """A (session, target) pair that knocks; its packets wait for the verdict in the engine."""

    __slots__ = ("_ask", "_association", "_door", "_located", "flow")

    def __init__(self, flow: Flow, ask: PacketAsk, door: PacketDoor) -> None:
        self.flow = flow
        self._ask = ask
        self._door = door
        self._association: _Association | None = None
        self._located = flow.target

    async def hear(self, enough: Enough, within: float) -> None:
        """Packets come to the engine, which does not tell of each: it is looked at now and then."""
        clock = asyncio.get_running_loop().time
        over, pause, seen = clock() + within, FIRST_LOOK, 0
        while True:
            waiting = self._ask.waiting()
            if len(waiting) > seen and enough(waiting):
                return
            seen, left = len(waiting), over - clock()
            if left <= 0 or self._door.closed:
                return
            await asyncio.sleep(min(pause, left))
            pause = min(pause * 2, LAST_LOOK)

    async def dial(self, way: Way) -> Datagrams:
        dial = Dial(self.flow.target, guarded=self.flow.guarded)
        association = await self._door.associated(self._ask.session, way, dial)
        self._association = association
        try:
            self._located = await way.locate(dial)
        except BaseException:
            self._let_go()
            raise
        return association.ready.result()

    async def relay(self, far: Datagrams, buckets: Sequence[Bucket]) -> Relay:
        association = self._association
        assert association is not None
        if self._door.closed:
            raise BywayError(ENDED)
        inner = self._ask.relay(far, self._located, buckets)
        relay = _PacketRelay(inner, self._door, association)
        self._association = None  # the relay's now
        return relay

    async def refuse(self, why: BaseException | None) -> None:
        self._let_go()
        if not self._door.closed:
            self._ask.refuse()

    def _let_go(self) -> None:
        if self._association is not None:
            self._door.released(self._association)
            self._association = None


class _PacketRelay:
    """An engine's relay that lets go of its association at the end."""

    __slots__ = ("_association", "_door", "_inner")

    def __init__(self, inner: Relay, door: PacketDoor, association: _Association) -> None:
        self._inner = inner
        self._door = door
        self._association = association
        door.begun(self)

    @property
    def up(self) -> int:
        return self._inner.up

    @property
    def down(self) -> int:
        return self._inner.down

    async def wait(self) -> str:
        try:
            return await self._inner.wait()
        finally:
            self._door.ended(self)
            self._door.released(self._association)

    def cut(self, reason: str) -> None:
        self._inner.cut(reason)
