"""Each matcher against a slow reference that is plainly right."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from byway.flow import Flow, Network, Target
from byway.rules import NO_FACTS, Fact, Facts, Prefix
from byway.rules.matchers import (
    All,
    Answer,
    Domain,
    DomainSuffix,
    Port,
    PrefixSet,
)

networks = st.one_of(
    st.builds(
        lambda number, bits: ipaddress.IPv4Network((number, bits), strict=False),
        st.integers(0, 2**32 - 1),
        st.integers(0, 32),
    ),
    st.builds(
        lambda number, bits: ipaddress.IPv6Network((number, bits), strict=False),
        st.integers(0, 2**128 - 1) | st.integers(0xFFFF << 32, (0x10000 << 32) - 1),
        st.integers(0, 128),
    ),
)
labels = st.sampled_from(["a", "b", "ab", "com", "a-b", "x"])
names = st.lists(labels, min_size=1, max_size=4).map(".".join)


def to(host: str, port: int = 443) -> Flow:
    return Flow(1, Network.TCP, "mixed", None, Target.of(host, port))


def slow_holds(network: ipaddress.IPv4Network | ipaddress.IPv6Network, packed: bytes) -> bool:
    """The reference: mapped addresses are IPv4 on both sides, then the standard library."""
    if isinstance(network, ipaddress.IPv6Network) and network.prefixlen >= 96:
        mapped = network.network_address.ipv4_mapped
        if mapped is not None:
            network = ipaddress.IPv4Network((int(mapped), network.prefixlen - 96))
    return ipaddress.ip_address(packed) in network


@st.composite
def address_near(draw: st.DrawFn) -> tuple[list[Prefix], bool, bytes]:
    """Some prefixes, an address that is often inside or just outside, and whether it is inside."""
    some = draw(st.lists(networks, min_size=1, max_size=5))
    network = draw(st.sampled_from(some))
    first, last = int(network.network_address), int(network.broadcast_address)
    number = draw(st.sampled_from([first, last, first - 1, last + 1]) | st.integers(first, last))
    size = network.max_prefixlen // 8
    packed = (number % (1 << size * 8)).to_bytes(size)
    target = Target.from_packed(packed, 1)
    assert target.packed is not None
    inside = any(slow_holds(one, target.packed) for one in some)
    return [Prefix.of(one) for one in some], inside, target.packed


@given(address_near())
def test_prefixes_hold_what_the_standard_library_says(
    case: tuple[list[Prefix], bool, bytes],
) -> None:
    prefixes, inside, packed = case

    assert PrefixSet(tuple(prefixes)).holds(packed) is inside
    assert any(prefix.holds(packed) for prefix in prefixes) is inside


@given(networks)
def test_a_prefix_reads_what_it_writes(
    network: ipaddress.IPv4Network | ipaddress.IPv6Network,
) -> None:
    prefix = Prefix.of(network)

    assert Prefix.parse(str(network)) == prefix
    assert Prefix.parse(str(prefix)) == prefix


@given(networks, networks)
def test_a_prefix_covers_its_subnets(
    one: ipaddress.IPv4Network | ipaddress.IPv6Network,
    other: ipaddress.IPv4Network | ipaddress.IPv6Network,
) -> None:
    a, b = (ipaddress.ip_network(str(Prefix.of(network))) for network in (one, other))

    covers = a.version == b.version and b.subnet_of(a)  # type: ignore[arg-type]
    assert Prefix.of(a).covers(Prefix.of(b)) is covers


@pytest.mark.parametrize(
    "text",
    [
        "10.0.0.1/8",
        "a",
        "",
        "10.0.0.0/33",
        "::/129",
        "1.2.3",
        "fe80::1%1",
        "1.2.3.4/",
        "1.2.3.4/255.255.255.255",
        "10.0.0.0/ 8",
    ],
)
def test_what_is_no_prefix_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        Prefix.parse(text)


@given(names, st.frozensets(names, min_size=1, max_size=4))
def test_names_match_as_the_slow_way_says(name: str, known: frozenset[str]) -> None:
    flow = to(name)

    slow = any(name == one or name.endswith("." + one) for one in known)
    assert DomainSuffix(known).match(flow, NO_FACTS) is slow
    assert Domain(known).match(flow, NO_FACTS) is (name in known)


@pytest.mark.parametrize("host", ["10.0.0.1", "::1"])
def test_an_address_has_no_name(host: str) -> None:
    known = frozenset({host, "1", "0.0.1"})

    assert Domain(known).match(to(host), NO_FACTS) is False
    assert DomainSuffix(known).match(to(host), NO_FACTS) is False


@given(
    st.integers(0, 65535),
    st.lists(st.tuples(st.integers(0, 65535), st.integers(0, 65535)), min_size=1, max_size=4),
)
def test_ports_match_both_ends(port: int, pairs: list[tuple[int, int]]) -> None:
    ranges = tuple((min(pair), max(pair)) for pair in pairs)

    slow = any(port in range(first, last + 1) for first, last in ranges)
    assert Port(ranges).match(to("h", port), NO_FACTS) is slow


class Says:
    """A condition with a fixed answer."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer

    def match(self, flow: Flow, facts: Facts) -> Answer:
        return self.answer


@given(st.lists(st.sampled_from([True, False, Fact.ADDRESS])))
def test_all_is_the_and_of_three_valued_logic(answers: list[Answer]) -> None:
    slow: Answer = True
    if False in answers:
        slow = False
    elif Fact.ADDRESS in answers:
        slow = Fact.ADDRESS

    assert All(tuple(Says(answer) for answer in answers)).match(to("h"), NO_FACTS) is slow
