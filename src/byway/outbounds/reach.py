"""How a server is reached: over a way, in whatever dresses the stream, by whatever keeps it open.

Reaches compose: each stands over another, and a client speaks over the outermost. One that carries
many streams over one (a session) would open it once and give out its streams. Errors name the
proxy whose server is not reached.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from byway.errors import PeerError, Reason, Refused, Unreachable, in_words
from byway.flow import Dial, Target
from byway.interfaces import Datagrams, Stream, Way

Layer = Callable[[Stream], Awaitable[Stream]]
"""Dresses a stream to a server; consumes it. Raises PeerError, Unreachable, OSError, EOFError."""

T = TypeVar("T")


class Reach(Protocol):
    """How a server is reached."""

    @property
    def chain(self) -> tuple[str, ...]:
        """The hops of the way to the server: what is kept open belongs to one of them."""

    @property
    def lasting(self) -> Reach:
        """The same for what outlives a handshake, and is not closed when that fails."""

    async def open(self, dial: Dial) -> Stream:
        """A stream to the server. Raises Unreachable, Refused, PeerError, OSError or EOFError."""

    async def packets(self, dial: Dial) -> tuple[Datagrams, Target]:
        """A way for packets to the dial's target, and that target as they are sent to it. Raises
        Refused where packets do not pass."""

    def met(self, stream: Stream) -> Target:
        """The server as a stream of this reach really met it."""


class Straight:
    """The server of the proxy `name`, by way of whatever carries to it."""

    __slots__ = ("_name", "_server", "_via")

    def __init__(self, name: str, server: Target, via: Way) -> None:
        self._name = name
        self._server = server
        self._via = via

    @property
    def chain(self) -> tuple[str, ...]:
        """The hops of the way."""
        return tuple(self._via.chain)

    @property
    def lasting(self) -> Straight:
        """Itself."""
        return self

    async def open(self, dial: Dial) -> Stream:
        """A stream of the way. Raises Unreachable, and what a hop before this one raised."""
        try:
            return await self._via.connect(dial.toward(self._server))
        except Refused as error:
            raise self._unreached(error, str(error)) from error
        except Unreachable as error:
            if error.hop != str(self._server):
                raise  # a hop before this one
            raise self._unreached(error, error.reason.value) from error

    async def packets(self, dial: Dial) -> tuple[Datagrams, Target]:
        """Packets of the way. Raises as the way does."""
        return await packets_by(self._via, dial)

    def met(self, stream: Stream) -> Target:
        """Where this host itself reached it, that address; else the name it goes by."""
        return (stream.info.remote or self._server) if self._via.is_local else self._server

    def _unreached(self, error: Refused | Unreachable, why: str) -> Unreachable:
        late = error.reason is Reason.TIMED_OUT
        return Unreachable(
            f"{self._name}: cannot reach its server {self._server}: {why}",
            self._name,
            Reason.TIMED_OUT if late else Reason.FAILURE,  # it is not the target that refused
        )


class Dressed:
    """A reach whose streams wear a layer: TLS, a transport. Packets go past it."""

    __slots__ = ("_layer", "_name", "_server", "_under")

    def __init__(self, name: str, server: Target, under: Reach, layer: Layer) -> None:
        self._name = name
        self._server = server
        self._under = under
        self._layer = layer

    @property
    def chain(self) -> tuple[str, ...]:
        """As below."""
        return self._under.chain

    @property
    def lasting(self) -> Dressed:
        """Itself."""
        return self

    async def open(self, dial: Dial) -> Stream:
        """A dressed stream. Raises as the reach below and the layer do."""
        stream = await self._under.open(dial)
        try:
            return await self._layer(stream)
        except BaseException as error:
            stream.close()
            raise broken(error, self._name, self._server) from error

    async def packets(self, dial: Dial) -> tuple[Datagrams, Target]:
        """As below."""
        return await self._under.packets(dial)

    def met(self, stream: Stream) -> Target:
        """As below."""
        return self._under.met(stream)


class Minded:
    """A reach during one handshake: knows what it opened, and whether opening was what failed."""

    __slots__ = ("_opened", "_under", "failed")

    def __init__(self, under: Reach) -> None:
        self._under = under
        self._opened: list[Stream | Datagrams] = []
        self.failed: BaseException | None = None

    @property
    def chain(self) -> tuple[str, ...]:
        """As below."""
        return self._under.chain

    @property
    def lasting(self) -> Reach:
        """The reach below, whose streams this one does not know."""
        return self._under.lasting

    async def open(self, dial: Dial) -> Stream:
        """As below."""
        return self._minded(await self._tried(self._under.open(dial)))

    async def packets(self, dial: Dial) -> tuple[Datagrams, Target]:
        """As below."""
        inner, target = await self._tried(self._under.packets(dial))
        return self._minded(inner), target

    def met(self, stream: Stream) -> Target:
        """As below."""
        return self._under.met(stream)

    def close(self) -> None:
        """Let go of what was opened."""
        for one in self._opened:
            one.close()

    async def _tried(self, opening: Awaitable[T]) -> T:
        try:
            return await opening
        except BaseException as error:
            self.failed = error
            raise

    def _minded(self, opened: Opened) -> Opened:
        self._opened.append(opened)
        return opened


async def packets_by(via: Way, dial: Dial) -> tuple[Datagrams, Target]:
    """A way for packets by `via`, and the target as they are sent to it. Raises as `via` does."""
    inner = await via.associate(dial)
    try:
        return inner, await via.locate(dial)
    except BaseException:
        inner.close()
        raise


def broken(error: BaseException, name: str, server: Target) -> BaseException:
    """The error of a handshake with a proxy's server, in the proxy's name."""
    if isinstance(error, asyncio.CancelledError):
        error.add_note(f"{name} at {server} did not answer")
    if isinstance(error, Refused):
        return Refused(f"{name}: {error}", error.reason, error.hint)
    if isinstance(error, PeerError):
        return PeerError(f"{name}: {error}", error.hint)
    if isinstance(error, (OSError, EOFError)):
        return Unreachable(
            f"{name}: the connection to {server} broke: {in_words(error)}",
            name,
            Reason.TIMED_OUT if isinstance(error, TimeoutError) else Reason.FAILURE,
        )
    return error


Opened = TypeVar("Opened", Stream, Datagrams)
