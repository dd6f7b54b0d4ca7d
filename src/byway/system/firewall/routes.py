"""The route of what is diverted: packets with that mark are for this host itself, whatever their
target (tproxy). Set up by the program ip; nothing else uses the mark or the table."""

from __future__ import annotations

import ipaddress
import json
import shlex
import subprocess
from collections.abc import Iterator, Sequence

from byway.system.firewall.programs import ended, program, run
from byway.system.marks import DIVERTED

_TABLE = str(DIVERTED)
_MARK = f"{DIVERTED:#x}"
_ROUTE = ("local", "default", "dev", "lo")
_FIRST = 7000  # priorities: before those of the main table, and of other tunnels


class Diverted:
    """The routes of these families (`4`, `6`), there as long as this process is: a shell in a
    session of its own waits for the end of a pipe, and removes them. `close` does so at once."""

    def __init__(self, families: Sequence[str]) -> None:
        """Raises FirewallError, with all as it was."""
        self.families = tuple(families)
        self._guard = subprocess.Popen(
            ["sh", "-c", "cat >/dev/null; " + "; ".join(_undoing(self.families))],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            for family in self.families:
                _divert(family)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Remove them. Idempotent. Raises FirewallError where they cannot be removed."""
        ended(self._guard)
        undo(self.families)  # the shell says nothing of what it could not do


def undo(families: Sequence[str]) -> None:
    """Remove what is there of these families. Raises FirewallError."""
    for family in families:
        for rule in json.loads(_ip(family, "-j", "rule", "show", "table", _TABLE)):
            if rule.get("fwmark") == _MARK:
                _ip(family, "rule", "del", "priority", str(rule["priority"]), "fwmark", _MARK)
        for line in _ip(family, "route", "show", "table", "all").splitlines():
            if f"{line} ".startswith(f"{' '.join(_ROUTE)} table {_TABLE} "):
                _ip(family, "route", "del", *_ROUTE, "table", _TABLE)


def _divert(family: str) -> None:
    undo([family])  # what a Byway left that had no time to undo it
    taken = {int(rule["priority"]) for rule in json.loads(_ip(family, "-j", "rule", "show"))}
    free = next(number for number in range(_FIRST, 32766) if number not in taken)
    _ip(family, "rule", "add", "priority", str(free), "fwmark", _MARK, "lookup", _TABLE)
    _ip(family, "route", "add", *_ROUTE, "table", _TABLE)


def _undoing(families: Sequence[str]) -> Iterator[str]:
    """The same as `undo`, for a shell."""
    for family in families:
        ip = f"{shlex.quote(program('ip'))} -{family}"
        yield f"{ip} rule del fwmark {_MARK} lookup {_TABLE}"
        yield f"{ip} route del {' '.join(_ROUTE)} table {_TABLE}"


def links() -> Iterator[tuple[str, str]]:
    """The links of this host but `lo`, each with the prefix of each of its addresses."""
    for link in json.loads(_ip("", "-j", "address", "show")):
        for address in link.get("addr_info", ()):
            if link["ifname"] != "lo" and "local" in address:
                network = ipaddress.ip_network(f"{address['local']}/{address['prefixlen']}", False)
                yield link["ifname"], str(network)


def _ip(family: str, *words: str) -> str:
    return run("ip", [*([f"-{family}"] if family else []), *words]) or "[]"
