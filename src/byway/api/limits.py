"""Limits of flows as plain data: their terms, and how far they are used."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from byway.flow import Flow
from byway.ledger.limits import Limit, Limiter, Terms, names_for
from byway.rules import Verdict, Via

View = dict[str, object]


def limit_views(limits: Limiter) -> Sequence[View]:
    """Every limit. What it does not say is null; rates in bytes per second, times in seconds."""
    return [_view(limits, limit) for limit in limits.all]


def _view(limits: Limiter, limit: Limit) -> View:
    terms, bucket = limit.terms, limit.bucket
    up, down, waits, dropped = bucket.seen()
    return {
        "name": terms.name,
        "place": terms.place,
        "up": terms.up,
        "down": terms.down,
        "quota": terms.quota,
        "per": terms.per,
        "flows": terms.flows,
        "live": limit.live,
        "used": bucket.used,
        "spent": bucket.spent,
        "left": limits.left(limit),
        "moved_up": up,
        "moved_down": down,
        "waits": waits,
        "dropped": dropped,
        "refused": limit.refused,
    }


def offered_to(
    terms: Iterable[Terms], flow: Flow, verdict: Verdict | None, way: Sequence[str]
) -> Sequence[str]:
    """The limits that a flow is under by such a verdict and way, each with its place."""
    if not isinstance(verdict, Via):
        return []
    known = {one.name: str(one) for one in terms}
    return [known[name] for name in names_for(flow, verdict.rule, way) if name in known]
