"""The program nft, which loads tables and tells what the kernel has.

Not netlink by ourselves: the kernel's form of a rule is a program for a small machine that changes
with versions, nft writes it for each, and the same text is what people read in `nft list ruleset`.
A table that is to vanish with its process is loaded by an `nft -i` that stays: the kernel removes
it with the socket that loaded it, and that ends with our end of a pipe, whatever ended us.
"""

from __future__ import annotations

import os
import select
import subprocess
import tempfile
import time
from collections.abc import Mapping

from byway.system.firewall.programs import WAIT, complaint, ended, program, run
from byway.system.firewall.table import TAG, FirewallError, Table, gone, named

_DONE = "byway_is_done"

FEATURES: Mapping[str, tuple[str, str]] = {
    "tproxy": (
        "type filter hook prerouting priority -150;",
        "meta l4proto udp meta mark set 1 tproxy to :1 accept",
    ),
    "redirect": ("type nat hook output priority -100;", "tcp dport 1 redirect to :1"),
    "fib": ("type filter hook prerouting priority -150;", "fib daddr type local accept"),
    "ct": ("type filter hook prerouting priority -150;", "ct direction reply ct mark 1 accept"),
    "reject": ("type filter hook output priority 0;", "reject with icmpx admin-prohibited"),
    "masquerade": ("type nat hook postrouting priority 100;", "meta mark 1 masquerade"),
    "socket": ("type filter hook prerouting priority -150;", "socket transparent 1 accept"),
}
"""What tables here need of the kernel, each as a chain and a rule that needs nothing else."""


def check(script: str) -> None:
    """Have the kernel look at a script, and change nothing. Raises FirewallError."""
    run("nft", ["-c", "-f", "-"], script)


def load(script: str) -> None:
    """Do all of a script, or nothing of it. Raises FirewallError."""
    run("nft", ["-f", "-"], script)


def missing() -> list[str]:
    """The features that this kernel lacks, by their words. Raises FirewallError as `check`."""
    lacking = []
    for name, (hook, rule) in FEATURES.items():
        try:
            check(f"table inet byway_probe {{\n chain c {{\n {hook}\n {rule}\n }}\n}}\n")
        except FirewallError:
            lacking.append(name)
    if len(lacking) == len(FEATURES):
        check("table inet byway_probe {\n}\n")  # nothing works: say why
    return lacking


def tag_of(name: str) -> str | None:
    """What a table says of itself; empty for one without a comment, None where there is none."""
    # As text: nft 1.0.6 may crash where it says in JSON that a table has an owner.
    if f"table inet {name}" not in run("nft", ["list", "tables", "inet"]).splitlines():
        return None
    return _comment(name)


def remove(name: str) -> None:
    """Remove a table if it is Byway's; one that is not there is no error. Raises FirewallError."""
    tag = tag_of(name)
    if tag is None:
        return
    if not tag.startswith(TAG):
        raise FirewallError(f"the nftables table {name} is not Byway's: it has no tag")
    load(gone(name))


class Held:
    """A table that is there as long as this process is, and no longer (`flags owner`).

    `close` removes it at once. No other program can change it meanwhile, not even by `nft flush
    ruleset`.
    """

    def __init__(self, table: Table) -> None:
        self.name = table.name
        check(table.script(owned=True))
        self._holder = subprocess.Popen(
            [program("nft"), "-i"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,  # it is written when a buffer is full: of no use here
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        try:
            self.replace(table)
        except BaseException:
            self.close()
            raise

    def replace(self, table: Table) -> None:
        """Put another one in its place, in one transaction. Raises FirewallError."""
        if table.name != self.name:
            raise ValueError("a table keeps its name")
        with tempfile.NamedTemporaryFile("w", prefix="byway-", suffix=".nft") as file:
            file.write(table.script(owned=True))
            file.flush()
            self._say(f'include "{file.name}"')

    def close(self) -> None:
        """Remove it. Idempotent."""
        holder = self._holder
        ended(holder)
        if holder.stderr is not None:
            holder.stderr.close()

    def _say(self, words: str) -> None:
        """Say it, and wait until it is done: a word that nft does not know follows, of which it
        complains at once."""
        holder = self._holder
        assert holder.stdin is not None
        assert holder.stderr is not None
        try:
            holder.stdin.write(f"{words}\n{_DONE}\n".encode())
            holder.stdin.flush()
        except OSError as error:
            raise FirewallError(f"nft has ended: {error}") from error
        until, heard = time.monotonic() + WAIT, b""
        while _DONE not in (said := heard.decode(errors="replace")):
            ready, _, _ = select.select([holder.stderr], [], [], max(0, until - time.monotonic()))
            data = os.read(holder.stderr.fileno(), 65536) if ready else b""
            if not data:
                raise FirewallError(f"nft did not load the table: {complaint(said)}")
            heard += data
        complaints = said.partition(_DONE)[0].count("Error:")
        if complaints > 1:
            raise FirewallError(f"nft did not load the table: {complaint(said)}")


def owns() -> bool:
    """Whether the kernel knows tables with an owner (Linux 5.12)."""
    try:
        check("table inet byway_probe {\n flags owner\n}\n")
    except FirewallError:
        return False
    return True


def _comment(name: str) -> str:
    """The comment of a table."""
    for line in run("nft", ["list", "table", "inet", named(name)]).splitlines():
        key, _, value = line.strip().partition(" ")
        if key == "comment":
            return value.strip('"')
        if key in ("chain", "set"):
            break
    return ""
