"""The replay filter: exact, and bounded."""

from __future__ import annotations

from byway.protocols.replay import ReplayFilter


def test_a_salt_passes_once() -> None:
    seen = ReplayFilter(lambda: 0.0)
    assert seen.add(b"one")
    assert not seen.add(b"one")
    assert seen.add(b"two")


def test_memory_is_bounded_and_the_last_ones_are_known() -> None:
    seen = ReplayFilter(lambda: 0.0, capacity=10)
    salts = [bytes([number]) for number in range(100)]
    for salt in salts:
        assert seen.add(salt)
        assert len(seen) <= 20
    assert not any(seen.add(salt) for salt in salts[-10:])
    assert seen.add(salts[0])


def test_salts_expire_no_sooner_than_their_window() -> None:
    now = 100.0
    seen = ReplayFilter(lambda: now, window=60.0)
    assert seen.add(b"early")
    now = 159.0
    assert seen.add(b"late")
    now = 218.0
    assert not seen.add(b"late")
    now = 400.0
    assert seen.add(b"late")
    assert len(seen) == 1


def test_a_full_window_accepts_no_more() -> None:
    now = 0.0
    seen = ReplayFilter(lambda: now, capacity=2, window=60.0)
    assert [seen.add(salt) for salt in (b"a", b"b", b"c")] == [True, True, False]
    now = 60.0
    assert seen.add(b"c")
    assert not seen.add(b"a")
