"""The arithmetic."""

from __future__ import annotations

import pytest

from measure.accounting import MachineTime
from measure.figures import Series, Spread, Usage, ratio, spread, with_costs
from measure.generator import GeneratorError, parse


def test_spread() -> None:
    assert spread([3.0, 1.0, 2.0]) == Spread(2.0, 1.0, 3.0)
    assert spread([]) is None
    series = Series("a", "socks5", "cps", [{"per_s": 4.0}, {"per_s": 6.0}, {"other": 1.0}])
    assert series.median("per_s") == 5.0
    assert series.median("p99_us") is None


def test_ratio() -> None:
    assert ratio(3.0, 2.0) == 1.5
    assert ratio(3.0, 0.0) is None
    assert ratio(None, 2.0) is None


def test_ratios_are_taken_between_neighbours() -> None:
    ours = Series("a", "", "cps", [{"per_s": 8.0}, {"per_s": 80.0}, {"per_s": 9.0}])
    theirs = Series("b", "", "cps", [{"per_s": 10.0}, {"per_s": 100.0}, {"per_s": 10.0}])
    assert ours.against(theirs, "per_s") == 0.8
    theirs.runs.pop()
    assert ours.against(theirs, "per_s") == 9.0 / 55.0
    assert ours.against(theirs, "loss_pct") is None


def test_costs_of_a_run() -> None:
    before = Usage(MachineTime(10.0, 1.0, 0.0), program=2.0, target=5.0)
    after = Usage(MachineTime(13.0, 2.0, 0.5), program=3.0, target=5.5)
    run = {"bytes": 2e9, "ops": 1000.0, "gen_user_s": 0.1, "gen_sys_s": 0.4}
    costs = with_costs(run, before, after)
    assert costs["cpu_s_per_gb"] == 0.5
    assert costs["cpu_us_per_op"] == 1000.0
    assert costs["machine_s_per_gb"] == 2.0
    assert costs["foreign_s"] == pytest.approx(1.0)  # 3 in tasks: 1 + 0.5 + 0.5 were ours
    assert costs["disturbed_pct"] == pytest.approx(100 * 1.5 / 4.5, abs=1e-4)


def test_nothing_moved_costs_nothing_each() -> None:
    idle = Usage(MachineTime(0.0, 0.0, 0.0), 0.0, 0.0)
    costs = with_costs({"bytes": 0.0, "ops": 0.0}, idle, idle)
    assert "cpu_s_per_gb" not in costs
    assert "cpu_us_per_op" not in costs
    assert costs["disturbed_pct"] == 0.0


def test_the_generators_answers() -> None:
    assert parse('READY 5 0\n{"per_s":12.5,"done":3}\n') == {"per_s": 12.5, "done": 3.0}
    with pytest.raises(GeneratorError, match="refused"):
        parse('{"error":"refused"}')
    with pytest.raises(GeneratorError, match="panicked"):
        parse("", "it panicked")
    with pytest.raises(GeneratorError, match="no answer"):
        parse("")
