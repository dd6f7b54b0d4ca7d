"""UDP over TCP: a client whose packets ride inside a connection that another client asks for."""

from __future__ import annotations

from dataclasses import dataclass

from byway.dialects.card import Written
from byway.engine import Engine
from byway.flow import TCP_AND_UDP, Dial, Network
from byway.interfaces import Binding, Datagrams, Stream
from byway.outbounds.proxy import Client
from byway.outbounds.reach import Reach
from byway.protocols import uot
from byway.values.foreign import Foreign


@dataclass(frozen=True, slots=True)
class UdpOverTcp:
    """As `under` in all but packets."""

    under: Client
    engine: Engine
    networks: frozenset[Network] = TCP_AND_UDP
    packets_in_stream: bool = True

    @property
    def carries_names(self) -> bool:
        """As the client below."""
        return self.under.carries_names

    async def connect(self, reach: Reach, dial: Dial) -> Stream:
        """As the client below."""
        return await self.under.connect(reach, dial)

    async def associate(self, reach: Reach, dial: Dial) -> Datagrams:
        """Ask for a connection to who takes packets there."""
        stream = await self.under.connect(reach, dial.toward(uot.SERVER))
        stream.hold(uot.EACH)
        return self.engine.framed(stream, "uot", b"")

    async def bind(self, reach: Reach, dial: Dial) -> Binding:
        """As the client below."""
        return await self.under.bind(reach, dial)


def of_sing_box(entry: Foreign) -> Written:
    """`udp_over_tcp` of sing-box: version 2 is what `true` means, and what is spoken here."""
    if not (entry.flag("udp_over_tcp") or entry.enabled("udp_over_tcp")):
        return {}
    if entry.part("udp_over_tcp").number("version") not in (0, 2):
        entry.note("udp_over_tcp", "udp_over_tcp is supported in version 2 only: not kept")
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
        entry.note("udp-over-tcp", "udp-over-tcp is supported in version 2 only: not kept")
    entry.pass_over("udp-over-tcp-version")
    return {}
