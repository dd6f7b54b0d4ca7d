"""Which addresses are this host's, and how many flows it has room for."""

from __future__ import annotations

import resource
import shutil
import subprocess
import sys

import pytest

from byway.flow import packed_address
from byway.system.open_files import flows_for, open_files, raise_open_files
from byway.system.own import OwnAddresses
from tests.machine import HAS_IPV6


def test_knows_its_own() -> None:
    own = OwnAddresses()
    for host, expected in (("127.0.0.1", True), ("::1", HAS_IPV6), ("192.0.2.77", False)):
        packed = packed_address(host)
        assert packed is not None
        assert own.holds(packed) is expected
        assert own.holds(packed) is expected


WITHIN = """
import subprocess, sys, time
from byway.flow import packed_address
from byway.system.own import OwnAddresses

def told():
    own = OwnAddresses()
    hosts = ("127.0.0.1", "192.0.2.5", "192.0.2.77", "2001:db8::5", "2001:db8::77")
    return [own.holds(packed_address(host)) for host in hosts]

def ip(*words):
    subprocess.run(["ip", *words], check=True)

ip("link", "set", "lo", "up")
print(told())
for sysctl in ("ipv4", "ipv6"):
    with open(f"/proc/sys/net/{sysctl}/ip_nonlocal_bind", "w") as file:
        file.write("1")
print(told())
ip("address", "add", "192.0.2.5/32", "dev", "lo")
ip("address", "add", "2001:db8::5/128", "dev", "lo", "nodad")
until = time.monotonic() + 10  # the kernel adds the route of an IPv6 address a little later
while not told()[3] and time.monotonic() < until:
    time.sleep(0.01)
print(told())
ip("route", "add", "local", "192.0.2.64/26", "dev", "lo")
ip("route", "add", "default", "dev", "lo")
print(told())
"""


def test_what_may_be_bound_to_is_not_for_that_its_own() -> None:
    """In a network of the test's own, with addresses that come and ip_nonlocal_bind set."""
    apart = ["unshare", "--user", "--map-root-user", "--net"]
    if shutil.which("ip") is None or subprocess.run([*apart, "true"], check=False).returncode:
        pytest.skip("network namespaces cannot be made here")
    done = subprocess.run(
        [*apart, sys.executable, "-c", WITHIN], check=True, capture_output=True, timeout=30
    )
    assert done.stdout.decode().splitlines() == [
        "[True, False, False, False, False]",
        "[True, False, False, False, False]",
        "[True, True, False, True, False]",
        "[True, True, True, True, False]",  # routed to itself: it would answer
    ]


def test_open_files_are_raised_to_the_hard_limit() -> None:
    assert raise_open_files() == open_files()
    assert open_files() == resource.getrlimit(resource.RLIMIT_NOFILE)[1]


def test_flows_fit_under_open_files() -> None:
    assert flows_for(20_000) > 9_000
    assert flows_for(100) == 16
    assert flows_for(resource.RLIM_INFINITY) > 100_000
