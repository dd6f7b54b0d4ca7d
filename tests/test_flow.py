"""Targets: what is a host, and what is not."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from byway.flow import Flow, Network, Target

pytestmark = pytest.mark.usefixtures("nowhere")


@pytest.mark.parametrize(
    ("text", "host", "port", "packed"),
    [
        ("Example.COM:80", "example.com", 80, None),
        ("192.0.2.1.:80", "192.0.2.1", 80, bytes([192, 0, 2, 1])),
        ("192.0.2.1:0", "192.0.2.1", 0, bytes([192, 0, 2, 1])),
        ("[2001:DB8:0::1]:65535", "2001:db8::1", 65535, ipaddress.ip_address("2001:db8::1").packed),
        ("[::ffff:192.0.2.1]:1", "192.0.2.1", 1, bytes([192, 0, 2, 1])),
        ("_sip._tcp.example:53", "_sip._tcp.example", 53, None),
    ],
)
def test_parse(text: str, host: str, port: int, packed: bytes | None) -> None:
    assert Target.parse(text) == Target(host, port, packed)


@pytest.mark.parametrize(
    "text",
    [
        "example.com", "example.com:", "example.com:x", "example.com:70000", "2001:db8::1:80",
        "[2001:db8::1]", "[192.0.2.1]:80", "[x]:80", ":80", "..:80", "a..b:80", ".a:80", "a b:80",
        "a/b:80", "user@host:80", "bücher.example:80", "a%00:80", "x" * 254 + ":80",
        "example.com:-1", "a\r\nb:80", "a\x00:80",
    ],
)  # fmt: skip
def test_what_is_no_target(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        Target.parse(text)


@given(st.ip_addresses(), st.integers(0, 65535))
def test_every_address_reads_back(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int
) -> None:
    target = Target.from_packed(address.packed, port)
    assert Target.parse(str(target)) == target
    assert not target.is_name
    mapped = getattr(address, "ipv4_mapped", None)
    assert ipaddress.ip_address(target.host) == (mapped or address)


@given(st.text(max_size=300), st.integers())
def test_any_text_is_a_target_or_a_value_error(host: str, port: int) -> None:
    try:
        target = Target.of(host, port)
    except ValueError:
        return
    assert Target.parse(str(target)) == target


def test_an_absolute_name_keeps_its_dot_for_those_who_resolve_it() -> None:
    target = Target.parse("Gone.Example.:80")
    assert (target.host, target.full, str(target)) == (
        "gone.example",
        "gone.example.",
        "gone.example.:80",
    )
    assert target == Target.parse("gone.example:80")
    assert Target.named("gone.example.", 80).full == Target.parse(str(target)).full == target.full
    assert Target.of("a.example", 1).full == "a.example"


def test_a_flow_can_be_turned_to_another_target() -> None:
    flow = Flow(1, Network.TCP, "home", None, Target.of("a.example", 1))
    other = flow.toward(Target.of("b.example", 2))
    assert (other.id, other.target.host) == (1, "b.example")
