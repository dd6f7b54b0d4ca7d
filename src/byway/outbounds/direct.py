"""Leave from this host itself: resolve, dial by happy eyeballs (RFC 8305), no protocol at all."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from dataclasses import replace

from byway.engine import DialOptions, Engine, ListenOptions
from byway.errors import Reason, Refused, Unreachable, in_words, reason_of
from byway.flow import TCP_AND_UDP, Dial, Flow, Network, Step, Target
from byway.interfaces import Binding, Datagrams, Listener, Resolver, Stream
from byway.outbounds import guard
from byway.outbounds.loops import Loops
from byway.outbounds.over import Single

MOST_ADDRESSES = 16  # of one name are tried; no honest name needs more within a dial's time


class Direct(Single):
    """The way out that is this host. Guarded dials are kept from the host's own addresses."""

    networks = TCP_AND_UDP
    is_local = True

    def __init__(
        self,
        name: str,
        engine: Engine,
        resolver: Resolver,
        options: DialOptions | None = None,
        own: guard.Own = lambda _: False,
        loops: Loops | None = None,
    ) -> None:
        self._loops = loops
        self.name = name
        self.chain = (name,)
        self._engine = engine
        self._resolver = resolver
        self._options = options or DialOptions()
        self._own = own

    @property
    def only(self) -> Direct:
        """Itself."""
        return self

    def ways(
        self, flow: Flow, steps: list[Step] | None = None, peek: bool = False
    ) -> tuple[Direct]:
        """Itself."""
        return (self,)

    async def connect(self, dial: Dial) -> Stream:
        """A TCP connection to the target. Raises Refused (guard) or Unreachable."""
        try:
            found = await self._located(dial)
            options, connect = self._leaving(dial), self._engine.connect
            if self._loops is not None:
                turns = await self._loops.entering(Network.TCP, found)
                if turns:
                    return await self._loops.dialled(turns, connect(found, options, dial.near))
            return await connect(found, options, dial.near)
        except OSError as error:  # TimeoutError is one
            raise _unreachable(dial.target, error) from error

    async def associate(self, dial: Dial) -> Datagrams:
        """One UDP mapping for many targets."""
        return self._engine.datagrams(self._leaving(dial))

    async def locate(self, dial: Dial) -> Target:
        """The target as its best address. Raises Refused (guard) or Unreachable."""
        found = (await self._located(dial))[0]
        if self._loops is not None:
            await self._loops.entering(Network.UDP, (found,))
        return found

    async def bind(self, dial: Dial) -> Binding:
        """Listen for one connection from the target's address, or from anyone if it is all zero."""
        target = dial.target
        peer = (await self._located(dial))[0] if _is_somebody(target) else target
        packed = peer.packed or bytes(4)
        try:
            address = Target.from_packed(self._local_address(packed), 0)
            listener = self._engine.listen(address, ListenOptions(backlog=4, first=0))
        except OSError as error:
            raise Refused(f"cannot open a port: {in_words(error)}", reason_of(error)) from error
        closed = (lambda remote: guard.why_closed(remote, self._own)) if dial.guarded else None
        return Lent(listener, packed if any(packed) else None, closed)

    def _leaving(self, dial: Dial) -> DialOptions:
        """How the engine dials for it."""
        return self._options if dial.mark is None else replace(self._options, mark=dial.mark)

    async def _located(self, dial: Dial) -> Sequence[Target]:
        """Where to dial, best first, families taking turns (RFC 8305 section 4)."""
        target = dial.target
        if target.packed is not None:
            if dial.guarded:
                guard.check(target, self._own)
            return (target,)
        try:
            found = await self._resolver.resolve(target.full)
        except Unreachable as error:
            raise Unreachable(str(error), str(target), error.reason) from error
        if dial.guarded:
            closed = [packed for packed in found if guard.why_closed(packed, self._own)]
            found = [packed for packed in found if packed not in closed]
            if closed and not found:
                raise Refused(
                    f"{target.host} resolves only to addresses of this host or its links",
                    Reason.RULES,
                    "set allow_local on the inbound to allow it",
                )
        if not found:
            raise Unreachable(f"{target.host} has no address", str(target), Reason.NAME_UNKNOWN)
        return [
            Target.from_packed(packed, target.port)
            for packed in interleaved(found)[:MOST_ADDRESSES]
        ]

    def _local_address(self, toward: bytes) -> bytes:
        """The local address that packets to `toward` leave from, as the routes have it."""
        if self._options.bind is not None:
            bound = Target.of(self._options.bind, 0).packed
            assert bound is not None
            return bound
        if not any(toward):
            return toward
        family = socket.AF_INET if len(toward) == 4 else socket.AF_INET6
        with socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as probe:
            probe.connect((socket.inet_ntop(family, toward), 9))  # sends nothing
            return socket.inet_pton(family, probe.getsockname()[0])


class Lent:
    """A port lent for one connection; those from elsewhere are closed."""

    __slots__ = ("_closed", "_listener", "_peer", "address")

    def __init__(
        self,
        listener: Listener,
        peer: bytes | None,
        closed: Callable[[bytes], str | None] | None = None,
    ) -> None:
        assert listener.address is not None
        self.address = listener.address
        self._listener = listener
        self._peer = peer
        self._closed = closed

    async def accept(self) -> tuple[Stream, Target]:
        """The first connection from the peer that was named. The port is free again then."""
        chosen: Stream | None = None
        try:
            while chosen is None:
                for stream in await self._listener.accept():
                    if chosen is None and self._is_right(stream.info.remote):
                        chosen = stream
                    else:
                        stream.close()
        finally:
            self._listener.close()
        remote = chosen.info.remote
        assert remote is not None
        return chosen, remote

    def _is_right(self, remote: Target | None) -> bool:
        if remote is None or remote.packed is None or self._peer not in (None, remote.packed):
            return False
        # A guarded flow must not meet this host itself, whichever side called first.
        return self._closed is None or self._closed(remote.packed) is None

    def close(self) -> None:
        """Take the port back."""
        self._listener.close()


def interleaved(found: Sequence[bytes]) -> list[bytes]:
    """Addresses with the two families in turns, each in its own order, the first one leading."""
    first = [packed for packed in found if len(packed) == len(found[0])]
    other = [packed for packed in found if len(packed) != len(found[0])]
    if not other:
        return first
    turns = [packed for pair in zip(first, other, strict=False) for packed in pair]
    shared = len(turns) // 2
    return turns + first[shared:] + other[shared:]


def _is_somebody(target: Target) -> bool:
    return target.packed is None or any(target.packed)


def _unreachable(target: Target, error: OSError) -> Unreachable:
    reason = reason_of(error)
    what = reason.value if reason is not Reason.FAILURE else in_words(error)
    return Unreachable(f"cannot reach {target}: {what}", str(target), reason)
