"""Who may use an inbound."""

from __future__ import annotations

from byway.values.limit import Limit
from byway.values.section import Section
from byway.values.texts import Password, UserName


class User(Section):
    """Who may use an inbound."""

    name: UserName
    """What the client calls itself: 1 to 255 bytes."""
    password: Password
    """1 to 255 bytes."""
    limit: Limit | None = None
    """What its flows may use here, all together."""
