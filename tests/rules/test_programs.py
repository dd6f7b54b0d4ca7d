"""Conditions on the program that a flow came from."""

from __future__ import annotations

import pytest

from byway.flow import Flow, Network, Process, Target
from byway.rules import NO_FACTS, Fact, Facts
from byway.rules.matchers import Matcher
from byway.rules.programs import (
    ProcessCommand,
    ProcessGroup,
    ProcessName,
    ProcessPath,
    ProcessPathRegex,
    ProcessUser,
)

FLOW = Flow(1, Network.TCP, "mixed", None, Target.of("h", 1))
CURL = Facts(
    process=Process("curl", "/usr/bin/curl", 1000, "/user.slice/a.scope", "curl -x a b", ("/v1/x",))
)
UNSEEN = Facts(process=Process(uid=7))
NOBODY = Facts(process=Process())


@pytest.mark.parametrize(
    ("matcher", "expected"),
    [
        (ProcessName(frozenset({"curl", "wget"})), True),
        (ProcessName(frozenset({"cur", "/usr/bin/curl"})), False),
        (ProcessPath(("/usr/bin/curl",)), True),
        (ProcessPath(("/opt/", "/usr/bin/")), True),
        (ProcessPath(("/usr/bin",)), False),
        (ProcessPath(("/usr/bin/cur",)), False),
        (ProcessUser(frozenset({1000})), True),
        (ProcessUser(frozenset({0})), False),
        (ProcessGroup(("/user.slice",)), True),
        (ProcessGroup(("/user.slice/a.scope",)), True),
        (ProcessGroup(("/",)), True),
        (ProcessGroup(("/v1",)), True),
        (ProcessCommand(("wget", "-x a")), True),
        (ProcessCommand(("-X a",)), False),
        (ProcessPathRegex(("^/opt", "/CURL$")), True),
        (ProcessPathRegex(("^curl",)), False),
        (ProcessGroup(("/user", "/user.slice/a")), False),
    ],
)
def test_a_process_is_known_by_its_parts(matcher: Matcher, expected: bool) -> None:
    assert matcher.match(FLOW, NO_FACTS) is Fact.PROCESS
    assert matcher.match(FLOW, CURL) is expected
    assert matcher.match(FLOW, NOBODY) is False
    assert matcher.match(FLOW, UNSEEN) is False
