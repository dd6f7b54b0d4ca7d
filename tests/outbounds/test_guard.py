"""What guarded flows are kept from."""

from __future__ import annotations

import pytest

from byway.errors import Reason, Refused
from byway.flow import Target
from byway.outbounds import guard
from byway.outbounds.direct import interleaved

pytestmark = pytest.mark.usefixtures("nowhere")


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
        "2002:a9fe:a9fe::1",
        "::ffff:0:127.0.0.1",
        "::ffff:0:a9fe:a9fe",
        "64:ff9b:1::7f00:1",
        "64:ff9b:1:7f00:0:100::",
        "64:ff9b:1:7f:0:1::",
        "64:ff9b:1:0:7f:0:100:0",
        "64:ff9b:1:a9fe:a9:fe00::",
        "64:ff9b:1::203.0.113.9",
        "64:ff9b:1::",
        "2001:0:7f00:1::1",
        "2001:0:808:808::80ff:fffe",
        "2001:0:808:808:0:0:5601:5601",
        "2001:db8::5efe:7f00:1",
        "2001:db8::200:5efe:169.254.169.254",
        "fd00::5efe:203.0.113.9",
        "2002:cb00:7109::1",
        "168.63.129.16",
        "64:ff9b::168.63.129.16",
        "192.0.0.192",
        "fd20:ce::254",
        "fd00:ec2::23",
        "fd00:c1::a9fe:a9fe",
        "febf::1",
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
        "64:ff9b:1::808:808",
        "64:ff9b:1:808:8:800::",
        "64:ff9b:1:8:8:808::",
        "64:ff9b:1:0:8:808:800:0",
        "2002:808:808::1",
        "2001:0:808:808::f7f7:f7f7",
        "2001:db8::5efe:808:808",
        "::ffff:0:808:808",
        "168.63.129.17",
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
