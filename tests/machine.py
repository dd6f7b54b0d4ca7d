"""What the machine has that the tests run on, where one could lack it."""

from __future__ import annotations

import socket

import pytest


def _has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


HAS_IPV6 = _has_ipv6()
LOOPBACKS = ("127.0.0.1", "::1") if HAS_IPV6 else ("127.0.0.1",)
NO_IPV6 = "this machine has no ::1"
needs_ipv6 = pytest.mark.skipif(not HAS_IPV6, reason=NO_IPV6)
