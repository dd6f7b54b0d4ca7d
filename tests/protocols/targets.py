"""Targets of every kind, for properties."""

from __future__ import annotations

from hypothesis import strategies as st

from byway.flow import Target

_LABELS = st.from_regex(r"[a-z_]([a-z0-9-]{0,20}[a-z])?", fullmatch=True)
PORTS = st.integers(0, 65535)


def targets() -> st.SearchStrategy[Target]:
    """Names, IPv4 and IPv6 addresses with any port."""
    return ipv4() | names() | st.builds(_packed, st.binary(min_size=16, max_size=16), PORTS)


def ipv4() -> st.SearchStrategy[Target]:
    """IPv4 addresses with any port."""
    return st.builds(_packed, st.binary(min_size=4, max_size=4), PORTS)


def names() -> st.SearchStrategy[Target]:
    """Host names with any port."""
    hosts = st.lists(_LABELS, min_size=1, max_size=5).map(".".join)
    return st.builds(Target.of, hosts, PORTS)


def _packed(data: bytes, port: int) -> Target:
    return Target.from_packed(data, port)
