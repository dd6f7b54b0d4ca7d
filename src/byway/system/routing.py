"""Routes and the rules that choose between tables of them, as changes of the host. By netlink.

All bear Byway's number as their origin, by which `ip` shows them; what bears another is never
touched.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from byway.system.plan import Change, Fields, HostError

ORIGIN = 215
"""The routing protocol (rtnetlink(7)) that marks what is Byway's."""
MAIN = 254
"""The table that every host has."""

_GONE = (errno.ENOENT, errno.ESRCH, errno.ENODEV)


@dataclass(frozen=True, slots=True)
class Rule(Change):
    """A rule of a family (4, 6): packets of this mark, to or from this prefix, of this user, to
    this port, that come by this link (`lo`: this host's own) look into a table; without one they
    are unreachable. `unless_default`: what the table says by its default route does not count."""

    kind: ClassVar[str] = "rule"

    family: int
    priority: int
    table: int = 0
    mark: int = 0
    to: str = ""
    source: str = ""
    uid: int = -1
    port: int = 0
    link: str = ""
    unless_default: bool = False

    def describe(self) -> str:
        """As `ip rule` takes it."""
        words = [f"ip -{self.family} rule add priority {self.priority}"]
        words += [f"from {self.source}"] if self.source else []
        words += [f"to {self.to}"] if self.to else []
        words += [f"fwmark {self.mark:#x}"] if self.mark else []
        words += [f"iif {self.link}"] if self.link else []
        words += [f"uidrange {self.uid}-{self.uid}"] if self.uid >= 0 else []
        words += [f"dport {self.port}"] if self.port else []
        words.append(f"lookup {_name(self.table)}" if self.table else "unreachable")
        words += ["suppress_prefixlength 0"] if self.unless_default else []
        return " ".join(words)

    def apply(self) -> None:
        """Add it. Raises HostError."""
        _ask(lambda ip: ip.rule("add", **self._asked()), self.describe())

    def undo(self) -> None:
        """Remove it. Raises HostError."""
        _ask(lambda ip: ip.rule("del", **self._asked()), f"undo: {self.describe()}", _GONE)

    def fields(self) -> Fields:
        """What it is made of."""
        return asdict(self)

    def _asked(self) -> dict[str, Any]:
        asked: dict[str, Any] = {
            "family": _family(self.family),
            "priority": self.priority,
            "FRA_PROTOCOL": ORIGIN,
            "action": "to_tbl" if self.table else "unreachable",
        }
        if self.table:
            asked["table"] = self.table
        if self.mark:
            asked["fwmark"] = self.mark
        for key, text in (("dst", self.to), ("src", self.source)):
            if text:
                network = ipaddress.ip_network(text)
                asked[key], asked[f"{key}_len"] = str(network.network_address), network.prefixlen
        if self.link:
            asked["iifname"] = self.link
        if self.uid >= 0:
            asked["uid_range"] = f"{self.uid}:{self.uid}"
        if self.port:
            asked["dport_range"] = f"{self.port}:{self.port}"
        if self.unless_default:
            asked["FRA_SUPPRESS_PREFIXLEN"] = 0
        return asked


@dataclass(frozen=True, slots=True)
class Route(Change):
    """A route of a family: a prefix by a link, in a table. It goes with its link."""

    kind: ClassVar[str] = "route"

    family: int
    prefix: str
    link: str
    table: int

    def describe(self) -> str:
        """As `ip route` takes it."""
        to = "default" if self.prefix.endswith("/0") else self.prefix
        return f"ip -{self.family} route add {to} dev {self.link} table {_name(self.table)}"

    def apply(self) -> None:
        """Add it. Raises HostError."""
        _ask(lambda ip: ip.route("add", **self._asked(ip)), self.describe())

    def undo(self) -> None:
        """Remove it. Raises HostError."""
        _ask(lambda ip: ip.route("del", **self._asked(ip)), f"undo: {self.describe()}", _GONE)

    def fields(self) -> Fields:
        """What it is made of."""
        return asdict(self)

    def _asked(self, ip: Any) -> dict[str, Any]:
        found = ip.link_lookup(ifname=self.link)
        if not found:
            raise OSError(errno.ENODEV, f"there is no link {self.link}")
        return {
            "family": _family(self.family),
            "dst": self.prefix,
            "oif": found[0],
            "table": self.table,
            "proto": ORIGIN,
        }


def priorities(family: int) -> Sequence[int]:
    """The priorities that rules of a family have."""
    found: list[int] = []
    _ask(
        lambda ip: found.extend(
            rule.get_attr("FRA_PRIORITY") or 0 for rule in ip.get_rules(family=_family(family))
        ),
        "ip rule show",
    )
    return found


def addresses() -> Sequence[tuple[str, str]]:
    """The links of this host, each with every address of it and its length."""
    found: list[tuple[str, str]] = []

    def look(ip: Any) -> None:
        names = {link["index"]: link.get_attr("IFLA_IFNAME") for link in ip.get_links()}
        for one in ip.get_addr():
            address = one.get_attr("IFA_LOCAL") or one.get_attr("IFA_ADDRESS")
            if address:
                found.append((names.get(one["index"], ""), f"{address}/{one['prefixlen']}"))

    _ask(look, "ip address show")
    return found


def _ask(work: Any, what: str, fine: Sequence[int] = ()) -> None:
    """Have the kernel do something; errors in `fine` say that it is so already."""
    from pyroute2 import IPRoute
    from pyroute2.netlink.exceptions import NetlinkError

    try:
        with IPRoute() as ip:
            work(ip)
    except NetlinkError as error:
        if error.code not in fine:
            hint = "run Byway as root, or with CAP_NET_ADMIN" if error.code == errno.EPERM else ""
            raise HostError(f"{what}: {_words(error)}", hint) from error
    except OSError as error:
        if error.errno not in fine:
            raise HostError(f"{what}: {(error.strerror or str(error)).lower()}") from error


def _words(error: Any) -> str:
    text = error.args[1] if len(error.args) > 1 else str(error)
    return str(text).lower()


def _family(version: int) -> int:
    return socket.AF_INET if version == 4 else socket.AF_INET6


def _name(table: int) -> str:
    return "main" if table == MAIN else str(table)
