"""Orders of trial: every member once, the best first, and nothing moves without a reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from byway.flow import Rank, State, Target
from byway.outbounds.choice import delays_of, hashed, in_turn, quickest, site_of, standing

delays = st.none() | st.floats(0.001, 2)


@st.composite
def ranks(draw: st.DrawFn) -> list[Rank]:
    """What a group may know of its members."""
    found = []
    for at in range(draw(st.integers(1, 8))):
        state = draw(st.sampled_from(State))
        dial = draw(delays)
        answer = None if dial is None else draw(delays)
        back = draw(st.floats(0, 500))
        found.append(Rank(f"m{at}", state, dial, answer, int(state), back))
    return found


ORDERS: dict[str, Callable[[Sequence[Rank], bool], list[int]]] = {
    "standing": standing,
    "quickest": lambda known, trusting: quickest(known, trusting, "m1", 0.05),
    "hashed": lambda known, trusting: hashed(known, trusting, "example.com"),
    "in_turn": lambda known, trusting: in_turn(known, trusting, 5),
}


def level(rank: Rank, trusting: bool) -> State:
    return State.WELL if trusting and rank.state is State.TRIAL else rank.state


@pytest.mark.parametrize("name", ORDERS)
@given(known=ranks(), trusting=st.booleans())
def test_each_member_once_and_the_best_first(name: str, known: list[Rank], trusting: bool) -> None:
    order = ORDERS[name](known, trusting)
    assert sorted(order) == list(range(len(known)))
    levels = [level(known[at], trusting) for at in order]
    assert levels == sorted(levels)
    backs = [known[at].back for at in order if known[at].state is State.OUT]
    assert backs == sorted(backs)


@given(ranks(), st.booleans())
def test_standing_keeps_the_order_of_the_config(known: list[Rank], trusting: bool) -> None:
    well = [at for at in standing(known, trusting) if level(known[at], trusting) is State.WELL]
    assert well == sorted(well)


@given(ranks(), st.booleans(), st.floats(0, 1))
def test_the_quickest_changes_only_for_a_clear_gain(
    known: list[Rank], trusting: bool, tolerance: float
) -> None:
    found = delays_of(known)
    for at, rank in enumerate(known):
        order = quickest(known, trusting, rank.member, tolerance)
        first = order[0]
        if first == at:
            continue
        if level(known[first], trusting) == level(rank, trusting):
            if rank.state is State.OUT:
                assert known[first].back <= rank.back
            else:
                best, mine = found[first], found[at]
                assert best is not None
                assert mine is None or best < mine - tolerance
        assert quickest(known, trusting, known[first].member, tolerance)[0] == first


def test_delays_are_compared_of_the_same_kind() -> None:
    both = [Rank("a", State.WELL, 0.1, 0.1), Rank("b", State.WELL, 0.02, 0.5)]
    assert delays_of(both) == [pytest.approx(0.2), pytest.approx(0.52)]
    assert delays_of([*both, Rank("c", State.WELL)])[:2] == delays_of(both)
    one = [*both, Rank("c", State.WELL, 0.3)]
    assert delays_of(one) == [0.1, 0.02, 0.3]


@given(ranks(), st.lists(st.text(max_size=8), min_size=1, max_size=30), st.booleans())
def test_a_hash_moves_only_the_share_of_who_came_or_went(
    known: list[Rank], keys: list[str], trusting: bool
) -> None:
    well = [Rank(rank.member, State.WELL) for rank in known]
    for key in keys:
        before = [well[at].member for at in hashed(well, trusting, key)]
        for gone in range(len(well)):
            left = [*well[:gone], *well[gone + 1 :]]
            after = [left[at].member for at in hashed(left, trusting, key)]
            assert after == [name for name in before if name != well[gone].member]


def test_a_hash_spreads() -> None:
    well = [Rank(f"m{at}", State.WELL) for at in range(4)]
    taken = Counter(hashed(well, True, f"site{n}.example")[0] for n in range(2000))
    assert min(taken.values()) > 400


@given(ranks(), st.booleans(), st.integers(0, 1000))
def test_turns_are_fair(known: list[Rank], trusting: bool, start: int) -> None:
    best = min(level(rank, trusting) for rank in known)
    equal = [at for at, rank in enumerate(known) if level(rank, trusting) is best]
    if best is State.OUT:
        return
    rounds = 3
    taken = Counter(in_turn(known, trusting, start + n)[0] for n in range(rounds * len(equal)))
    assert taken == dict.fromkeys(equal, rounds)


@pytest.mark.parametrize(
    ("host", "site"),
    [
        ("www.example.com", "example.com"),
        ("example.com", "example.com"),
        ("localhost", "localhost"),
        ("a.b.c.example.org", "example.org"),
        ("www.bbc.co.uk", "bbc.co.uk"),
        ("co.uk", "co.uk"),
        ("news.bbc.co.uk", "bbc.co.uk"),
        ("www.site.com.cn", "site.com.cn"),
        ("login.host.de", "host.de"),
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8::7", "2001:db8::7"),
    ],
)
def test_a_site_is_what_one_buys(host: str, site: str) -> None:
    assert site_of(Target.of(host, 443)) == site
