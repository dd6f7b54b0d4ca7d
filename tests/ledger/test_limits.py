"""Who counts against which limit, what is full, and what is remembered."""

from __future__ import annotations

import json
from pathlib import Path
from typing import cast

import pytest

from byway.engine import Bucket
from byway.errors import Reason, Refused
from byway.flow import Flow, Network, Target
from byway.interfaces import Way
from byway.ledger import Ledger, Passage
from byway.ledger.limits import Limiter, Terms
from byway.outbounds.over import Single
from byway.rules import RuleRef, Via
from byway.system.state import StateFile

DAY = 86_400.0
RULE = RuleRef("byway.yaml", 9, "domain: example.com, to: far")


class Clock:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def limits(*terms: Terms, file: Path | None = None, clock: Clock | None = None) -> Limiter:
    made = Limiter(StateFile(file), clock or Clock())
    made.follow(terms)
    return made


def flow(number: int = 1, user: str | None = "ann") -> Flow:
    return Flow(number, Network.TCP, "office", None, Target.of("example.com", 443), user)


def spend(limits: Limiter, count: int, at: int = 0) -> None:
    bucket = limits.all[at].bucket
    assert isinstance(bucket, Bucket)
    bucket.charge(True, count)


def test_a_flow_is_under_the_limits_of_all_that_it_passes() -> None:
    names = (
        "inbound office", "user ann of inbound office", "user bob of inbound office",
        "user ann of inbound home", "outbound far", "outbound near", "outbound other",
        f"rule {RULE.text}", "rule something: else",
    )  # fmt: skip
    held = limits(*(Terms(name, flows=9) for name in names))
    found = {limit.terms.name for limit in held.of(flow(), RULE, ("near", "far"))}
    assert found == {*names[:2], "outbound far", "outbound near", f"rule {RULE.text}"}
    assert "user ann of inbound office" not in {
        limit.terms.name for limit in held.of(flow(user=None), RULE, ())
    }
    assert limits().of(flow(), RULE, ("far",)) == ()


def test_one_full_limit_leaves_the_others_as_they_were() -> None:
    held = limits(Terms("inbound office", flows=5), Terms("outbound far", "b.yaml:3", flows=1))
    both = held.of(flow(), RULE, ("far",))
    held.enter(both)
    with pytest.raises(Refused, match=r"outbound far \(b.yaml:3\): already 1 flows") as refused:
        held.enter(both)
    assert refused.value.reason is Reason.LIMIT
    assert [limit.live for limit in both] == [1, 1]
    assert [limit.refused for limit in both] == [0, 1]
    for limit in both:
        limit.leave()
    held.enter(both)


def test_a_spent_quota_refuses_until_its_time_is_over() -> None:
    clock = Clock()
    held = limits(Terms("inbound office", quota=1000, per=DAY), clock=clock)
    (limit,) = held.all
    spend(held, 1000)
    with pytest.raises(Refused, match="quota: the limit of inbound office: all of its 1000 bytes"):
        held.enter((limit,))
    clock.now += DAY - 1
    assert held.left(limit) == 1
    with pytest.raises(Refused, match="quota"):
        held.enter((limit,))
    clock.now += 2.5 * DAY
    held.enter((limit,))
    assert limit.bucket.used == 0
    left = held.left(limit)
    assert left is not None
    assert left == pytest.approx(DAY / 2 + 1)  # the grid stays


def test_a_quota_without_time_is_never_whole_again() -> None:
    clock = Clock()
    held = limits(Terms("inbound office", quota=1000), clock=clock)
    spend(held, 1000)
    clock.now += 5000 * DAY
    with pytest.raises(Refused, match="quota"):
        held.enter(held.all)
    assert held.left(held.all[0]) is None


def test_a_clock_that_is_turned_back_lengthens_nothing() -> None:
    clock = Clock()
    held = limits(Terms("inbound office", quota=1000, per=DAY), clock=clock)
    clock.now -= 30 * DAY
    held.renew()
    assert held.left(held.all[0]) == DAY


