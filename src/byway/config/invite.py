"""Links to our own inbounds, for their clients."""

from __future__ import annotations

from byway.config.read.links import write_link
from byway.dialects.card import In
from byway.flow import Target
from byway.values.texts import UnixPath


def invitations(name: str, inbound: In, host: str | None) -> list[tuple[str, str]]:
    """Labels and links, one for each user. `host` is where others reach this host.

    Raises ValueError where there is not a link to it, or none could be followed.
    """
    server = _server(inbound, host)
    found = [(f"{name}-{user}" if user else name, way) for user, way in inbound.invited(server)]
    return [(label, write_link(outbound, label)) for label, outbound in found]


def _server(inbound: In, host: str | None) -> Target:
    """Where others find it: the host given, and its first port that is not a unix socket's."""
    for place in inbound.listen:
        if isinstance(place, UnixPath):
            continue
        if place.port == 0:
            raise ValueError("its port changes at each start: set one in listen")
        if host is not None:
            return _named(host, place.port)
        if place.packed is not None and any(place.packed):
            return place
        raise ValueError("it listens on all addresses: add --host with the address that others use")
    raise ValueError("other hosts cannot reach a unix socket")


def _named(host: str, port: int) -> Target:
    try:
        return Target.of(host.strip("[]"), port)
    except ValueError as error:
        raise ValueError(f"{error}; --host is a name or an address, without a port") from None
