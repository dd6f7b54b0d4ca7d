"""A user of an inbound."""

from __future__ import annotations

from byway.values.limit import Limit
from byway.values.section import Section
from byway.values.texts import Password, UserName


class Named(Section):
    """A user of an inbound, by whatever it is known."""

    name: UserName
    """The user name: 1 to 255 bytes."""
    limit: Limit | None = None
    """The limit shared by all its flows here."""


class User(Named):
    """A user of an inbound, who has a password."""

    password: Password
    """1 to 255 bytes."""
