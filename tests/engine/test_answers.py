"""The engine's table of answers, as the resolver uses it, beside a slow one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from byway.engine import EngineAnswers, Outcome

V4, V6 = b"\xc0\0\2\1", bytes(15) + b"\7"

puts = st.tuples(
    st.just("put"),
    st.integers(1, 2),
    st.sampled_from([4, 6]),
    st.sampled_from("ab"),
    st.sampled_from(Outcome),
    st.integers(0, 3),
    st.integers(0, 3),
)
finds = st.tuples(
    st.just("find"), st.integers(1, 2), st.sampled_from([4, 6, 46, 64]), st.sampled_from("ab")
)
others = st.one_of(
    st.tuples(st.just("wait"), st.integers(0, 3)), st.tuples(st.just("forget"), st.integers(1, 2))
)


@given(st.lists(st.one_of(puts, finds, others), max_size=40))
def test_it_answers_as_a_slow_table_does(steps: list[tuple]) -> None:  # type: ignore[type-arg]
    table, now = EngineAnswers(1000), 0.0
    known: dict[tuple[int, int, str], tuple[Outcome, tuple[bytes, ...], float, float]] = {}
    for step in steps:
        match step:
            case ("put", realm, family, name, outcome, fresh, more):
                packed = (V4 if family == 4 else V6,) if outcome is Outcome.FOUND else ()
                table.put(realm, family, name, outcome, packed, now, fresh, fresh + more)
                if fresh + more > 0:
                    known[realm, family, name] = (outcome, packed, now + fresh, now + fresh + more)
            case ("find", realm, families, name):
                parts = [known.get((realm, int(digit), name)) for digit in str(families)]
                found = table.find(realm, families, name, now)
                if any(part is None or part[3] <= now for part in parts):
                    assert found is None
                    continue
                assert found is not None
                held = [part for part in parts if part is not None]
                assert found[1] == min(part[2] for part in held) - now
                assert found[2] == min(part[3] for part in held) - now
                assert found[3] == tuple(packed for part in held for packed in part[1])
                outcomes = {part[0] for part in held}
                order = (Outcome.FOUND, Outcome.UNKNOWN, Outcome.FAILED, Outcome.EMPTY)
                assert found[0] == next(one for one in order if one in outcomes)
            case ("wait", seconds):
                now += seconds
            case ("forget", realm):
                table.forget(realm)
                known = {key: held for key, held in known.items() if key[0] != realm}


def test_it_is_bounded_and_says_what_it_takes() -> None:
    table = EngineAnswers(100)
    for at in range(1000):
        table.put(1, 4, f"n{at}.example", Outcome.FOUND, [V4], 0.0, 60.0, 60.0)
    count, size = table.sizes
    assert count == 100
    assert size < 100 * 300
    table.resize(10, 0.0)
    assert table.sizes[0] == 10
    assert table.find(1, 4, "nowhere", 0.0) is None
    assert table.counts == (0, 1)


@pytest.mark.parametrize("address", [b"", b"123", bytes(15)])
def test_it_takes_addresses_alone(address: bytes) -> None:
    with pytest.raises(ValueError, match="4 or 16 bytes"):
        EngineAnswers(1).put(1, 4, "a", Outcome.FOUND, [address], 0.0, 1.0, 1.0)
