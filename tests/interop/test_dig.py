"""dig by way of SOCKS UDP: a local forward, through a SOCKS outbound, to a real dnsmasq.

dig -> forward (UDP) -> socks outbound -> [ socks inbound -> direct ] -> dnsmasq
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.interop.byway import ANN, USERS, byway, listening
from tests.interop.programs import free_port, need, run, running, told

LONG = "x" * 200


@pytest.fixture(scope="module")
def dns_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """dnsmasq with a few records of its own, asking nobody."""
    port = free_port()
    texts = [f"--txt-record=long.byway.test,{LONG},{n}{LONG}" for n in range(1)]
    command = [
        *(need("dnsmasq"), "--no-daemon", "--conf-file=/dev/null", "--no-resolv", "--no-hosts"),
        *("--listen-address=127.0.0.1", "--bind-interfaces", f"--port={port}", "--user=root"),
        *("--address=/byway.test/192.0.2.7", "--address=/byway.test/2001:db8::7", *texts),
        "--pid-file=",
    ]
    with running(command, tmp_path_factory.mktemp("dns") / "dnsmasq.log", port):
        yield port


@pytest.mark.parametrize("login", [False, True], ids=["open", "users"])
def test_asks_over_socks_udp_and_tcp(login: bool, dns_port: int, tmp_path: Path) -> None:
    server, local = free_port(), free_port()
    upstream = {"type": "socks", "server": f"127.0.0.1:{server}"}
    if login:
        upstream |= {"username": ANN[0], "password": ANN[1]}
    door = {
        "type": "forward",
        "listen": f"127.0.0.1:{local}",
        "target": f"127.0.0.1:{dns_port}",
        "network": ["tcp", "udp"],
    }
    far = listening(server, "socks", **({"users": USERS} if login else {}))
    near = {
        "inbounds": {"door": door},
        "outbounds": {"far": upstream},
        "rules": [{"otherwise": "far"}],
    }
    with byway(far, tmp_path / "far"), byway(near, tmp_path / "near"):
        ask = (need("dig"), "@127.0.0.1", "-p", str(local), "+time=5", "+tries=2", "+short")
        for transport in ("+notcp", "+tcp"):
            assert told(run(*ask, transport, "a.byway.test", "A")) == b"192.0.2.7\n"
            assert told(run(*ask, transport, "a.byway.test", "AAAA")) == b"2001:db8::7\n"
            assert LONG in told(run(*ask, transport, "+ignore", "long.byway.test", "TXT")).decode()
