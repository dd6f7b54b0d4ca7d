"""What a host knows of the lab that it is in."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Protocol

from byway.lab.authority import Authority
from byway.lab.process import Process
from byway.lab.space import Space
from byway.lab.wiring import Node


class Addressed(Protocol):
    """What has addresses: a host."""

    @property
    def addresses(self) -> Sequence[IPv4Address | IPv6Address]:
        """All of them."""


class Premises(Protocol):
    """The lab, as far as its hosts and what they run need it."""

    processes: list[Process]
    awaited: list[Process]
    authority: Authority

    @property
    def id(self) -> str:
        """What tells this lab from others that run now."""

    @property
    def rootless(self) -> bool:
        """Whether it runs in a user namespace, without root."""

    @property
    def directory(self) -> Path:
        """A place for files, gone with the lab; every host sees it under the same path."""

    def space_of(self, node: Node) -> Space:
        """The namespaces of a node, made on first request."""

    def name(self, name: str, *to: Addressed | str) -> None:
        """Teach the lab's DNS a name: the addresses of hosts, or address literals."""

    def settle(self) -> None:
        """Make real what was described since last time, and wait until started servers serve."""
