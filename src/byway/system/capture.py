"""Bringing this host's traffic to a virtual NIC: what routes and rules that takes, as a plan.

The order of the rules, of which the first that applies decides:

    1  what Byway itself sends (its mark)                     as without Byway
    2  what is left alone: prefixes, users, multicast         as without Byway
    3  questions for names (port 53), where Byway answers     by the NIC
    4  what has a route of its own (LANs, bridges, tunnels)   as without Byway
    5  what answers from an address of another link           as without Byway
    6  all else of this host; what devices of `lan` send      by the NIC
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence

from byway.flow import frozen
from byway.system.marks import OWN
from byway.system.plan import Change, HostError
from byway.system.routing import MAIN, Route, Rule

TABLE = OWN
"""The table of the routes by the NIC."""

_FIRST, _LAST, _STEPS = 9000, 32700, 10
_MULTICAST = {4: ("224.0.0.0/4", "255.255.255.255/32"), 6: ("ff00::/8", "fe80::/10")}
_ALL = {4: "0.0.0.0/0", 6: "::/0"}
_UNBOUND = "0.0.0.0/32"
"""The source of a packet of this host whose program has not chosen one (IPv4)."""


@frozen
class Capture:
    """What is to come by a NIC with these addresses: everything, or these `prefixes`; but for
    `exclude` (prefixes) and `users`. `names`: questions for names come, too, wherever they go.
    `lan` are interfaces whose devices are taken, as this host is if `own`."""

    nic: str
    addresses: tuple[str, ...]
    prefixes: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    users: tuple[int, ...] = ()
    lan: tuple[str, ...] = ()
    own: bool = True
    names: bool = False


def plan_of(
    capture: Capture, taken: Sequence[int], links: Sequence[tuple[str, str]]
) -> Sequence[Change]:
    """The changes, in order. `taken` are the priorities of the rules that there are, `links` the
    addresses of all links. Raises HostError where there is no room for rules."""
    first = _free(taken)
    plan: list[Change] = []
    for family in (4, 6):
        own = [one for one in capture.addresses if _version(one) == family]
        if not own:
            continue
        wanted = [one for one in capture.prefixes if _version(one) == family]
        if capture.prefixes and not wanted:
            continue
        plan += [Route(family, prefix, capture.nic, TABLE) for prefix in wanted or [_ALL[family]]]
        # The last rule first: nothing is on the new way before all that is exempt is.
        plan += reversed(list(_rules(capture, family, first, own, links)))
    return plan


def _rules(
    capture: Capture,
    family: int,
    first: int,
    own: Sequence[str],
    links: Sequence[tuple[str, str]],
) -> Iterator[Rule]:
    yield Rule(family, first, MAIN, mark=OWN)
    for prefix in (*_MULTICAST[family], *capture.exclude):
        if _version(prefix) == family:
            yield Rule(family, first + 1, MAIN, to=prefix)
    for user in capture.users:
        yield Rule(family, first + 1, MAIN, uid=user)
    if capture.names and capture.own:
        yield Rule(family, first + 2, TABLE, port=53, link="lo")
    if capture.names:
        for link in capture.lan:
            yield Rule(family, first + 2, TABLE, port=53, link=link)
    yield Rule(family, first + 3, MAIN, unless_default=True)
    inside = sorted({str(ipaddress.ip_interface(one).network) for one in own})
    if capture.own:
        for prefix in inside:
            yield Rule(family, first + 5, TABLE, source=prefix, link="lo")
        if family == 4:
            yield Rule(family, first + 5, TABLE, source=_UNBOUND, link="lo")
        else:  # IPv6 has no rule for a source that is not chosen yet
            for link, address in links:
                if _version(address) == 6 and link not in ("lo", capture.nic):
                    host = f"{ipaddress.ip_interface(address).ip}/128"
                    yield Rule(family, first + 4, MAIN, source=host, link="lo")
            yield Rule(family, first + 6, TABLE, link="lo")
    for link in capture.lan:
        yield Rule(family, first + 6, TABLE, link=link)


def _free(taken: Sequence[int]) -> int:
    """The first priority of as many as are needed that are nobody's."""
    used = set(taken)
    for first in range(_FIRST, _LAST, _STEPS):
        if not used.intersection(range(first, first + _STEPS)):
            return first
    raise HostError("there is no room for routing rules", "ip rule show: remove what is old")


def _version(text: str) -> int:
    return ipaddress.ip_network(text, strict=False).version
