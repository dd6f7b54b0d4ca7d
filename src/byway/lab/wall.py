"""The wall between two sides of a lab, as people meet them: it drops, lies, resets, and records."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable
from ipaddress import ip_network
from pathlib import Path
from shutil import copyfile
from typing import TYPE_CHECKING

from byway.lab.capture import Capture
from byway.lab.host import Host, Router, addresses_of
from byway.lab.process import Process
from byway.lab.wiring import Node

if TYPE_CHECKING:
    from byway.lab.premises import Premises

# Where a forged answer leads: addresses of nobody (not even routed in the lab).
NOWHERE = ("192.0.2.254", "2001:db8:bad::1")
WEB_PORTS = (80, 443)


class Wall(Router):
    """A router that looks. Its first port is its inside, where its observer listens.

    Three ways to stop you: `drop` (packets to and from an address vanish, by nft), `forge` (the
    answer to a DNS query is forged) and `reset` (connections that name a host in TLS SNI or HTTP
    Host are reset). The last two are the work of an observer beside the road that can only inject;
    its lies win because the truth has farther to come, so put the outside behind a link with a
    `delay` of some milliseconds. Everything it hears is recorded, within a bound.
    """

    def __init__(self, lab: Premises, node: Node) -> None:
        super().__init__(lab, node)
        self._observer: Process | None = None
        self._orders = 0
        self._dropped: list[Host | str] = []
        self._names: list[str] = []
        self._forged: list[str] = []
        self._hosts: list[str] = []
        self._ports: list[int] = []

    def drop(self, *targets: Host | str) -> None:
        """Drop what goes to or comes from these hosts, addresses or prefixes."""
        self._dropped += targets
        self._apply()

    def forge(self, *names: str, to: Iterable[str] = NOWHERE) -> None:
        """Answer queries for these names, and all below, with these addresses instead."""
        self._names += names
        self._forged = list(to)
        self._apply()

    def reset(self, *names: str, ports: Iterable[int] = WEB_PORTS) -> None:
        """Reset connections that ask for these names, or any below; no ports: on every port."""
        self._hosts += names
        self._ports = list(ports)
        self._apply()

    def relent(self) -> None:
        """Drop, forge and reset nothing any more."""
        self._dropped, self._names, self._hosts = [], [], []
        self._apply()

    def capture(self) -> Capture:
        """All that was heard until now."""
        self.lab.settle()
        lost = self._order({"flush": True})
        return Capture.read(self._pcap, lost)

    def forget(self) -> None:
        """Start the capture anew."""
        self.lab.settle()
        self._order({"forget": True})

    def save(self, path: Path) -> None:
        """Write what was heard as a pcap file, for tcpdump or Wireshark."""
        self.lab.settle()
        self._order({"flush": True})
        copyfile(self._pcap, path)

    def open(self) -> None:
        """Start to watch; the lab calls this when the wall's devices exist. Idempotent."""
        if self._observer is None and self.node.ports:
            device = self.node.ports[0].device
            argv = [sys.executable, "-m", "byway.lab.servers.observer", device, str(self._pcap)]
            self._observer = self.start_nowait(argv, stdin=subprocess.PIPE)
            self._observer.wait_for("^ready")
            self._apply()

    @property
    def _pcap(self) -> Path:
        return self.space.directory / "capture.pcap"

    def _apply(self) -> None:
        if self._observer is None:
            return
        self.space.script(f"nft -f - <<'END'\n{_table(addresses_of(self._dropped))}\nEND\n")
        rules = {"names": self._names, "forged": self._forged, "hosts": self._hosts}
        self._order({**rules, "ports": self._ports})

    def _order(self, order: dict[str, object]) -> int:
        """Send an order and wait until it is done. Returns how many packets were not recorded."""
        if self._observer is None or self._observer.popen.stdin is None:
            raise ValueError(f"{self.name} has no links, so nothing to watch")
        self._orders += 1
        self._observer.popen.stdin.write(json.dumps(order).encode() + b"\n")
        self._observer.popen.stdin.flush()
        return int(self._observer.wait_for(rf"^done {self._orders} lost (\d+)$")[1])


def _table(dropped: list[str]) -> str:
    lines = []
    for prefix in dict.fromkeys(ip_network(one) for one in dropped):
        family = "ip" if prefix.version == 4 else "ip6"
        lines += [f"    {family} daddr {prefix} drop", f"    {family} saddr {prefix} drop"]
    rules = "\n".join(lines)
    return f"""\
table inet wall
delete table inet wall
table inet wall {{
  chain pass {{
    type filter hook forward priority -10
{rules}
  }}
}}"""
