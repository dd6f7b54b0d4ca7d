"""How `mux:` is read at either end: the section that its `type` names."""

from __future__ import annotations

from typing import Annotated

from byway import muxes
from byway.muxes.card import MuxIn, MuxOut
from byway.values.by_type import ByType

MuxOutSection = Annotated[
    MuxOut, ByType("mux", muxes.TABLE, lambda word: muxes.card(word).outbound)
]
MuxInSection = Annotated[MuxIn, ByType("mux", muxes.TABLE, lambda word: muxes.card(word).inbound)]
