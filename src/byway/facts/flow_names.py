"""The names of addresses that flows were sent to: fake ones, ones that were told, sniffed ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from byway.dns.fake import FakeNames
from byway.dns.given_names import GivenNames
from byway.errors import Reason, Refused
from byway.flow import Flow, Known, Sniffed, Target
from byway.interfaces import InForce

Use = Literal["off", "judge", "dial"]


@dataclass(frozen=True, kw_only=True)
class Named:
    """What is done with a name that was found: nothing, rules see it, or it is dialled as well."""

    answers: Use = "judge"
    sniffed: Use = "off"


@dataclass(frozen=True, kw_only=True)
class Naming:
    """The part of what is in force that is read here."""

    named: Named = Named()


class FlowNames:
    """Finds them. A fake address is always replaced by its name: nobody else has it."""

    def __init__(
        self,
        in_force: InForce[Naming],
        fakes: Callable[[], FakeNames | None],
        given: GivenNames,
    ) -> None:
        self._in_force = in_force
        self._fakes = fakes
        self._given = given

    def of(self, flow: Flow) -> Flow:
        """The flow, with the name of its target where that is known. Raises Refused for a fake
        address that stands for no name any more."""
        packed = flow.target.packed
        if packed is None:
            return flow
        fakes = self._fakes()
        if fakes is not None and fakes.holds(packed):
            name = fakes.name(packed)
            if name is None:
                raise Refused(
                    f"{flow.target.host} is a fake address that stands for no name any more",
                    Reason.NAME_UNKNOWN,
                    "the program kept it for too long: have it ask for the name again",
                )
            return _dialled(flow, Known(name, "fake-ip", flow.target))
        use = self._in_force.now.named.answers
        if use == "off" or not self._given:
            return flow
        name = self._given.name(flow.source, packed)
        return flow if name is None else _with(flow, Known(name, "answer", flow.target), use)

    def sniffs(self, flow: Flow) -> bool:
        """Whether a flow's first bytes are to be heard for its name."""
        wanted = self._in_force.now.named.sniffed != "off"
        return wanted and flow.known is None and flow.target.packed is not None

    def sniffed(self, flow: Flow, found: Sniffed | None) -> Flow:
        """The flow, with the name in its first bytes."""
        if found is None or not found.name or flow.target.packed is None:
            return flow
        known = Known(found.name, "sniffed", flow.target)
        return _with(flow, known, self._in_force.now.named.sniffed)


def _with(flow: Flow, known: Known, use: Use) -> Flow:
    return _dialled(flow, known) if use == "dial" else replace(flow, known=known)


def _dialled(flow: Flow, known: Known) -> Flow:
    target = Target(known.name, flow.target.port)
    return replace(flow, target=target, known=known)
