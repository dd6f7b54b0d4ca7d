"""How this host resolves names: resolv.conf(5), nsswitch.conf(5), hosts(5) and gai.conf(5).

Reading is pure; `HostFiles` reads again what has changed.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import re
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from byway.dns.ordering import DEFAULT, Policy, read_policy
from byway.flow import packed_address

MOST_SERVERS = 3  # MAXNS of resolv.h
MOST_NDOTS, MOST_TIMEOUT, MOST_ATTEMPTS = 15, 30, 5  # resolv.conf(5)
MOST_BYTES = 64 << 20  # of one file: block lists are large


@dataclass(frozen=True, slots=True)
class Resolv:
    """resolv.conf(5): who is asked, how, and what completes a short name."""

    servers: tuple[str, ...] = ("127.0.0.1",)
    search: tuple[str, ...] = ()
    ndots: int = 1
    timeout: float = 5.0
    attempts: int = 2
    rotate: bool = False
    edns: bool = False
    trusts: bool = False  # trust-ad: ask with the AD bit
    tcp: bool = False  # use-vc
    single: bool = False  # one question after the other
    ipv6: bool = True  # no-aaaa
    top: bool = True  # no-tld-query: a name without dots is not asked for as it is

    def tried(self, name: str) -> Sequence[str]:
        """The absolute names that a name may stand for, in their order."""
        if name.endswith("."):
            return (name[:-1],)
        completed = [f"{name}.{domain}" if domain else name for domain in self.search]
        if name.count(".") >= self.ndots:
            return (name, *(other for other in completed if other != name))
        if "." not in name and not self.top:
            return completed
        return (*(other for other in completed if other != name), name)


@dataclass(frozen=True, slots=True)
class Service:
    """A word of the `hosts` line of nsswitch.conf(5), and what follows from its answer."""

    name: str
    returns: frozenset[str] = frozenset({"success"})


@dataclass(frozen=True, slots=True)
class HostNames:
    """All that the files say. `aware`: mDNS is told in a file of its own which names are its."""

    resolv: Resolv = field(default_factory=Resolv)
    services: tuple[Service, ...] = (Service("files"), Service("dns"))
    hosts: Mapping[str, tuple[bytes, ...]] = field(default_factory=dict)
    policy: Policy = DEFAULT
    aware: bool = False


class HostFiles:
    """The files below a folder, as they are now."""

    def __init__(self, folder: Path = Path("/etc")) -> None:
        self._files = {
            name: folder / name
            for name in ("resolv.conf", "nsswitch.conf", "hosts", "gai.conf", "mdns.allow")
        }
        self._seen: Mapping[str, object] = {}
        self._names = HostNames()
        self._reading = asyncio.Lock()

    async def names(self) -> HostNames:
        """What they say; what has changed since the last time is read again."""
        if not self._is_same():
            async with self._reading:
                if not self._is_same():  # whoever was before has read it
                    seen = self._signs()
                    self._names = await asyncio.to_thread(self._read)
                    self._seen = seen
        return self._names

    def _is_same(self) -> bool:
        return self._signs() == self._seen

    def _signs(self) -> Mapping[str, object]:
        """What tells one state of a file from another."""
        return {name: _sign(path) for name, path in self._files.items()}

    def _read(self) -> HostNames:
        text = {name: _text(path) for name, path in self._files.items()}
        resolv = read_resolv(text["resolv.conf"] or "", os.environ)
        services = read_services(text["nsswitch.conf"] or "")
        policy = read_policy(text["gai.conf"] or "")
        aware = text["mdns.allow"] is not None
        return HostNames(resolv, services, read_hosts(text["hosts"] or ""), policy, aware)


def read_resolv(text: str, environment: Mapping[str, str]) -> Resolv:
    """resolv.conf(5), with LOCALDOMAIN and RES_OPTIONS of the environment. Odd lines are passed
    over, as they are by the C library."""
    servers: list[str] = []
    search: list[str] | None = None
    options: list[str] = []
    for line in text.splitlines():
        if line[:1] in ("#", ";"):
            continue
        word, *rest = line.split() or [""]
        if word == "nameserver" and rest and _is_server(rest[0]):
            servers.append(rest[0])
        elif word == "domain" and rest:
            search = rest[:1]
        elif word == "search":
            search = rest
        elif word == "options":
            options += rest
    if (local := environment.get("LOCALDOMAIN")) is not None:
        search = local.split()
    if search is None:
        _, dot, domain = socket.gethostname().partition(".")
        search = [domain] if dot and domain else []
    options += environment.get("RES_OPTIONS", "").split()
    domains = tuple(domain.strip(".").lower() for domain in search)
    found = Resolv(servers=tuple(servers[:MOST_SERVERS]) or ("127.0.0.1",), search=domains)
    for option in options:
        found = _with(found, option)
    return found


def read_services(text: str) -> tuple[Service, ...]:
    """The `hosts` line of nsswitch.conf(5); without one the C library's `files dns`."""
    for line in text.splitlines():
        database, colon, rest = line.partition("#")[0].partition(":")
        if colon and database.strip().lower() == "hosts":
            return tuple(_services(rest)) or HostNames().services
    return HostNames().services


