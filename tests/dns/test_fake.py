"""Fake addresses: one for each name, the same after a restart, in ranges, bounded."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from byway.dns.fake import RESERVED, FakeNames
from byway.values.prefix import Prefix

V4, V6 = Prefix.parse("198.18.0.0/22"), Prefix.parse("fc00::/18")
NAMES = st.lists(st.integers(0, 60).map(lambda n: f"n{n}.example"), max_size=80)


@given(NAMES, st.integers(1, 30))
def test_an_address_is_of_one_name_and_leads_back_to_it(names: list[str], most: int) -> None:
    fakes = FakeNames((V4, V6), most)
    last: list[str] = []
    for name in names:
        v4, v6 = fakes.addresses(name)
        assert V4.holds(v4)
        assert V6.holds(v6)
        assert v4[-2:] >= RESERVED.to_bytes(2)
        assert fakes.name(v4) == fakes.name(v6) == name
        last = [*(one for one in last if one != name), name][-most:]
        assert len(fakes) <= most
        assert [one for one, _ in fakes.places] == last  # the least recently used went
    seen = [fakes.addresses(name) for name in last]
    assert len(set(seen)) == len(seen)


@given(NAMES, st.integers(1, 30))
def test_a_restart_changes_nothing(names: list[str], most: int) -> None:
    fakes = FakeNames((V4,), most)
    for name in names:
        fakes.addresses(name)
    other = FakeNames((V4,), most)
    other.restore(list(fakes.places))
    assert list(other.places) == list(fakes.places)
    for name, _ in list(fakes.places):
        assert other.addresses(name) == fakes.addresses(name)


def test_without_a_memory_a_name_has_the_same_address_too() -> None:
    one, other = FakeNames((V4,), 100), FakeNames((V4,), 100)
    wanted = one.addresses("www.example")
    other.addresses("other.example")
    assert other.addresses("www.example") == wanted


def test_what_cannot_be_is_not_restored() -> None:
    fakes = FakeNames((V4,), 100)
    fakes.restore([("a", -1), ("b", 10**9), ("c", 5), ("d", 5), ("c", 6)])
    assert list(fakes.places) == [("c", 5)]


@pytest.mark.parametrize("host", [b"\xc0\0\2\1", bytes(16), b"\xc6\x12\x04\0"])
def test_other_addresses_are_nobodys_business(host: bytes) -> None:
    fakes = FakeNames((V4, V6), 100)
    assert not fakes.holds(host)
    assert fakes.name(host) is None


def test_a_full_range_gives_way() -> None:
    fakes = FakeNames((V4,), 10**6)
    for n in range(3000):
        fakes.addresses(f"n{n}")
    assert len(fakes) == fakes.most == (1024 - RESERVED - 1) // 2
