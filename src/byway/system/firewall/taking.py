"""The table that brings flows to Byway's listeners: this host's own, and those of devices behind
it.

    own     output, before routing     what this host sends
    lan     prerouting                 what devices send through this host (gateway mode)
    *_nat   the same places, by NAT    TCP connections that are redirected

Each flow is judged at its first packet, and its connection keeps what came of it as its mark: ours
(it leaves as it is), or the one of what is diverted. Left alone are what Byway itself sends (by its
mark, and its plugins by their group), replies of connections that others began, so that published
ports go on to work, and whatever is for this host itself: its DNS, its DHCP, its ssh.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from byway.flow import frozen
from byway.system.firewall.clauses import Clause, lines_of
from byway.system.firewall.table import Chain, Hook, Set, Table, address_sets, interfaces

NAME = "byway"

_RAW, _MANGLE, _DSTNAT, _SRCNAT = -300, -150, -100, 100
_NEAR = "fib daddr type { local, broadcast, anycast, multicast } accept"


@frozen
class Taken:
    """What one listener takes: a network, by NAT (`redirect`) or as it is (`tproxy`), at these
    ports of the two families (0: that family is not taken) and, where it is no NAT, hosts."""

    network: str
    by: str
    ports: tuple[int, int]
    own: bool = True
    lan: tuple[str, ...] = ()
    hosts: tuple[str, str] = ("127.0.0.1", "::1")


@frozen
class Diversion:
    """What an inbound takes, as far as a config says it: the targets (prefixes) and the users of
    this host (numbers) that are left alone, and whether nothing else may leave but answers of
    these `services` (ports, ranges as `80-90`). What a virtual NIC takes (`nic`, with
    its addresses) comes by routes, and not by the firewall."""

    taken: tuple[Taken, ...]
    exclude: tuple[str, ...] = ()
    exclude_users: tuple[str, ...] = ()
    strict: bool = False
    services: tuple[str, ...] = ()
    nic: str = ""
    virtual: tuple[str, ...] = ()


@frozen
class Taking:
    """All that is taken, and what is not. `mark` is what Byway's own packets have, `diverted` what
    routes packets to this host, `group` that of its plugins; `virtual` are the TUN's addresses,
    whose direct flows need those of the link that they leave by."""

    taken: tuple[Taken, ...]
    mark: int
    diverted: int
    group: int
    clauses: tuple[Clause, ...] = ()
    exempt: tuple[str, ...] = ()
    exempt_users: tuple[str, ...] = ()
    virtual: tuple[str, ...] = ()
    about: str = "what is diverted"


def table_of(taking: Taking) -> Table:
    """The table. Raises ValueError for what nftables cannot say."""
    own = [one for one in taking.taken if one.own]
    forwarded = [one for one in taking.taken if one.lan]
    chains, sets = list[Chain](), list[Set](address_sets("exempt", taking.exempt))
    if own:
        lines, more = lines_of(taking.clauses, "own", taking.mark, forwarded=False)
        sets += more
        chains += [
            Chain("own_rules", lines),
            Chain("own", tuple(_own(taking, own)), Hook("route", "output", _MANGLE)),
        ]
        redirected = tuple(_redirects(taking, own))
        if redirected:
            chains.append(Chain("own_nat", redirected, Hook("nat", "output", _DSTNAT)))
    if forwarded:
        lines, more = lines_of(taking.clauses, "lan", taking.mark, forwarded=True)
        sets += more
        chains += [Chain("lan_rules", lines), Chain("lan", tuple(_lan(taking, forwarded)))]
        redirected = tuple(_redirects(taking, forwarded))
        if redirected:
            chains.append(Chain("lan_nat", redirected, Hook("nat", "prerouting", _DSTNAT)))
    arriving = tuple(_arriving(taking, own, forwarded))
    if arriving:
        chains.append(Chain("arriving", arriving, Hook("filter", "prerouting", _MANGLE)))
    if taking.virtual:
        chains.append(
            Chain("leaving", tuple(_leaving(taking)), Hook("nat", "postrouting", _SRCNAT))
        )
    return Table(NAME, taking.about, tuple(chains), tuple(sets))


def routed(taken: Sequence[Taken]) -> tuple[str, ...]:
    """The families of which diverted packets must be routed to this host."""
    return tuple(
        family
        for at, family in enumerate("46")
        if any(one.by == "tproxy" and one.ports[at] for one in taken)
    )


def _own(taking: Taking, taken: Sequence[Taken]) -> Iterator[str]:
    mark, diverted = f"{taking.mark:#x}", f"{taking.diverted:#x}"
    yield f"meta mark {mark} accept"
    yield f"meta skgid {taking.group} meta mark set {mark} accept"
    yield "ct direction reply accept"
    yield 'oifname "lo" accept'
    yield _NEAR
    yield from _settled(taking, taken, tproxied=f"meta mark set {diverted} accept")
    if taking.exempt_users:
        yield f"meta skuid {{ {', '.join(taking.exempt_users)} }} accept"
    yield "jump own_rules"
    yield from _taken(taken, f"ct mark set {diverted}", tproxied=f"meta mark set {diverted} accept")


def _lan(taking: Taking, taken: Sequence[Taken]) -> Iterator[str]:
    diverted = f"{taking.diverted:#x}"
    yield "ct direction reply accept"
    yield _NEAR
    yield from _settled(taking, taken, tproxied="")
    for one in taken:
        if one.by == "tproxy":
            yield from _tproxied(one, f"ct mark {diverted} meta mark set {diverted}")
    yield "ct state != new accept"
    yield "jump lan_rules"
    yield from _taken(taken, f"ct mark set {diverted}", tproxied="")
    for one in taken:
        if one.by == "tproxy":
            yield from _tproxied(one, f"ct mark set {diverted} meta mark set {diverted}")


def _settled(taking: Taking, taken: Sequence[Taken], tproxied: str) -> Iterator[str]:
    """What was judged before, or never will be."""
    mark, diverted = f"{taking.mark:#x}", f"{taking.diverted:#x}"
    networks = sorted({one.network for one in taken})
    yield f"meta l4proto != {{ {', '.join(networks)} }} accept"
    yield f"ct mark {mark} meta mark set {mark} accept"
    yield "ip daddr @exempt4 accept"
    yield "ip6 daddr @exempt6 accept"
    for one in taken:
        if one.by == "redirect":
            yield f"meta l4proto {one.network} ct mark {diverted} accept"
        elif tproxied:
            yield f"meta l4proto {one.network} ct mark {diverted} {tproxied}"
    if tproxied:
        yield "ct state != new accept"


def _taken(taken: Sequence[Taken], remembered: str, tproxied: str) -> Iterator[str]:
    for one in taken:
        for version in _versions(one):
            which = f"meta nfproto ipv{version} meta l4proto {one.network}"
            if one.by == "redirect":
                yield f"{which} counter {remembered} accept"
            elif tproxied:
                yield f"{which} counter {remembered} {tproxied}"


def _redirects(taking: Taking, taken: Sequence[Taken]) -> Iterator[str]:
    for one in taken:
        if one.by == "redirect":
            for version, port in zip("46", one.ports, strict=True):
                if port:
                    yield (
                        f"ct mark {taking.diverted:#x} meta nfproto ipv{version}"
                        f" meta l4proto {one.network} redirect to :{port}"
                    )


def _tproxied(one: Taken, before: str) -> Iterator[str]:
    host4, host6 = one.hosts
    places = (("4", "ip", host4), ("6", "ip6", f"[{host6}]"))
    for (version, family, host), port in zip(places, one.ports, strict=True):
        if port:
            yield (
                f"meta nfproto ipv{version} meta l4proto {one.network} {before}"
                f" tproxy {family} to {host}:{port} accept"
            )


def _arriving(taking: Taking, own: Sequence[Taken], forwarded: Sequence[Taken]) -> Iterator[str]:
    for one in own:
        if one.by == "tproxy":
            yield from _tproxied(one, f'iifname "lo" meta mark {taking.diverted:#x}')
    lan = sorted({name for one in forwarded for name in one.lan})
    if lan:
        yield f"iifname {interfaces(lan)} jump lan"


def _leaving(taking: Taking) -> Iterator[str]:
    virtual = address_sets("virtual", taking.virtual)
    for family, one in zip(("ip", "ip6"), virtual, strict=True):
        if one.elements:
            addresses = f"{{ {', '.join(one.elements)} }}"
            yield f"meta mark {taking.mark:#x} {family} saddr {addresses} masquerade"


def _versions(one: Taken) -> Iterator[str]:
    for version, port in zip("46", one.ports, strict=True):
        if port:
            yield version
