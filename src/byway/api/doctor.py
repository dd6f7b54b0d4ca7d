"""Looks whether this host's traffic goes as the config says, and what would keep it from that.

Each check asks the kernel and reads files. Nothing is sent and nothing is changed.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from byway.config import Config
from byway.dns.hostfiles import read_resolv, read_services
from byway.system.capture import Capture
from byway.system.clock import is_synchronised
from byway.system.firewall import left as left_tables
from byway.system.firewall import nft, strict, taking
from byway.system.firewall.table import FirewallError
from byway.system.marks import OWN
from byway.system.nics import Nic, nics
from byway.system.own import OwnAddresses, is_near
from byway.system.paths import path_to
from byway.system.plan import left, repair

Verdict = Literal["ok", "warning", "fault", "skipped"]

SAMPLES = {
    4: ("1.0.0.1", "8.0.0.1", "45.0.0.1", "91.0.0.1", "130.0.0.1", "176.0.0.1", "203.0.113.1"),
    6: ("2001:db8::1", "2400::1", "2606::1", "2804::1", "2a00::1", "2c0f::1"),
}
"""Addresses all over the Internet, whose routes are looked at."""
STUB = "127.0.0.53"
LEAST_IPV6 = 1280  # bytes (RFC 8200 section 5)
_TUNNELS = ("tun", "wireguard", "ppp", "ipip", "sit", "gre", "vti", "xfrm", "tap")


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found, and what would mend it."""

    check: str
    verdict: Verdict
    what: str
    fix: str = ""


def examine(config: Config | None, runs: bool, folder: Path = Path("/etc")) -> Iterator[Finding]:
    """All findings, check by check. `config` is what the Byway that `runs` does by, or would.

    `folder` has the files about names. Raises nothing: a check that cannot be made says so.
    """
    links = nics()
    captures = _captures(config) if runs else ()
    diverts = runs and config is not None and _diverts(config)
    yield from _left()
    yield from _traffic(config, runs, captures, diverts)
    yield from _names(config, captures, diverts, folder)
    yield from _tunnels(links, captures)
    yield from _mtu(links, captures)
    yield from _offloads(links, captures)
    yield from _device(config)
    yield from _clock()


def mend() -> Sequence[str]:
    """Undo what Byways that have ended left on this host; what was done, in words. Raises HostError
    and FirewallError."""
    return [*repair(), *left_tables.remove()]


def _captures(config: Config | None) -> Sequence[Capture]:
    if config is None:
        return ()
    answers = config.dns is not None and config.dns.hijack
    found = [section.capture(answers) for section in config.inbounds.values()]
    return [one for one in found if one is not None]


def _diverts(config: Config) -> bool:
    """Whether a firewall takes this host's own connections."""
    found = (section.diversion(("127.0.0.1:1",)) for section in config.inbounds.values())
    return any(one is not None and not one.nic for one in found)


def _left() -> Iterator[Finding]:
    fix = "byway doctor --fix undoes it, as the next start does"
    try:
        found = [f"the changes noted in {path}" for path in left()]
        found += [f"the nftables table {name} ({words})" for name, words in left_tables.tables()]
    except (FirewallError, OSError) as error:
        yield Finding("left", "skipped", f"cannot be seen: {error}", "run it as root")
        return
    for what in found:
        yield Finding("left", "fault", f"a Byway that has ended left {what}", fix)
    if not found:
        yield Finding("left", "ok", "nothing is left of a Byway that has ended")


def _traffic(
    config: Config | None, runs: bool, captures: Sequence[Capture], diverts: bool
) -> Iterator[Finding]:
    if diverts:
        yield from _firewall(taking.NAME, "capture", "takes connections")
    own = [one for one in captures if one.own]
    for family in (4, 6):
        check = "capture" if family == 4 else "ipv6"
        leaving = _leaving(family)
        if not leaving:
            yield Finding(check, "ok", f"IPv{family} has no route to the Internet")
        elif own:
            yield _caught(check, family, leaving, own)
        elif not diverts:
            yield Finding(check, "skipped", _not_global(config, runs, family, leaving))
    if runs and config is not None and any(one.nic and one.strict for one in _walls(config)):
        yield from _firewall(strict.NAME, "strict", "lets nothing leave but by Byway")


