"""nftables as values, and their text in nft's language (nft(8)).

A rule is a line of that language: it is what people read in `nft list ruleset`, and what `--plan`
prints. What comes from a config (prefixes, names of interfaces) goes through the functions here,
which let nothing else through.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import cast

from byway.errors import BywayError
from byway.flow import frozen

TAG = "byway"
"""Begins the comment of every table that is Byway's."""


class FirewallError(BywayError):
    """The host's firewall cannot do what is needed: what, and in the hint what would help."""


_NAME = re.compile(r"[a-z][a-z0-9_]{0,30}")
_INTERFACE = re.compile(r"[^\s/\"\\*{}]{1,15}\*?")


@frozen
class Hook:
    """Where the kernel runs a chain: its type, hook and priority, and what it does at the end."""

    kind: str  # filter, nat, route
    point: str  # prerouting, input, forward, output, postrouting
    priority: int
    policy: str = "accept"


@frozen
class Chain:
    """Rules in order; without a hook, for other chains to go to."""

    name: str
    rules: tuple[str, ...]
    hook: Hook | None = None


@frozen
class Set:
    """Elements of one type; `interval`: they are prefixes or ranges."""

    name: str
    of: str  # ipv4_addr, ipv6_addr, inet_service, ether_addr ...
    elements: tuple[str, ...]
    interval: bool = True


@frozen
class Table:
    """A table of the family inet. `about` says in a few words what it is for."""

    name: str
    about: str
    chains: tuple[Chain, ...]
    sets: tuple[Set, ...] = ()

    def text(self, owned: bool = False) -> str:
        """The table in nft's language; `owned`: it vanishes with the process that loads it."""
        lines = [f"table inet {named(self.name)} {{"]
        if owned:
            lines.append("  flags owner")
        lines.append(f'  comment "{TAG}: {_about(self.about)}"')
        for one in self.sets:
            lines += _set(one)
        for chain in self.chains:
            lines += _chain(chain)
        return "\n".join([*lines, "}", ""])

    def script(self, owned: bool = False) -> str:
        """What puts it in the place of one of its name, in one transaction."""
        return f"{gone(self.name, owned)}{self.text(owned)}"

    def to_json(self) -> dict[str, object]:
        """Itself as plain data."""
        return {
            "name": self.name,
            "about": self.about,
            "chains": [
                {
                    "name": chain.name,
                    "rules": list(chain.rules),
                    "hook": None
                    if (hook := chain.hook) is None
                    else [hook.kind, hook.point, hook.priority, hook.policy],
                }
                for chain in self.chains
            ],
            "sets": [[one.name, one.of, list(one.elements), one.interval] for one in self.sets],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, object]) -> Table:
        """What `to_json` gave. Raises KeyError, TypeError or ValueError for anything else."""
        chains = cast("list[dict[str, list[object] | None]]", data["chains"])
        sets = cast("list[tuple[str, str, list[str], bool]]", data["sets"])
        return cls(
            str(data["name"]),
            str(data["about"]),
            tuple(
                Chain(
                    str(chain["name"]),
                    tuple(map(str, chain["rules"] or ())),
                    None if (hook := chain["hook"]) is None else _hook(hook),
                )
                for chain in chains
            ),
            tuple(Set(name, of, tuple(found), interval) for name, of, found, interval in sets),
        )


def gone(name: str, owned: bool = False) -> str:
    """What removes a table, whether it is there or not."""
    flags = "{ flags owner; }" if owned else ""
    return f"add table inet {named(name)} {flags}\ndelete table inet {name}\n"


def named(name: str) -> str:
    """A name of a table, chain or set. Raises ValueError for what is none."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no name for nftables")
    return name


def interface(name: str) -> str:
    """An interface's name in quotes; with * at its end, all that begin so. Raises ValueError."""
    if not _INTERFACE.fullmatch(name):
        raise ValueError(f"{name!r} is no name of an interface")
    return f'"{name}"'


def interfaces(names: Iterable[str]) -> str:
    """Several of them, as one set."""
    return f"{{ {', '.join(interface(name) for name in sorted(set(names)))} }}"


def by_family(prefixes: Iterable[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Prefixes of IPv4 and of IPv6, each in its canonical form, none inside another. Raises
    ValueError for what is no prefix."""
    v4, v6 = list[ipaddress.IPv4Network](), list[ipaddress.IPv6Network]()
    for text in prefixes:
        network = ipaddress.ip_network(text, strict=False)
        if isinstance(network, ipaddress.IPv4Network):
            v4.append(network)
        else:
            v6.append(network)
    return (
        tuple(map(str, ipaddress.collapse_addresses(v4))),
        tuple(map(str, ipaddress.collapse_addresses(v6))),
    )


def address_sets(name: str, prefixes: Iterable[str]) -> tuple[Set, Set]:
    """The sets NAME4 and NAME6 of these prefixes."""
    v4, v6 = by_family(prefixes)
    return Set(f"{name}4", "ipv4_addr", v4), Set(f"{name}6", "ipv6_addr", v6)


def _set(one: Set) -> Iterator[str]:
    yield f"  set {named(one.name)} {{"
    yield f"    type {one.of}"
    if one.interval:
        yield "    flags interval"
    if one.elements:
        yield f"    elements = {{ {', '.join(one.elements)} }}"
    yield "  }"


def _chain(chain: Chain) -> Iterator[str]:
    yield f"  chain {named(chain.name)} {{"
    if (hook := chain.hook) is not None:
        yield f"    type {hook.kind} hook {hook.point} priority {hook.priority};" + (
            f" policy {hook.policy};"
        )
    for rule in chain.rules:
        yield f"    {rule}"
    yield "  }"


def _hook(fields: list[object]) -> Hook:
    kind, point, priority, policy = fields
    if not isinstance(priority, int):
        raise TypeError("a priority is a number")
    return Hook(str(kind), str(point), priority, str(policy))


def _about(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9 .,:_()/-]", "?", text)[:100]
