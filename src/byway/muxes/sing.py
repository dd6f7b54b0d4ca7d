"""sing-mux, as sing-box and mihomo speak it: yamux inside connections to a host of its own."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from byway.engine import Engine, EngineStream, Flows, Framing, SessionProtocol
from byway.errors import BywayError, PeerError, Reason
from byway.flow import Network, Target
from byway.inbounds.arrival import Connection
from byway.inbounds.entry import Inner
from byway.inbounds.framed import Asked, Framed
from byway.interfaces import Carry
from byway.muxes.card import MuxCard, MuxIn, MuxOut
from byway.muxes.client import Muxed, Policy
from byway.outbounds.proxy import Client
from byway.protocols import sing_mux
from byway.values.foreign import Foreign

SPOKEN: SessionProtocol = "yamux"
"""The session protocol that is spoken at both ends; of the others the page tells."""


class SingMuxOut(MuxOut):
    """Carry the flows inside few connections, as sing-box's `multiplex` does."""

    type: Literal["sing-mux"]
    protocol: Literal["yamux"] = "yamux"
    """The session protocol. The server must know it; sing-box and mihomo know all."""
    max_connections: Annotated[int, Field(ge=1, le=64)] = 4
    """The most connections to the server, as long as max_streams is not set."""
    min_streams: Annotated[int, Field(ge=1, le=1024)] = 4
    """A connection has so many flows before another one is opened."""
    max_streams: Annotated[int, Field(ge=0, le=1024)] = 0
    """The most flows of one connection; then another one is opened, whatever max_connections says.
    0: no limit."""

    def client(self, under: Client, engine: Engine, patience: float) -> Client:
        """The same client, its flows inside few connections."""
        policy = Policy(self.max_connections, self.min_streams, self.max_streams, patience)
        return Muxed(under, engine, policy)


class SingMuxIn(MuxIn):
    """Take flows from inside connections, as sing-box's `multiplex` does."""

    type: Literal["sing-mux"]

    @property
    def inner(self) -> Mapping[str, Inner]:
        """Many flows from a connection that asks for the mux's host."""
        return {sing_mux.HOST: _Carrier}


class _Carrier(Asked):
    """A connection that carries many flows."""

    __slots__ = ()

    async def _served(self, carry: Carry) -> None:
        entry = self._entry
        engine = entry.means.engine
        with self._patience:
            await self._granted()
            spoken = await sing_mux.accept(self._stream)
        if spoken != SPOKEN:
            raise PeerError(f"the client's mux speaks {spoken}: only {SPOKEN} is supported")
        session = engine.session(self._stream, SPOKEN, client=False)
        try:
            async with Flows(engine) as flows:
                with contextlib.suppress(EOFError):
                    while True:
                        flows.start(self._meet(await session.accept(), carry))
        finally:
            session.close()
            entry.means.log.info("a mux ended", inbound=entry.name, source=self._source)

    async def _meet(self, stream: EngineStream, carry: Carry) -> None:
        """One flow, from its request to its end. Raises nothing but CancelledError."""
        entry, source = self._entry, self._source
        try:
            await self._serve(stream, carry)
        except (BywayError, OSError, EOFError) as error:
            what = "a stream of the mux failed"
            entry.means.log.info(what, inbound=entry.name, source=source, error=error)
        except Exception as error:
            entry.means.log.fault(error, inbound=entry.name, source=source)
        finally:
            stream.close()

    async def _serve(self, stream: EngineStream, carry: Carry) -> None:
        entry, source, user = self._entry, self._source, self._user
        with self._patience:
            request = await sing_mux.accept_stream(stream)
        if request.network is Network.UDP:
            stream.hold(sing_mux.GRANTED)
            framing: Framing | Target = request.target or "addressed"
            await Framed(stream, framing, entry, source, user).stay(carry)
            return
        assert request.target is not None
        flow = entry.flow(Network.TCP, source, request.target, user)

        async def grant() -> None:
            stream.hold(sing_mux.GRANTED)

        async def deny(reason: Reason) -> None:
            await stream.write(sing_mux.denied(reason.value))
            await stream.end()

        await carry(Connection(stream, flow, entry.means, grant, deny))


def of_sing_box(entry: Foreign) -> dict[str, object]:
    """The `multiplex` of an outbound of sing-box, as the section that does the same."""
    part = entry.part("multiplex")
    if part.text("protocol") != SPOKEN:
        entry.note("multiplex", f"the mux speaks {SPOKEN}, which every server of sing-mux knows")
    for key in ("padding", "brutal"):
        if part.flag(key) or part.enabled(key):
            entry.note("multiplex", f"multiplex.{key} is not kept")
    made: dict[str, object] = {"type": "sing-mux"}
    for key, least, most in (
        ("max_connections", 1, 64), ("min_streams", 1, 1024), ("max_streams", 1, 1024),
    ):  # fmt: skip
        if number := part.number(key):
            made[key] = min(max(number, least), most)
    return made


CARD = MuxCard(SingMuxIn, SingMuxOut)
