"""A web server behind an inbound, for everybody who is not a client; and the answer without one."""

from __future__ import annotations

from byway.engine import EngineStream
from byway.errors import BywayError, PeerError
from byway.flow import Dial, Target
from byway.inbounds.entry import Entry, Met, Visit
from byway.interfaces import Carry, Dialer
from byway.protocols import http

VISIT_IDLE = 3600.0
"""Seconds: a visitor's time-outs are the web server's, and this is longer than any of those."""


class Site:
    """The way to the web server of an inbound."""

    def __init__(self, entry: Entry, way: Dialer, address: Target) -> None:
        self._entry = entry
        self._way = way
        self.address = address

    async def greet(self, stream: EngineStream) -> Met:
        """A visit, which has the time that the web server gives."""
        return _Visitor(stream, self)

    async def visit(
        self, stream: EngineStream, source: Target | None, address: Target | None = None
    ) -> None:
        """Hand over to the web server (or another one), with every byte that came."""
        means, name = self._entry.means, self._entry.name
        site = address or self.address
        try:
            far = await self._way.connect(Dial(site, stream.home))
        except BaseException as error:
            stream.close()
            if not isinstance(error, (BywayError, OSError)):
                raise
            found = "the fallback web site did not answer, so the server can be recognised"
            means.log.warning(found, inbound=name, source=source, site=site, error=error)
            return
        relay = means.engine.relay(stream, far, VISIT_IDLE)
        await relay.wait()
        means.log.info(
            "a visitor of the web site",
            inbound=name,
            source=source,
            site=site,
            up=relay.up,
            down=relay.down,
        )


class _Visitor(Visit):
    """A connection that is the web server's."""

    __slots__ = ("_site", "_stream")

    def __init__(self, stream: EngineStream, site: Site) -> None:
        self._stream = stream
        self._site = site

    async def stay(self, carry: Carry) -> None:
        await self._site.visit(self._stream, self._stream.source)


async def not_found(stream: EngineStream) -> Met:
    """What a web server answers that has nothing there. Raises PeerError, which is for the log."""
    begun = await stream.peek(8, 0.0)
    status = 404 if begun.split(b" ")[0] in _METHODS else 400
    await stream.write(http.answer(status, "no such page"))
    raise PeerError("the client asked for something else than the transport")


_METHODS = (b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"PATCH")
