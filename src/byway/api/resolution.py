"""How one name is, or would be, resolved: as plain data, and in words."""

from __future__ import annotations

from byway.api.rules import View, rule_view
from byway.dns.resolution import Resolution
from byway.flow import Target


def resolution_view(found: Resolution) -> View:
    """How a name is, or would be, resolved."""
    return {
        "name": found.name,
        "led": found.led or None,
        "addresses": [Target.from_packed(packed, 0).host for packed in found.addresses],
        "source": found.source,
        "servers": list(found.servers),
        "rule": None if found.rule is None else rule_view(found.rule),
        "left": None if found.left is None else round(found.left, 1),
        "seconds": round(found.seconds, 4),
        "error": found.error or None,
        "words": words(found),
    }


def words(found: Resolution) -> str:
    """The source of the answer, or the servers that would be queried."""
    who = " or ".join(found.servers)
    if found.source == "hosts":
        return "hosts"
    if found.source == "cache":
        left = found.left or 0.0
        fresh = f"fresh for {left:.0f} s" if left > 0 else "expired, being refreshed"
        return f"the cache, from {who}; {fresh}"
    if found.source == "server":
        return f"{who}, in {found.seconds * 1000:.0f} ms"
    return f"{who} would be queried"
