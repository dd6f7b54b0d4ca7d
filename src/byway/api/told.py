"""How one name is, or would be, resolved: as plain data, and in words."""

from __future__ import annotations

from byway.api.rules import View, rule_view
from byway.dns.told import Told
from byway.flow import Target


def told_view(told: Told) -> View:
    """How a name is, or would be, resolved."""
    return {
        "name": told.name,
        "led": told.led or None,
        "addresses": [Target.from_packed(packed, 0).host for packed in told.addresses],
        "source": told.source,
        "servers": list(told.servers),
        "rule": None if told.rule is None else rule_view(told.rule),
        "left": None if told.left is None else round(told.left, 1),
        "seconds": round(told.seconds, 4),
        "error": told.error or None,
        "words": words(told),
    }


def words(told: Told) -> str:
    """From where it is known, or who would be asked."""
    who = " or ".join(told.servers)
    if told.source == "hosts":
        return "hosts"
    if told.source == "cache":
        left = told.left or 0.0
        fresh = f"fresh for {left:.0f} s" if left > 0 else "expired, being refreshed"
        return f"the cache, from {who}; {fresh}"
    if told.source == "server":
        return f"{who}, in {told.seconds * 1000:.0f} ms"
    return f"{who} would be queried"
