"""The condition source_mac, as a person writes it."""

from __future__ import annotations

import pytest

from byway.config import judge_of, load_text
from byway.errors import ConfigError
from byway.flow import Flow, Network, Target
from byway.rules import Facts, Via


def test_it_is_read_in_any_spelling() -> None:
    config = load_text(
        "outbounds: {kids: {type: direct}}\n"
        "rules: [{source_mac: 02-42-AC-11-00-02, to: kids}, {otherwise: direct}]\n"
    )
    judge = judge_of(config)
    flow = Flow(1, Network.TCP, "default", Target.of("10.0.0.2", 5), Target.of("192.0.2.1", 80))
    for mac, outbound in (("02:42:ac:11:00:02", "kids"), ("02:42:ac:11:00:03", "direct")):
        verdict = judge.decide(flow, Facts(mac=mac))
        assert isinstance(verdict, Via)
        assert verdict.outbound == outbound


@pytest.mark.parametrize("text", ["'02:42:ac:11:00'", "zz:42:ac:11:00:02", "'0242ac110002'"])
def test_what_is_none_is_an_error(text: str) -> None:
    with pytest.raises(ConfigError, match="is not a MAC address"):
        load_text(f"rules: [{{source_mac: {text}, to: reject}}, {{otherwise: direct}}]\n")
