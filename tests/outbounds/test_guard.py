"""What guarded flows are kept from."""

from __future__ import annotations

import pytest

from byway.errors import Reason, Refused
from byway.flow import Target
from byway.outbounds import guard
from byway.outbounds.direct import interleaved


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.255.0.1",
        "0.0.0.0",
        "0.1.2.3",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "0",
        "169.254.1.1",
        "169.254.169.254",
        "224.0.0.1",
        "255.255.255.255",
        "100.100.100.200",
        "::1",
        "::",
        "::7f00:1",
        "::ffff:127.0.0.1",
        "fe80::1",
        "fec0::1",
        "ff02::1",
        "fd00:ec2::254",
        "64:ff9b::7f00:1",
        "64:ff9b::169.254.169.254",
        "2002:7f00:1::",
        "203.0.113.9",
    ],
)
def test_closed(host: str) -> None:
    mine = Target.of("203.0.113.9", 0).packed
    with pytest.raises(Refused) as caught:
        guard.check(Target.of(host, 80), lambda packed: packed == mine)
    assert caught.value.reason is Reason.RULES


def test_a_mapped_address_that_nobody_unwrapped_is_closed() -> None:
    packed = bytes(10) + b"\xff\xff\x7f\0\0\1"
    assert guard.why_closed(packed, lambda _: False) == "a loopback address"


@pytest.mark.parametrize(
    "host",
    [
        "192.0.2.1",
        "10.0.0.1",
        "8.8",
        "2001:db8::1",
        "fd00::1",
        "64:ff9b::808:808",
        "example.com",
        "127.0.0.1.example.com",
    ],
)
def test_open(host: str) -> None:
    guard.check(Target.of(host, 80), lambda _: False)


def test_families_take_turns() -> None:
    six = [bytes(15) + bytes((n,)) for n in range(3)]
    four = [bytes(3) + bytes((n,)) for n in range(2)]
    assert interleaved(six + four) == [six[0], four[0], six[1], four[1], six[2]]
    assert interleaved(four + six) == [four[0], six[0], four[1], six[1], six[2]]
    assert interleaved(six) == six
