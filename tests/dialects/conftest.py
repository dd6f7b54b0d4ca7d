"""A protocol and a transport that only tests know, by a line in each table."""

from __future__ import annotations

import pytest

from byway import dialects, transports
from byway.dialects.card import Line


@pytest.fixture(autouse=True)
def toys(monkeypatch: pytest.MonkeyPatch) -> None:
    """The toy protocol and the knocking transport, in the tables for the length of a test."""
    monkeypatch.setitem(dialects.TABLE, "toy", Line("tests.dialects.toy", schemes=("toy",)))
    monkeypatch.setitem(transports.TABLE, "knock", "tests.transports.knock")
