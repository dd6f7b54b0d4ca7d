"""The private prefixes of other programs; each set differs from `private` here."""

from __future__ import annotations

from byway.rules.matchers import PrefixSet
from byway.values.prefix import Prefix

LAN = (
    *("0.0.0.0/32", "10.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
    *("192.168.0.0/16", "224.0.0.0/4", "::/127", "fc00::/7", "fe80::/10", "ff00::/8"),
)
"""Clash's `GEOIP,LAN`, sing-box's `ip_is_private`."""
RESERVED = (
    *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16"),
    *("172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16"),
    *("198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3"),
    *("::/127", "fc00::/7", "fe80::/10", "ff00::/8"),
)
"""The country `private` of the usual geoip databases: what is kept for special use, too."""


def named(word: str) -> tuple[str, ...] | None:
    """The prefixes that one of these words stands for where a country could be; None: none does."""
    return {"lan": LAN, "private": RESERVED}.get(word.lower())


def prefixes(texts: tuple[str, ...]) -> PrefixSet:
    """Them to be asked for."""
    return PrefixSet(tuple(map(Prefix.parse, texts)))
