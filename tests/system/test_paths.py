"""Where the kernel would send a packet."""

from __future__ import annotations

import socket

import pytest

from byway.system.paths import path_to
from tests.machine import needs_ipv6


@pytest.mark.parametrize("address", ["127.0.0.1", pytest.param("::1", marks=needs_ipv6)])
def test_loopback_ends_here(address: str) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    packed = socket.inet_pton(family, address)
    for path in (path_to(packed), path_to(packed, 53), path_to(packed, 53, 0x2D7)):
        assert (path.ends_here, path.link) == (True, "lo")
