"""Groups' minds by a clock that only goes when it is told to: no flapping, no hurry, no loss."""

from __future__ import annotations

import random
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from byway.flow import Flow, Network, State, Target
from byway.outbounds import chooser as minds
from byway.outbounds.chooser import Balance, Chooser, Fallback, Fastest, Select
from byway.outbounds.health import Health


class World:
    """Members with delays of their own, on a clock."""

    def __init__(self, *names: str) -> None:
        self.now = 1000.0
        self.minds: list[Chooser] = []
        self.healths = {name: Health(name, self.clock, lambda: 0.5, self.changed) for name in names}

    def clock(self) -> float:
        return self.now

    def changed(self) -> None:
        for mind in self.minds:
            mind.renew()

    def carries(self, *packets: str) -> dict[Network, list[Health]]:
        members = list(self.healths.values())
        return {
            Network.TCP: members,
            Network.UDP: [health for health in members if health.name in packets],
        }

    def dial(self, name: str, took: float, well: bool = True) -> None:
        """A dial by a member, and the time it takes."""
        began = self.now
        self.now += took
        health = self.healths[name]
        if well:
            health.succeeded(Network.TCP, began)
        else:
            health.failed(Network.TCP, began, "broken")


def flow(host: str = "www.example.com", source: str = "10.0.0.1", udp: bool = False) -> Flow:
    network = Network.UDP if udp else Network.TCP
    came = Target.parse(source if ":" in source else f"{source}:999")
    return Flow(1, network, "in", came, Target.of(host, 443))


def first(mind: Chooser, of: Flow | None = None, peek: bool = False) -> str:
    return next(iter(mind.turns(of or flow(), peek)))[0]


def test_the_fastest_does_not_flap() -> None:
    world = World("a", "b")
    mind = Fastest("g", world.carries(), 0.05, clock=world.clock)
    chance = random.Random(7)
    world.dial("b", 0.10)
    taken = []
    for _ in range(500):
        name = first(mind)
        taken.append(name)
        world.dial(name, 0.10 + chance.random() * 0.04)  # both the same, but for the noise
        world.now += 1
    assert sum(one != other for one, other in pairwise(taken)) <= 1


def test_the_fastest_goes_where_it_is_clearly_faster_and_says_so() -> None:
    world = World("slow", "quick")
    mind = Fastest("g", world.carries(), 0.05, clock=world.clock)
    world.minds.append(mind)
    assert next(mind.turns(flow())) == ("slow", "no delay measured yet")
    world.dial("slow", 0.3)
    world.now += minds.FRESH
    assert first(mind) == "slow"
    world.dial("quick", 0.27)
    world.now += minds.FRESH
    assert next(mind.turns(flow())) == (
        "slow",
        "300 ms, kept: no other is faster by more than 50 ms",
    )
    world.dial("quick", 0.1)
    world.now += minds.FRESH
    assert next(mind.turns(flow())) == ("quick", "185 ms, the fastest")
    world.dial("quick", 0.1, well=False)
    assert first(mind) == "slow"  # at once


def test_a_failed_member_gives_way_at_once_and_comes_back() -> None:
    world = World("a", "b")
    mind = Fallback("g", world.carries(), trusting=True, clock=world.clock)
    world.minds.append(mind)
    assert first(mind) == "a"
    world.dial("a", 0.1, well=False)
    assert [name for name, _ in mind.turns(flow())] == ["b", "a"]
    world.now += 1.0
    assert first(mind) == "b"
    world.now += 1.0
    assert first(mind) == "a"  # it is tried again
    world.dial("a", 0.1, well=False)
    world.now += 3.0
    assert first(mind) == "b"
    world.now += 2.0
    assert first(mind) == "a"
    world.dial("a", 0.1)
    assert next(mind.turns(flow())) == ("a", "the first, and it works")


def test_with_probes_flows_wait_for_them() -> None:
    world = World("a", "b")
    mind = Fallback("g", world.carries(), trusting=False, clock=world.clock)
    world.minds.append(mind)
    world.dial("a", 0.1, well=False)
    world.now += 500
    assert first(mind) == "b"
    world.healths["a"].answered(0.1)
    assert first(mind) == "a"


