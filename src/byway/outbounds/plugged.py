"""The way to a server behind a SIP003 plugin: streams start at the plugin, which dials the server.

Nothing runs before the first dial. When the plugin does not start, dials fail, and no more.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import TypeVar

from byway.errors import Reason, Refused, Unreachable, in_words
from byway.flow import Flow, Target
from byway.interfaces import Binding, Datagrams, Dialer, Outbound, Stream
from byway.trail import Trail

T = TypeVar("T")
Ready = Callable[[], Awaitable[Target]]
"""Has the plugin run: where it listens. Raises OSError."""


class Plugged:
    """A proxy's `via`, with a plugin on it that `local` reaches. Packets go past plugins."""

    def __init__(self, proxy: str, via: Outbound, local: Dialer, ready: Ready) -> None:
        self.name = via.name
        self.chain = via.chain
        self.networks = via.networks
        self.here = via.here
        self.chooses = via.chooses
        self.associate: Callable[[], Coroutine[None, None, Datagrams]] = via.associate
        self.bind: Callable[[Target], Coroutine[None, None, Binding]] = via.bind
        self._proxy = proxy
        self._local = local
        self._ready = ready

    def guarded(self) -> Plugged:
        """The same: where the plugin listens is chosen here and not by a client."""
        return self

    def lead(
        self, flow: Flow, dial: Callable[[Outbound], Coroutine[None, None, T]], trail: Trail
    ) -> Coroutine[None, None, T]:
        """Dial by it."""
        return dial(self)

    async def connect(self, target: Target) -> Stream:
        """A stream to the plugin, which carries it to its server. Raises Unreachable."""
        try:
            return await self._local.connect(await self._ready())
        except OSError as error:
            why = in_words(error)
            raise Unreachable(f"{self._proxy}: {why}", self._proxy, Reason.FAILURE) from error
        except (Refused, Unreachable) as error:
            why = f"its plugin does not answer: {error.reason.value}"
            raise Unreachable(f"{self._proxy}: {why}", self._proxy, Reason.FAILURE) from error