def read_hosts(text: str) -> Mapping[str, tuple[bytes, ...]]:
    """hosts(5): the addresses of each name, in the order of the lines."""
    found: dict[str, dict[bytes, None]] = {}
    for line in text.splitlines():
        address, *names = line.partition("#")[0].split() or [""]
        packed = packed_address(address.partition("%")[0])
        for name in names if packed is not None else ():
            assert packed is not None
            found.setdefault(name.lower().removesuffix("."), {})[packed] = None
    return {name: tuple(addresses) for name, addresses in found.items()}


def _services(text: str) -> Sequence[Service]:
    found: list[Service] = []
    for word in re.findall(r"\[[^\]]*\]|[^\s\[\]]+", text):
        if not word.startswith("["):
            found.append(Service(word.lower()))
        elif found:
            found[-1] = replace(found[-1], returns=_returns(found[-1].returns, word[1:-1]))
    return found


def _returns(returns: frozenset[str], actions: str) -> frozenset[str]:
    """After `[STATUS=action ...]`, `!` meaning all but one."""
    for action in re.sub(r"\s*=\s*", "=", actions.lower()).split():
        status, _, what = action.partition("=")
        every = {"success", "notfound", "unavail", "tryagain"}
        about = every - {status[1:]} if status.startswith("!") else {status} & every
        returns = returns | about if what == "return" else returns - about
    return returns


def _with(resolv: Resolv, option: str) -> Resolv:
    name, _, text = option.partition(":")
    number = int(text[:4]) if text.isascii() and text.isdigit() else None
    match name:
        case "ndots" if number is not None:
            return replace(resolv, ndots=min(number, MOST_NDOTS))
        case "timeout" if number is not None:
            return replace(resolv, timeout=float(min(max(number, 1), MOST_TIMEOUT)))
        case "attempts" if number is not None:
            return replace(resolv, attempts=min(max(number, 1), MOST_ATTEMPTS))
        case "rotate":
            return replace(resolv, rotate=True)
        case "edns0":
            return replace(resolv, edns=True)
        case "trust-ad":
            return replace(resolv, trusts=True)
        case "use-vc":
            return replace(resolv, tcp=True)
        case "single-request" | "single-request-reopen":
            return replace(resolv, single=True)
        case "no-aaaa":
            return replace(resolv, ipv6=False)
        case "no-tld-query":
            return replace(resolv, top=False)
    return resolv


def _is_server(text: str) -> bool:
    try:
        ipaddress.ip_address(text)  # a zone (%) may stand behind it
    except ValueError:
        return False
    return True


def _sign(path: Path) -> object:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_dev, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _text(path: Path) -> str | None:
    """A file that cannot be read says nothing, as to the C library; None: there is none."""
    try:
        with path.open("rb") as file:
            return file.read(MOST_BYTES).decode("utf-8", "replace")
    except FileNotFoundError:
        return None
    except OSError:
        return ""