def test_other_terms_keep_what_is_used_and_who_is_in() -> None:
    held = limits(Terms("inbound office", quota=1000, flows=2), Terms("outbound far", quota=5))
    (limit, _) = held.all
    held.enter((limit,))
    spend(held, 600)
    held.follow([Terms("inbound office", "b.yaml:7", quota=500, flows=1)])
    assert held.all == (limit,)
    assert (limit.bucket.used, limit.live) == (600, 1)
    with pytest.raises(Refused, match="already 1 flows"):
        held.enter((limit,))
    limit.leave()
    with pytest.raises(Refused, match="all of its 500 bytes"):
        held.enter((limit,))
    held.follow([])
    held.follow([Terms("inbound office", quota=1000)])
    assert held.all[0].bucket.used == 600  # also when it was away for a while


def test_used_quotas_outlive_a_restart(tmp_path: Path) -> None:
    file, clock = tmp_path / "quotas.json", Clock()
    terms = (Terms("inbound office", quota=1000, per=DAY), Terms("outbound far", up=5, flows=3))
    before = limits(*terms, file=file, clock=clock)
    spend(before, 300)
    before.save()
    assert json.loads(file.read_text()) == {"inbound office": {"used": 300, "since": 1_000_000}}
    stamp = file.stat().st_mtime_ns, file.stat().st_ino
    before.save()
    assert (file.stat().st_mtime_ns, file.stat().st_ino) == stamp  # nothing new, nothing written

    clock.now += DAY / 2
    after = limits(*terms, file=file, clock=clock)
    assert after.all[0].bucket.used == 300
    clock.now += DAY / 2
    again = limits(*terms, file=file, clock=clock)
    again.renew()
    assert again.all[0].bucket.used == 0
    without = limits(terms[1], file=file, clock=clock)
    without.save()
    assert "inbound office" in json.loads(file.read_text())


@pytest.mark.parametrize(
    "spoilt", [{"used": -1, "since": 0}, {"used": "1", "since": 0}, {"used": 1}, 7, None]
)
def test_what_cannot_be_understood_is_not_remembered(tmp_path: Path, spoilt: object) -> None:
    file = tmp_path / "quotas.json"
    file.write_text(json.dumps({"inbound office": spoilt}))
    held = limits(Terms("inbound office", quota=1000), file=file)
    assert held.all[0].bucket.used == 0


def test_it_says_when_nothing_will_be_remembered(tmp_path: Path) -> None:
    assert limits(Terms("inbound office", flows=1)).problem == ""
    assert "no folder" in limits(Terms("inbound office", quota=1)).problem
    (tmp_path / "quotas.json").write_text("{")
    held = limits(Terms("inbound office", quota=1), file=tmp_path / "quotas.json")
    assert "damaged" in held.problem


class Cuttable:
    """A relay that notes why it was cut."""

    up = down = 0
    reason = ""

    def cut(self, reason: str) -> None:
        self.reason = reason

    async def wait(self) -> None:
        raise AssertionError


class Led(Single):
    """A way, as far as the ledger looks at it."""

    def __init__(self, *chain: str) -> None:
        self.chain = chain


def led(*chain: str) -> Way:
    return cast("Way", Led(*chain))


async def test_the_flow_that_used_a_quota_up_takes_the_others_with_it() -> None:
    held = limits(Terms("user ann of inbound office", "b.yaml:4", quota=10), Terms("outbound far"))
    ledger = Ledger(limits=held)
    passages = []
    for number, user in enumerate(("ann", "ann", "bob"), 1):
        passage = Passage(flow(number, user))
        passage.verdict, passage.relay = Via("far", RULE), Cuttable()  # type: ignore[assignment]
        ledger.enter(passage)
        ledger.lead(passage, led("far"))
        passages.append(passage)
    first, second, other = passages
    assert [len(passage.buckets) for passage in passages] == [2, 2, 1]
    spend(held, 10)
    first.reason = "quota"
    ledger.leave(first)
    told = "quota: the limit of user ann of inbound office (b.yaml:4): all of its 10 bytes are used"
    assert first.reason == told
    assert isinstance(second.relay, Cuttable)
    assert isinstance(other.relay, Cuttable)
    assert (second.relay.reason, other.relay.reason) == (told, "")
    assert [limit.live for limit in held.all] == [1, 2]
    ledger.lead(other, led())  # a group goes on with another member
    assert [limit.live for limit in held.all] == [1, 1]
