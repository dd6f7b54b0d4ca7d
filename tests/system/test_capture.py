"""What is led to a NIC, as a plan."""

from __future__ import annotations

import pytest

from byway.system.capture import Capture, plan_of
from byway.system.plan import HostError

OWN = ("198.18.0.1/30", "fd62::1/126")


def lines(capture: Capture, *taken: int, links: tuple[tuple[str, str], ...] = ()) -> list[str]:
    return [change.describe() for change in plan_of(capture, taken, links)]


def test_everything_of_this_host() -> None:
    found = lines(Capture("tun9", OWN), links=(("eth0", "2001:db8::5/64"), ("lo", "::1/128")))
    four = [line for line in found if " -4 " in line]
    assert four[0] == "ip -4 route add default dev tun9 table 727"
    # What leads to the NIC comes last but for the exceptions, which are there before it.
    assert four[-1] == "ip -4 rule add priority 9000 fwmark 0x2d7 lookup main"
    assert "ip -4 rule add priority 9005 from 0.0.0.0/32 iif lo lookup 727" in four
    assert "ip -4 rule add priority 9003 lookup main suppress_prefixlength 0" in four
    six = [line for line in found if " -6 " in line]
    assert "ip -6 rule add priority 9004 from 2001:db8::5/128 iif lo lookup main" in six
    assert "ip -6 rule add priority 9006 iif lo lookup 727" in six


def test_exceptions_names_and_devices() -> None:
    capture = Capture(
        "tun9", OWN[:1], exclude=("192.0.2.0/24", "2001:db8::/32"), users=(7,), lan=("eth1",),
        names=True, own=False,
    )  # fmt: skip
    found = lines(capture)
    assert not [line for line in found if " -6 " in line]
    assert "ip -4 rule add priority 9001 to 192.0.2.0/24 lookup main" in found
    assert "ip -4 rule add priority 9001 uidrange 7-7 lookup main" in found
    assert "ip -4 rule add priority 9002 iif eth1 dport 53 lookup 727" in found
    assert "ip -4 rule add priority 9006 iif eth1 lookup 727" in found
    assert not [line for line in found if "iif lo" in line]


def test_some_prefixes() -> None:
    found = lines(Capture("tun9", OWN, prefixes=("10.1.0.0/16",)))
    assert found[0] == "ip -4 route add 10.1.0.0/16 dev tun9 table 727"
    assert not [line for line in found if "default dev" in line or " -6 " in line]


def test_rules_of_others_are_left_room() -> None:
    assert "priority 9010 fwmark" in lines(Capture("tun9", OWN), 9003)[-1]
    with pytest.raises(HostError, match="no room"):
        lines(Capture("tun9", OWN), *range(9000, 32701))