def test_turns_go_round_and_pass_over_who_is_out() -> None:
    world = World("a", "b", "c")
    mind = Balance("g", world.carries("a", "b"), "round-robin", clock=world.clock)
    world.minds.append(mind)
    assert first(mind, peek=True) == first(mind, peek=True) == "a"
    assert [first(mind) for _ in range(6)] == ["a", "b", "c"] * 2
    world.dial("b", 0.1, well=False)
    assert Counter(first(mind) for _ in range(6)) == {"a": 3, "c": 3}
    one = [first(mind, flow(host, "10.0.0.1:5", udp=True)) for host in ("a.x", "b.y", "c.z")]
    assert len(set(one)) == 1  # packets of one source stay together
    assert one[0] == "a"  # of those that carry packets the one that is well


def test_what_sticks_sticks_and_is_forgotten_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(minds, "MOST_STICKY", 3)
    world = World("a", "b", "c")
    mind = Balance("g", world.carries(), "sticky", clock=world.clock)
    world.minds.append(mind)

    def gone(host: str, source: str = "10.0.0.1") -> str:
        name = first(mind, flow(host, source))
        mind.went(flow(host, source), name)
        return name

    assert [gone("www.one.example"), gone("two.example"), gone("login.one.example")] == [
        "a", "b", "a",
    ]  # fmt: skip
    assert gone("www.one.example", "10.0.0.2") == "c"
    world.dial("a", 0.1, well=False)
    other = gone("www.one.example")
    assert other != "a"
    world.dial("a", 0.1)
    assert gone("www.one.example") == other  # where it went last
    world.now += minds.STICKY + 1
    before = gone("two.example")
    taken = [gone(f"site{n}.example") for n in range(3)]
    assert taken[0] != before
    assert len(mind._stuck) == 3


def test_a_person_is_obeyed() -> None:
    world = World("a", "b")
    mind = Select("g", world.carries("b"), "a", clock=world.clock)
    assert list(mind.turns(flow())) == [("a", "the default")]
    assert list(mind.turns(flow(udp=True))) == []
    mind.select("b")
    world.dial("b", 0.1, well=False)
    assert list(mind.turns(flow())) == [("b", "selected by hand")]
    with pytest.raises(ValueError, match="no member c"):
        mind.select("c")
    later = Select("g", {Network.TCP: [world.healths["a"]], Network.UDP: []}, "a")
    later.succeed(mind)
    assert later.strayed == ("b", "a")
    assert [name for name, _ in later.turns(flow())] == ["a"]
    with pytest.raises(ValueError, match="automatically"):
        Fallback("f", world.carries()).select("a")


def test_a_group_stands_in_another_as_its_first_member() -> None:
    world = World("a", "b")
    inner = Fallback("inner", world.carries("b"), clock=world.clock)
    world.minds.append(inner)
    world.dial("a", 0.1)
    assert inner.rank(Network.TCP, world.now).dial == pytest.approx(0.1)
    world.dial("a", 0.1, well=False)
    rank = inner.rank(Network.TCP, world.now)
    assert (rank.member, rank.state) == ("inner", State.WELL)
    world.dial("b", 0.1, well=False)
    rank = inner.rank(Network.TCP, world.now)
    assert (rank.state, rank.why) == (State.OUT, "a: broken")
    alone = Select("s", {Network.TCP: [world.healths["a"]], Network.UDP: []}, "a")
    assert alone.rank(Network.UDP, world.now).state is State.OUT


@settings(max_examples=60)
@given(st.integers(0, 2**32), st.sampled_from(["fastest", "fallback", "turn", "hash", "sticky"]))
def test_flows_get_through_as_long_as_one_member_works(seed: int, kind: str) -> None:
    """Members die and live at random; each flow tries on until one takes it."""
    chance = random.Random(seed)
    world = World("a", "b", "c", "d")
    carries = world.carries()
    trusting = chance.random() < 0.5
    mind: Chooser
    match kind:
        case "fastest":
            mind = Fastest("g", carries, 0.05, trusting, world.clock)
        case "fallback":
            mind = Fallback("g", carries, trusting, world.clock)
        case _:
            by = {"turn": "round-robin"}.get(kind, kind)
            mind = Balance("g", carries, by, trusting, world.clock)
    world.minds.append(mind)
    alive = dict.fromkeys(world.healths, True)
    in_vain = 0
    for _ in range(300):
        world.now += chance.expovariate(1)
        if chance.random() < 0.05:
            name = chance.choice("abcd")
            alive[name] = not alive[name]
            alive["d"] = alive["d"] or not any(alive.values())
        asked = flow(f"site{chance.randrange(20)}.example")
        for name, _ in mind.turns(asked):
            world.dial(name, 0.05, alive[name])
            if alive[name]:
                mind.went(asked, name)
                break
            in_vain += 1
        else:
            raise AssertionError("lost")
    assert in_vain < 150
