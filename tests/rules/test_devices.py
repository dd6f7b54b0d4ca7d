"""Conditions on the device that a flow came from."""

from __future__ import annotations

from byway.flow import Flow, Network, Target
from byway.rules import NO_FACTS, Fact, Facts, Judge, Rule, RuleRef, Via
from byway.rules.devices import SourceMac
from byway.rules.head import head_of
from byway.system.firewall.clauses import Clause, Term

FLOW = Flow(1, Network.TCP, "lan", Target.of("10.0.0.2", 5), Target.of("h", 1))
MAC = "02:42:ac:11:00:02"
DEVICE = SourceMac(frozenset({MAC}))


def test_a_device_is_known_by_its_mac() -> None:
    assert DEVICE.match(FLOW, NO_FACTS) is Fact.MAC
    assert DEVICE.match(FLOW, Facts(mac=MAC)) is True
    assert DEVICE.match(FLOW, Facts(mac="02:42:ac:11:00:03")) is False
    assert DEVICE.match(FLOW, Facts(mac="")) is False


def test_why_says_which_device_was_looked_at() -> None:
    ref = RuleRef("rules.yaml", 1, f"source_mac: {MAC}")
    judge = Judge([Rule(DEVICE, Via("kids", ref))])
    for mac, asked in ((MAC, MAC), ("", "a device unknown to links")):
        tried = judge.explain(FLOW, Facts(mac=mac)).tried[0]
        assert [(check.condition, check.asked) for check in tried.checks] == [("source_mac", asked)]


def test_the_firewall_knows_devices_too() -> None:
    rule = Rule(DEVICE, Via("direct", RuleRef("", 1, "")))
    head = head_of([rule], {"lan"}, {"direct"})
    assert head.clauses == (Clause((Term("mac", (MAC,)),), "direct"),)
