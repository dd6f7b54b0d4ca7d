"""Passwords of servers whose clients tell nothing else of themselves."""

from __future__ import annotations

from byway.values.problems import Path, Problems
from byway.values.written import Node

SECRET_BYTES = 24
"""Random bytes of a new password that is no key; 192 bits cannot be guessed."""


def check_passwords(path: Path, inbound: Node, problems: Problems) -> None:
    """Users are told apart by their passwords alone."""
    users, seen = inbound.get("users"), set()
    for at, user in enumerate(users.items() if users is not None else []):
        password = user.text("password")
        if password is None:
            continue
        if password in seen:
            where = (*path, "users", at, "password")
            problems.add(
                where, "another user has this password", "each user needs another password"
            )
        seen.add(password)
