"""What strict mode takes for local, and for whose the virtual address is."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from byway.system.firewall import nft
from byway.system.firewall.strict import Strict, is_private, table_of


@pytest.mark.parametrize(
    ("prefix", "private"),
    [
        ("192.168.1.0/24", True),
        ("10.0.0.0/8", True),
        ("169.254.0.0/16", True),
        ("fe80::/64", True),
        ("fd00:1::/64", True),
        ("8.8.8.0/24", False),
        ("0.0.0.0/0", False),
        ("10.0.0.0/7", False),  # a network hands out more than is private
        ("172.16.0.0/11", False),
        ("100.64.0.0/10", False),
        ("2001:db8::/64", False),
        ("::/0", False),
    ],
)
def test_only_private_prefixes_are_local(prefix: str, private: bool) -> None:
    assert is_private(prefix) is private
    table = table_of(Strict(1, 2, 3, links=(("eth0", prefix),)))
    elements = [element for one in table.sets for element in one.elements]
    assert elements == ([f'"eth0" . {prefix}'] if private else [])


def test_the_virtual_address_is_only_the_tunnels() -> None:
    table = table_of(Strict(1, 2, 3, tun="byway0", virtual=("172.19.0.1/32", "fdfe::1/128")))
    (guard,) = [chain for chain in table.chains if chain.name == "virtual"]
    assert guard.rules == (
        'iifname != { "byway0", "lo" } ip daddr { 172.19.0.1/32 } counter drop',
        'iifname != { "byway0", "lo" } ip6 daddr { fdfe::1/128 } counter drop',
    )
    assert guard.hook is not None
    assert (guard.hook.point, guard.hook.priority) == ("prerouting", -300)


@pytest.mark.usefixtures("nowhere")
@pytest.mark.skipif(shutil.which("nft") is None, reason="nft is not installed")
def test_the_kernel_takes_all_of_it() -> None:
    links = (("eth0", "192.168.1.0/24"), ("br-1", "10.0.0.0/8"), ("eth0", "fe80::/64"))
    strict = Strict(
        1, 2, 3, "byway0", ("172.19.0.1/32",), links, ("192.0.2.0/24",), ("22", "80-90")
    )
    nft.load(table_of(strict).script())
    nft.remove("byway_strict")
    done = subprocess.run(["nft", "list", "ruleset"], capture_output=True, text=True, check=True)
    assert done.stdout == ""
