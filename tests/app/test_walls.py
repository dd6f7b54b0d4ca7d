"""What is handed to the firewall of a config, and what `why` says of it."""

from __future__ import annotations

import pytest

from byway.api.firewall import obeyed
from byway.app.walls import head_for
from byway.config import judge_of, load_text
from byway.errors import ConfigError
from byway.flow import Flow, Network, Target
from byway.rules import Lacks

CONFIG = """
inbounds:
  nat: {type: redirect, auto: true}
  home: {type: mixed, listen: "127.0.0.1:1080"}
outbounds:
  slow: {type: direct, limit: {flows: 5}}
  office: {type: direct, interface: eth9}
rules:
- {ip: 192.0.2.0/24, to: direct}
- {port: 25, to: reject}
- {ip: 198.51.100.0/24, to: office}
- {ip: 203.0.113.0/24, to: slow}
- {port: 22, to: direct, limit: {flows: 9}}
- {inbound: home, domain: example.com, to: reject}
- {domain: example.org, to: reject}
- otherwise: direct
"""


def test_only_plain_rules_before_the_first_that_needs_more() -> None:
    config = load_text(CONFIG)
    head = head_for(config, judge_of(config), ["nat"])
    said = [(one.rule.line, one.verdict) for one in head.handed]
    assert said == [(9, "direct"), (10, "reject"), (11, "take"), (12, "take"), (13, "take")]
    assert head.stopped is not None
    assert head.stopped.line == 14


def test_an_inbound_with_a_limit_counts_all_its_flows() -> None:
    config = load_text(CONFIG.replace("auto: true", "auto: true, limit: {flows: 7}"))
    head = head_for(config, judge_of(config), ["nat"])
    assert {one.verdict for one in head.handed} == {"take", "reject"}


@pytest.mark.parametrize(
    ("inbound", "target", "said"),
    [
        ("nat", "192.0.2.7:80", "never comes to Byway"),
        ("nat", "10.0.0.1:25", "the firewall refuses it"),
        ("nat", "203.0.113.7:80", ""),
        ("nat", "10.0.0.1:80", ""),
        ("home", "192.0.2.7:80", ""),
    ],
)
def test_why_says_so(inbound: str, target: str, said: str) -> None:
    config = load_text(CONFIG)
    judge = judge_of(config)
    flow = Flow(1, Network.TCP, inbound, Target.of("10.0.0.2", 5000), Target.parse(target))
    verdict = judge.decide(flow)
    assert not isinstance(verdict, Lacks)
    told = obeyed(config, judge, flow, verdict)
    assert said in told
    assert bool(said) is bool(told)


@pytest.mark.parametrize(
    ("section", "problem"),
    [
        ("{type: redirect}", "listen is missing"),
        ("{type: tproxy, listen: 'unix:/x'}", "not to a unix socket"),
        ("{type: redirect, listen: '127.0.0.1:1', strict: true}", "strict needs a firewall"),
        ("{type: tproxy, listen: '127.0.0.1:1', exclude: 10.0.0.0/8}", "exclude needs a firewall"),
    ],
)
def test_what_does_not_fit_together(section: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        load_text(f"inbounds: {{nat: {section}}}")


def test_questions_for_names_that_are_answered_here_do_not_leave() -> None:
    config = load_text(
        "inbounds: {nat: {type: redirect, auto: true}}\n"
        "dns: {hijack: true}\n"
        "rules: [{port: 80, to: direct}, {otherwise: direct}]\n"
    )
    verdicts = [one.verdict for one in head_for(config, judge_of(config), ["nat"]).handed]
    assert verdicts[:2] == ["take", "direct"]
