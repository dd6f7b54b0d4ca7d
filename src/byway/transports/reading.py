"""How `transport:` is read: the section that its `type` names."""

from __future__ import annotations

from typing import Annotated

from byway import transports
from byway.transports.card import Transport
from byway.values.by_type import ByType

TransportSection = Annotated[
    Transport, ByType("transport", transports.TABLE, lambda word: transports.transport(word))
]
