"""What a Byway that was killed left in the firewall, and its removal: for the next start, and for
whoever sees to a host."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence

from byway.system.firewall import nft, routes, strict, taking
from byway.system.firewall.table import TAG, FirewallError

_TABLES = (taking.NAME, strict.NAME)
_OWNER = re.compile(r"\(pid ([0-9]{1,10})\)")


def about(words: str) -> str:
    """What a table of this process says of itself."""
    return f"{words} (pid {os.getpid()})"


def check_room(name: str) -> None:
    """A table of this name may be replaced. Raises FirewallError where a Byway that runs has it, or
    it is no table of Byway's."""
    tag = nft.tag_of(name)
    if tag is None:
        return
    owner = _runs(tag)
    if owner is not None and owner != os.getpid():
        raise FirewallError(
            f"another Byway (pid {owner}) has set up the firewall", "end that one first"
        )
    if not tag.startswith(TAG):
        raise FirewallError(f"the nftables table {name} is not Byway's: it has no tag")


def make_room(name: str) -> None:
    """Remove a table that a former Byway left. Raises FirewallError as `check_room`."""
    check_room(name)
    nft.remove(name)


def tables() -> Iterator[tuple[str, str]]:
    """The tables whose Byway has ended, each with what it says of itself. Raises FirewallError."""
    for name in _TABLES:
        tag = nft.tag_of(name)
        if tag is not None and tag.startswith(f"{TAG}: ") and _runs(tag) is None:
            yield name, tag.removeprefix(f"{TAG}: ")


def remove() -> Sequence[str]:
    """Remove what ended Byways left; what was there, in words. Raises FirewallError."""
    removed = []
    for name, words in tables():
        nft.remove(name)
        removed.append(f"nftables table {name}: {words}")
    if nft.tag_of(taking.NAME) is None:  # no Byway needs it
        routes.undo("46")
    return removed


def _runs(tag: str) -> int | None:
    """The process that a tag names, if it is there."""
    found = _OWNER.search(tag)
    if found is None or not os.path.exists(f"/proc/{found[1]}"):
        return None
    return int(found[1])