def _walls(config: Config) -> Iterator[taking.Diversion]:
    for section in config.inbounds.values():
        if (found := section.diversion(())) is not None:
            yield found


def _firewall(name: str, check: str, what: str) -> Iterator[Finding]:
    try:
        there = nft.tag_of(name) is not None
    except (FirewallError, OSError) as error:
        yield Finding(check, "skipped", f"the firewall cannot be seen: {error}", "run it as root")
        return
    if there:
        yield Finding(check, "ok", f"the nftables table {name} {what}")
    else:
        fix = "another program flushed the firewall: restart Byway"
        yield Finding(check, "fault", f"the nftables table {name} is gone", fix)


def _not_global(config: Config | None, runs: bool, family: int, leaving: dict[str, str]) -> str:
    by = ", ".join(sorted(set(leaving.values())))
    if not runs:
        return f"Byway is not running: IPv{family} leaves by {by}"
    return f"no inbound takes all traffic: IPv{family} of programs without a setting leaves by {by}"


def _caught(
    check: str, family: int, leaving: dict[str, str], captures: Sequence[Capture]
) -> Finding:
    """Whether what would leave comes by a NIC of ours."""
    names = {one.nic for one in captures}
    wanted = [one for one in leaving if _is_wanted(one, captures)]
    missed = sorted({leaving[one] for one in wanted if leaving[one] not in names})
    if not missed:
        return Finding(check, "ok", f"IPv{family} comes to Byway by {', '.join(sorted(names))}")
    example = next(one for one in wanted if leaving[one] in missed)
    if not any(ipaddress.ip_interface(a).version == family for c in captures for a in c.addresses):
        fix = f"add an IPv{family} address to the inbound's `addresses`"
    else:
        fix = f"see `ip -{family} rule` and `ip -{family} route get {example}`: another program's"
        fix += " rule comes first; end that program, or restart Byway"
    what = f"IPv{family} escapes by {', '.join(missed)}, to {example} for example"
    return Finding(check, "fault", what, fix)


def _is_wanted(address: str, captures: Sequence[Capture]) -> bool:
    one = ipaddress.ip_address(address)

    def holds(prefixes: Sequence[str]) -> bool:
        return any(one in ipaddress.ip_network(prefix) for prefix in prefixes)

    return any((not c.prefixes or holds(c.prefixes)) and not holds(c.exclude) for c in captures)


def _leaving(family: int, mark: int = 0) -> dict[str, str]:
    """The links by which samples of a family leave, with a mark; none for those that cannot."""
    found = {}
    for address in SAMPLES[family]:
        if link := _link_to(address, mark=mark):
            found[address] = link
    return found


def _link_to(address: str, port: int = 0, mark: int = 0) -> str:
    try:
        path = path_to(ipaddress.ip_address(address).packed, port, mark)
    except OSError:
        return ""
    return "" if path.ends_here else path.link


def _names(
    config: Config | None, captures: Sequence[Capture], diverts: bool, folder: Path
) -> Iterator[Finding]:
    resolv = read_resolv(_text(folder / "resolv.conf"), {})
    services = [one.name for one in read_services(_text(folder / "nsswitch.conf"))]
    asked = [(one, "/etc/resolv.conf") for one in resolv.servers]
    if "resolve" in services or STUB in resolv.servers:
        upstream = read_resolv(_text(Path("/run/systemd/resolve/resolv.conf")), {})
        asked += [(one, "systemd-resolved") for one in upstream.servers if one != STUB]
    nics = {one.nic for one in captures}
    hijacks = config is not None and config.dns is not None and config.dns.hijack
    for server, by in dict.fromkeys(asked):
        yield _asked(server, by, nics, diverts, hijacks)
    for name in services:
        if name.startswith("mdns"):
            yield Finding("dns", "ok", f"{name} asks for names of the link alone (.local)")


