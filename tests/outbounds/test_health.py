"""Scores: what dials do to them, whatever happens and in whatever order."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from byway.flow import Network, State
from byway.outbounds.health import (
    DOUBTS,
    FIRST_OUT,
    LONGEST_OUT,
    SPREAD,
    Health,
    Score,
    smoothed,
)

chances = st.floats(0, 1)
events = st.lists(
    st.tuples(
        st.sampled_from(["well", "dial", "fail", "mute", "doubt", "heal"]),
        st.floats(0.001, 100),  # seconds since the last event
        st.floats(0.0001, 10),  # that the dial took
        chances,
    ),
    max_size=60,
)


def played(score: Score, happened: list[tuple[str, float, float, float]]) -> float:
    """Play events; the time after them. Each dial began just before it ended."""
    now = 1000.0
    for what, pause, took, chance in happened:
        now += pause
        began = now - min(took, pause / 2)
        before = score.state(now)
        match what:
            case "well":
                changed = score.succeed(took, now)
                assert score.state(now) is State.WELL
                assert changed == (before is not State.WELL)
            case "dial":
                changed = score.succeed(took, now, whole=False)
            case "heal":
                changed = score.heal()
                assert score.state(now) is State.WELL
            case "doubt":
                changed = score.doubt("late", began, now, chance)
            case _:
                changed = score.fail(what, began, now, chance, what == "mute")
                assert score.state(now) is State.OUT
                assert score.why == what
        assert changed or score.state(now) is before
    return now


@given(events)
def test_a_score_is_sound_whatever_happens(happened: list[tuple[str, float, float, float]]) -> None:
    score = Score()
    now = played(score, happened)
    assert (score.failures > 0) == (score.state(now) is not State.WELL)
    assert score.doubts < DOUBTS
    assert score.out - now <= LONGEST_OUT * (1 + SPREAD)
    took = [took for what, _, took, _ in happened if what in ("well", "dial")]
    if took:
        assert score.delay is not None
        assert min(took) - 1e-9 <= score.delay <= max(took) + 1e-9
    else:
        assert score.delay is None


@given(events, st.integers(1, 12), chances)
def test_who_fails_is_out_for_a_growing_while_and_comes_back(
    happened: list[tuple[str, float, float, float]], times: int, chance: float
) -> None:
    score = Score()
    now = played(score, happened)
    score.heal()
    for turn in range(times):
        assert score.fail("no", now, now + 0.01, chance)
        pause = score.out - (now + 0.01)
        wanted = min(FIRST_OUT * 2**turn, LONGEST_OUT)
        assert wanted * (1 - SPREAD) - 1e-6 <= pause <= wanted * (1 + SPREAD) + 1e-6
        assert score.state(score.out - 1e-3) is State.OUT
        assert score.state(score.out) is State.TRIAL
        now = score.out


@given(st.integers(2, 200), chances)
def test_dials_that_fail_together_are_one_failure(many: int, chance: float) -> None:
    score = Score()
    changes = [score.fail("no", 10.0, 10.1 + n / 1000, chance) for n in range(many)]
    assert changes == [True] + [False] * (many - 1)
    assert (score.failures, score.failed) == (1, many)


def test_a_dial_alone_does_not_disprove_silence() -> None:
    score = Score()
    for _ in range(DOUBTS):
        assert score.state(5.0) is State.WELL
        score.doubt("no answer", 1.0, 2.0, 0.5, mute=True)
    assert score.state(2.1) is State.OUT
    assert not score.succeed(0.1, 3.0, whole=False)
    assert score.failures == 1
    assert score.succeed(0.1, 3.0)
    assert score.failures == 0


@given(st.floats(0.001, 1), st.lists(st.floats(0.0001, 10), max_size=50))
def test_slow_targets_weigh_less_than_fast_ones(start: float, more: list[float]) -> None:
    delay = start
    for took in more:
        before, delay = delay, smoothed(delay, took)
        assert min(before, took) <= delay <= max(before, took)
        assert abs(delay - before) <= abs(took - before) / 2 + 1e-12
    assert smoothed(smoothed(1.0, 5.0), 1.0) <= 1.25


class Clock:
    """Time that only goes when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_nobody_waited_any_longer() -> None:
    clock, changes = Clock(), list[int]()
    health = Health("a", clock, changed=lambda: changes.append(1))
    health.gave_up(Network.TCP, 95.0, "late")  # nobody reached its server since then
    assert health.rank(Network.TCP, clock.now).failures == 1
    health.succeeded(Network.TCP, 99.0)
    for at in range(DOUBTS):
        assert health.rank(Network.TCP, clock.now).failures == 0
        began = clock.now
        clock.now += 1
        health.reached()  # by this dial or another one: the server lives
        clock.now += 1
        health.gave_up(Network.TCP, began, f"late {at}")
    assert health.rank(Network.TCP, clock.now).failures == 1
    assert len(changes) == 3


def test_packets_have_a_score_of_their_own_and_need_the_server() -> None:
    clock = Clock()
    health = Health("a", clock)
    health.failed(Network.UDP, 99.0, "no relay")
    assert health.rank(Network.TCP, 100.0).state is State.WELL
    assert health.rank(Network.UDP, 100.0).state is State.OUT
    clock.now = 200.0
    health.succeeded(Network.UDP, 199.9)
    health.failed(Network.TCP, 199.0, "no server")
    assert health.rank(Network.UDP, 200.0).state is State.OUT
    assert health.rank(Network.UDP, 200.0).why == "no server"


def test_what_comes_back_on_a_flow_is_the_sign_of_life_where_nothing_answers() -> None:
    clock = Clock()
    health, frank = Health("a", clock, server_answers=False), Health("b", clock)
    for _ in range(DOUBTS):
        health.ended(10, 0, clock.now)
        frank.ended(10, 0, clock.now)
        clock.now += 1
        health.succeeded(Network.TCP, clock.now - 0.1)
    assert health.rank(Network.TCP, clock.now).failures == 1
    assert frank.rank(Network.TCP, clock.now).failures == 0
    health.ended(0, 0, clock.now)
    assert health.rank(Network.TCP, clock.now).failures == 1
    health.ended(10, 1, clock.now)
    assert health.rank(Network.TCP, clock.now).failures == 0


def test_a_layer_notes_that_the_server_was_reached() -> None:
    from byway.streams.memory import pair

    clock = Clock()
    health = Health("a", clock)
    stream, _ = pair()
    assert asyncio.run(health.noted(stream)) is stream
    assert health.score(Network.TCP).reached == 100.0
