"""HTTP and SOCKS on one port; there is no protocol of its own."""

from __future__ import annotations

from typing import ClassVar, Literal

from byway.dialects.card import Card, Out, Theirs
from byway.dialects.foreign_plain import into_clash, into_sing_box
from byway.dialects.http import check_users
from byway.dialects.login import WithUsers
from byway.dialects.socks import SocksOutbound
from byway.flow import Target
from byway.inbounds.entry import Entry, Greet
from byway.inbounds.mixed import Mixed
from byway.values.problems import Path, Problems
from byway.values.user import User
from byway.values.written import Node


class MixedInbound(WithUsers):
    """HTTP, SOCKS4, SOCKS4a and SOCKS5 on one port."""

    program_schemes: ClassVar[tuple[str, str]] = ("http", "socks5h")

    type: Literal["mixed"]

    @classmethod
    def check(cls, path: Path, node: Node, problems: Problems) -> None:
        """Note what does not fit together in what was written."""
        super().check(path, node, problems)
        check_users(path, node, problems)

    def greet(self, entry: Entry) -> Greet:
        """In the protocol that a client begins with."""
        return Mixed(entry).greet

    def _invited(self, server: Target, user: User | None) -> Out:
        return SocksOutbound.of(server, user)


CARD = Card(
    MixedInbound,
    clash=Theirs(entering={"mixed": into_clash("mixed")}, ports=("mixed-port",)),
    sing_box=Theirs(entering={"mixed": into_sing_box("mixed")}),
)
