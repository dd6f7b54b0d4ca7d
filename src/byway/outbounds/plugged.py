"""The way to a server behind a SIP003 plugin: streams start at the plugin, which dials the server.

Nothing runs before the first dial. When the plugin does not start, only dials fail.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable

from byway.errors import Reason, Refused, Unreachable, in_words
from byway.flow import Dial, Flow, Step, Target
from byway.interfaces import Dialer, Outbound, Stream, Way
from byway.outbounds.over import Over, ways_over

Ready = Callable[[], Awaitable[Target]]
"""Has the plugin run: where it listens. Raises OSError."""


class Plugged:
    """A proxy's `via`, with a plugin on it that `local` reaches. Packets go past plugins."""

    def __init__(self, proxy: str, via: Outbound, local: Dialer, ready: Ready) -> None:
        self.name = via.name
        self.chain = via.chain
        self.networks = via.networks
        self.is_local = via.is_local
        self._proxy = proxy
        self._via = via
        self._local = local
        self._ready = ready
        self.only = None if via.only is None else PluggedWay(self, via.only)

    def ways(
        self, flow: Flow, steps: list[Step] | None = None, peek: bool = False
    ) -> Iterable[Way]:
        """The plugin, beside each way of `via`."""
        if self.only is not None:
            return (self.only,)
        return ways_over(lambda via: PluggedWay(self, via), self._via, flow, steps, peek)

    async def started(self, dial: Dial) -> Stream:
        """A stream to the plugin, which carries it to its server. Raises Unreachable. Where it
        listens was chosen here and not by a client, and so no guard is on it."""
        try:
            return await self._local.connect(dial.toward(await self._ready()))
        except OSError as error:
            why = in_words(error)
            raise Unreachable(f"{self._proxy}: {why}", self._proxy, Reason.FAILURE) from error
        except (Refused, Unreachable) as error:
            why = f"its plugin does not answer: {error.reason.value}"
            raise Unreachable(f"{self._proxy}: {why}", self._proxy, Reason.FAILURE) from error


class PluggedWay(Over):
    """A way, with the plugin on it."""

    __slots__ = ("_plugged",)

    def __init__(self, plugged: Plugged, via: Way) -> None:
        super().__init__(plugged, via)
        self._plugged = plugged

    async def connect(self, dial: Dial) -> Stream:
        """A stream to the plugin. Raises Unreachable."""
        return await self._plugged.started(dial)
