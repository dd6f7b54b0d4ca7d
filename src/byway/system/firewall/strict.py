"""Strict mode, the kill switch: a table that lets nothing leave but what is meant to.

It is loaded before anything else changes, and stays when Byway is killed: then nothing leaves at
all, until it is removed or Byway runs again. Nothing is dropped in silence: programs are refused at
once.

What may leave by the links of this host: what bears Byway's mark, DHCP, neighbour discovery, what
is excepted by the config, and what goes to a private prefix of the very link that it leaves by. No
other prefix counts as local, however it came: a hostile network hands out public addresses as its
own, or routes by DHCP (TunnelCrack, TunnelVision). A question for a name leaves by none of these
but Byway's mark.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator

from byway.flow import frozen
from byway.system.firewall.table import (
    Chain,
    Hook,
    Set,
    Table,
    address_sets,
    by_family,
    interface,
    interfaces,
)

NAME = "byway_strict"

_RAW, _FILTER = -300, 0
_PRIVATE = tuple(
    map(
        ipaddress.ip_network,
        (
            "10.0.0.0/8",
            "172.16.0.0/12",
            "192.168.0.0/16",
            "169.254.0.0/16",
            "fc00::/7",
            "fe80::/10",
        ),
    )
)
_DISCOVERY = (  # RFC 4861, RFC 3810: they never pass a router
    "nd-router-solicit, nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert,"
    " mld-listener-report, mld2-listener-report, mld-listener-done"
)


@frozen
class Strict:
    """What may leave. `links` are this host's links with their prefixes, of which private ones
    count; `virtual` are the addresses of the virtual NIC `tun` (both empty: there is none);
    `services` are ports of this host whose clients are answered wherever they are."""

    mark: int
    diverted: int
    group: int
    tun: str = ""
    virtual: tuple[str, ...] = ()
    links: tuple[tuple[str, str], ...] = ()
    exceptions: tuple[str, ...] = ()
    services: tuple[str, ...] = ()
    about: str = "nothing leaves but by Byway"


def table_of(strict: Strict) -> Table:
    """The table. Raises ValueError for what nftables cannot say."""
    sets = [*_links(strict.links), *address_sets("except", strict.exceptions)]
    refused = (
        "meta l4proto tcp counter reject with tcp reset",
        "counter reject with icmpx admin-prohibited",
    )
    sent = ("jump may", *_inside(strict), *refused)
    chains = [
        Chain("may", tuple(_may(strict))),
        Chain("sent", sent, Hook("filter", "output", _FILTER)),
        Chain("forwarded", ("jump may", *refused), Hook("filter", "forward", _FILTER)),
        Chain("leaving", ("jump may", "counter drop"), Hook("filter", "postrouting", _FILTER)),
    ]
    guard = tuple(_guard(strict))
    if guard:
        chains.append(Chain("virtual", guard, Hook("filter", "prerouting", _RAW)))
    return Table(NAME, strict.about, tuple(chains), tuple(sets))


def is_private(prefix: str) -> bool:
    """Whether a prefix is of private or link-local addresses, all of it."""
    network = ipaddress.ip_network(prefix, strict=False)
    return any(
        network.version == one.version and network.subnet_of(one)  # type: ignore[arg-type]
        for one in _PRIVATE
    )


def _links(links: Iterable[tuple[str, str]]) -> Iterator[Set]:
    found: tuple[list[str], list[str]] = ([], [])
    for name, prefix in sorted(set(links)):
        if is_private(prefix):
            for at, kept in enumerate(by_family([prefix])):
                found[at].extend(f"{interface(name)} . {one}" for one in kept)
    yield Set("links4", "ifname . ipv4_addr", tuple(found[0]))
    yield Set("links6", "ifname . ipv6_addr", tuple(found[1]))


def _may(strict: Strict) -> Iterator[str]:
    """What may leave."""
    yield f"meta mark {strict.mark:#x} accept"
    yield f"ct mark {strict.mark:#x} accept"  # the answers to it, too
    yield 'oifname "lo" accept'
    if strict.tun:
        yield f"oifname {interface(strict.tun)} accept"
    yield f"meta skgid {strict.group} accept"
    yield "udp sport { 67, 68 } udp dport { 67, 68 } accept"
    yield "udp sport { 546, 547 } udp dport { 546, 547 } accept"
    yield f"icmpv6 type {{ {_DISCOVERY} }} ip6 hoplimit {{ 1, 255 }} accept"
    yield "ip daddr @except4 accept"
    yield "ip6 daddr @except6 accept"
    if strict.services:
        yield (
            f"ct direction reply meta l4proto {{ tcp, udp }} th sport"
            f" {{ {', '.join(strict.services)} }} accept"
        )
    yield "meta l4proto { tcp, udp } th dport { 53, 853, 5353, 5355 } return"
    yield "oifname . ip daddr @links4 accept"
    yield "oifname . ip6 daddr @links6 accept"


def _inside(strict: Strict) -> Iterator[str]:
    """What goes to a listener: at this hook its device is still the one that it would have left by.
    (`leaving` sees the true one.)"""
    yield f"meta mark {strict.diverted:#x} accept"
    yield "ip daddr 127.0.0.0/8 accept"
    yield "ip6 daddr ::1 accept"


def _guard(strict: Strict) -> Iterator[str]:
    """A packet to the virtual address that comes by another link was made by whoever is on that
    link, to learn what the tunnel carries (CVE-2019-14899)."""
    inside = interfaces(["lo", *([strict.tun] if strict.tun else [])])
    for family, found in zip(("ip", "ip6"), by_family(strict.virtual), strict=True):
        if found:
            yield f"iifname != {inside} {family} daddr {{ {', '.join(found)} }} counter drop"
