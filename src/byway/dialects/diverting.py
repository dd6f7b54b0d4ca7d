"""What the inbounds for diverted flows have in common: their listeners are addresses, open to
nobody who is not diverted there."""

from __future__ import annotations

from typing import ClassVar

from byway.dialects.card import In
from byway.values.problems import Path, Problems
from byway.values.written import Node


class Diverting(In):
    """An inbound that a firewall diverts flows to."""

    diverts: ClassVar[bool] = True
    keeps_strangers_out: ClassVar[bool] = True  # what was sent to the listener itself is refused

    @classmethod
    def check(cls, path: Path, node: Node, problems: Problems) -> None:
        """Note what does not fit together in what was written."""
        listen = node.get("listen")
        for at, item in enumerate(listen.items() if listen is not None else []):
            if isinstance(item.content, str) and item.content.startswith("unix:"):
                message = "a firewall diverts to an address and a port, not to a unix socket"
                problems.add((*path, "listen", at), message)
