"""UDP over TCP: a client whose packets ride inside a connection that another client asks for."""

from __future__ import annotations

from dataclasses import dataclass

from byway.dialects.card import Written
from byway.engine import Engine
from byway.flow import TCP_AND_UDP, Dial, Network, Target
from byway.interfaces import Binding, Datagrams, Stream, Way
from byway.outbounds.proxy import Client
from byway.protocols import uot
from byway.values.foreign import Foreign


@dataclass(frozen=True, slots=True)
class UdpOverTcp:
    """As `under` in all but packets."""

    under: Client
    engine: Engine
    networks: frozenset[Network] = TCP_AND_UDP
    needs_control: bool = True
    packets_in_stream: bool = True

    @property
    def carries_names(self) -> bool:
        """As the client below."""
        return self.under.carries_names

    async def connect(self, stream: Stream, target: Target) -> Stream:
        """As the client below."""
        return await self.under.connect(stream, target)

    async def associate(self, control: Stream | None, server: Dial, via: Way) -> Datagrams:
        """Ask for a connection to who takes packets there."""
        assert control is not None
        stream = await self.under.connect(control, uot.SERVER)
        stream.hold(uot.EACH)
        return self.engine.framed(stream, "uot", b"")

    async def bind(self, stream: Stream, target: Target, server: Target) -> Binding:
        """As the client below."""
        return await self.under.bind(stream, target, server)


def of_sing_box(entry: Foreign) -> Written:
    """`udp_over_tcp` of sing-box: version 2 is what `true` means, and what is spoken here."""
    if not (entry.flag("udp_over_tcp") or entry.enabled("udp_over_tcp")):
        return {}
    if entry.part("udp_over_tcp").number("version") not in (0, 2):
        entry.note("udp_over_tcp", "udp_over_tcp is spoken in version 2 only: not kept")
        return {}
    return {"udp_over_tcp": True}


def of_clash(entry: Foreign) -> Written:
    """`udp-over-tcp` of Clash: version 1 there unless 2 is asked for, here 2 alone."""
    if not entry.flag("udp-over-tcp"):
        return {}
    if entry.number("udp-over-tcp-version") != 2:
        return not_in_clash(entry)
    return {"udp_over_tcp": True}


def not_in_clash(entry: Foreign) -> Written:
    """Nothing, told of where it was asked for."""
    if entry.flag("udp-over-tcp"):
        entry.note("udp-over-tcp", "udp-over-tcp is spoken in version 2 only: not kept")
    entry.pass_over("udp-over-tcp-version")
    return {}
