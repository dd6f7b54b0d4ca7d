"""Conditions on the device that a flow came from."""

from __future__ import annotations

from dataclasses import dataclass

from byway.flow import Flow
from byway.rules.matchers import Answer
from byway.rules.verdicts import Fact, Facts


@dataclass(frozen=True, slots=True)
class SourceMac:
    """The device that it came from has one of these MAC addresses (in lower case, with colons)."""

    macs: frozenset[str]

    def match(self, flow: Flow, facts: Facts) -> Answer:
        return Fact.MAC if facts.mac is None else facts.mac in self.macs