def _asked(server: str, by: str, nics: set[str], diverts: bool, hijacks: bool) -> Finding:
    address = server.partition("%")[0]
    packed = ipaddress.ip_address(address).packed
    if is_near(packed) or OwnAddresses().holds(packed):
        where = "systemd-resolved" if server == STUB else "a server of this host"
        return Finding("dns", "ok", f"{by} asks {server}, {where}")
    link = _link_to(address, 53)
    if not link:
        what = f"{by} asks {server}, to which there is no route"
        return Finding("dns", "warning", what, "names are found late, or not: remove it there")
    if link in nics or diverts:
        if hijacks:
            return Finding("dns", "ok", f"{by} asks {server}: Byway answers")
        return Finding("dns", "ok", f"{by} asks {server}: a flow by {link}, as rules say")
    if not nics:
        return Finding("dns", "skipped", f"{by} asks {server}, by {link}: not by Byway")
    fix = "set `dns: {hijack: true}`: then questions come to Byway wherever they go"
    return Finding("dns", "fault", f"DNS leaks: {by} asks {server} by {link}", fix)


def _tunnels(links: Sequence[Nic], captures: Sequence[Capture]) -> Iterator[Finding]:
    own = {one.nic for one in captures}
    others = [one for one in links if one.kind in _TUNNELS and one.name not in own and one.is_up]
    taken = {link for family in (4, 6) for link in _leaving(family).values()}
    for one in others:
        if one.name in taken:
            what = f"the tunnel {one.name} ({one.kind}) takes traffic to the Internet"
            fix = "end it, or let Byway leave by it: it is then what Byway's servers are reached by"
            yield Finding("tunnels", "fault" if own else "warning", what, fix)
        else:
            what = f"the tunnel {one.name} ({one.kind}) has prefixes of its own"
            yield Finding("tunnels", "ok", what)
    if not others:
        yield Finding("tunnels", "ok", "no other tunnel is up")


def _mtu(links: Sequence[Nic], captures: Sequence[Capture]) -> Iterator[Finding]:
    own, fine = {one.nic for one in captures}, True
    used = {link for family in (4, 6) for link in _leaving(family, OWN).values()} - own
    for one in links:
        if one.name in used and one.mtu < LEAST_IPV6:
            fine = False
            what = f"the MTU of {one.name} is {one.mtu}: IPv6 needs {LEAST_IPV6}"
            yield Finding("mtu", "fault", what, f"ip link set {one.name} mtu {LEAST_IPV6}")
    if _number("/proc/sys/net/ipv4/ip_no_pmtu_disc"):
        fine = False
        what = "path MTU discovery is off: large packets vanish where a link has a smaller MTU"
        yield Finding("mtu", "warning", what, "sysctl net.ipv4.ip_no_pmtu_disc=0")
    if fine:
        text = ", ".join(f"{one.name} {one.mtu}" for one in links if one.name in used)
        yield Finding("mtu", "ok", f"path MTU discovery is on{f'; {text}' if text else ''}")


def _offloads(links: Sequence[Nic], captures: Sequence[Capture]) -> Iterator[Finding]:
    for name in {one.nic for one in captures}:
        nic = next((one for one in links if one.name == name), None)
        if nic is None:
            fix = "restart Byway, and see `byway log`"
            yield Finding("offloads", "fault", f"the NIC {name} is gone", fix)
        elif nic.joins_tcp:
            yield Finding("offloads", "ok", f"{name} gets TCP in pieces of 64 KiB")
        else:
            fix = f"ethtool -K {name} tso on"
            yield Finding("offloads", "warning", f"{name} gets TCP packet by packet: slow", fix)


def _device(config: Config | None) -> Iterator[Finding]:
    if os.access("/dev/net/tun", os.R_OK | os.W_OK):
        yield Finding("device", "ok", "/dev/net/tun can be opened")
        return
    wanted = config is not None and any(section.makes() for section in config.inbounds.values())
    there = os.path.exists("/dev/net/tun")
    what = "/dev/net/tun may not be opened by this user" if there else "there is no /dev/net/tun"
    fix = "chmod 0666 /dev/net/tun" if there else "modprobe tun"
    yield Finding("device", "fault" if wanted else "warning", what, fix)


def _clock() -> Iterator[Finding]:
    synchronised = is_synchronised()
    if synchronised is None:
        yield Finding("clock", "skipped", "the kernel does not say whether it is synchronised")
    elif synchronised:
        yield Finding("clock", "ok", "synchronised")
    else:
        what = (
            "the clock is not synchronised: servers that look at the time refuse a client that is"
        )
        what += " half a minute off"
        yield Finding("clock", "warning", what, "timedatectl set-ntp true, or start an NTP client")


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _number(path: str) -> int:
    text = _text(Path(path)).strip()
    return int(text) if text.isdigit() else 0
