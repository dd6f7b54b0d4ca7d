"""The common part of plain proxies: users of an inbound, a login at an outbound, TLS on both."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

from byway.dialects import reach
from byway.dialects.card import In, Lent, Out
from byway.dialects.reach import Carrying, Streamed
from byway.flow import Target
from byway.inbounds.entry import Entry, Greet
from byway.inbounds.listener import StreamInbound
from byway.protocols.credentials import verifier
from byway.values.problems import Path, Problems
from byway.values.texts import OneOrMany, Password, UserName
from byway.values.tls import ServerTls
from byway.values.user import User
from byway.values.written import Node

if TYPE_CHECKING:
    from byway.engine import ListenOptions
    from byway.inbounds.entry import Means
    from byway.interfaces import Inbound


class Open(In):
    """An inbound that may be open to everybody."""

    open: bool = False
    """Allow anyone who can reach a listener beyond loopback, without users."""


class WithUsers(Open, Carrying):
    """An inbound for connections that may have users and TLS."""

    users: Annotated[tuple[User, ...], OneOrMany(empty=True)] = ()
    """Its users. None: open to everybody, which requires `open: true` beyond loopback."""
    tls: ServerTls | None = None
    """Use TLS."""

    @property
    def known_users(self) -> tuple[User, ...]:
        """Its users, by name."""
        return self.users

    @classmethod
    def check(cls, path: Path, node: Node, problems: Problems) -> None:
        """Note what does not fit together in what was written."""
        super().check(path, node, problems)
        reach.check_tls((*path, "tls"), node.get("tls"), problems)

    @abstractmethod
    def greet(self, entry: Entry) -> Greet:
        """How clients are greeted."""

    def inbound(self, name: str, means: Means, options: ListenOptions, lent: Lent) -> Inbound:
        """The server's end. Raises OSError for a file that is not what it should be."""
        users = {user.name: user.password.get_secret_value() for user in self.users}
        verify = verifier(users) if users else None
        entry = Entry(name, means, verify, self.guarded, self.inner)
        elsewhere = self.elsewhere(entry, lent)
        greet = reach.dressed(entry, self.tls, self.transport, self.greet(entry), elsewhere)
        return StreamInbound(entry, self.places(), greet, options)

    def invited(self, server: Target) -> Iterator[tuple[str, Out]]:
        """An outbound for each user, or the one for everybody."""
        for key in ("tls", "transport"):
            if getattr(self, key) is not None:
                raise ValueError(f"a link cannot express {key}")
        for user in self.users:
            yield user.name, self._invited(server, user)
        if not self.users:
            yield "", self._invited(server, None)

    @abstractmethod
    def _invited(self, server: Target, user: User | None) -> Out: ...


class LoggedIn(Streamed):
    """An outbound that may log in."""

    username: UserName | None = None
    """The user name there: 1 to 255 bytes."""
    password: Password | None = None
    """1 to 255 bytes."""
    udp_over_tcp: bool = False
    """Send UDP inside a TCP connection; the server must support it (sing-box does)."""

    @classmethod
    def check(cls, path: Path, node: Node, problems: Problems) -> None:
        """Note what does not fit together in what was written."""
        super().check(path, node, problems)
        if node.get("password") is not None and node.get("username") is None:
            problems.add((*path, "password"), "a password without a username", "add username")

    @property
    def packets_in_stream(self) -> bool:
        """Whether packets ride inside a stream to the server."""
        return self.udp_over_tcp or self.mux is not None

    @property
    def secret(self) -> str | None:
        """The password as the protocol takes it."""
        return None if self.password is None else self.password.get_secret_value()
