"""Groups as they are written: what is read, and every error with its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from byway.config import (
    BalanceGroup,
    FastestGroup,
    SelectGroup,
    changes,
    check_report,
    load_text,
)
from byway.config.read.crosscheck import without_udp
from byway.errors import ConfigError

WAYS = """
outbounds:
  a: socks5://127.0.0.1:1
  b: {type: http, server: "127.0.0.1:2", via: auto}
"""


def problems(text: str) -> list[str]:
    """Each error as line, column, key and message."""
    with pytest.raises(ConfigError) as caught:
        load_text(text, "x.yaml")
    return [f"{p.line}:{p.column} {p.key}: {p.message}" for p in caught.value.problems]


def test_groups_are_read() -> None:
    config = load_text(
        WAYS
        + """
groups:
  auto: {type: fastest, members: [a, direct, "trojan://secret@far.example:443#far"]}
  even: {type: balance, members: a, by: hash, probe: {url: off, every: 1m, expect: 204}}
  mine: {type: select, members: [auto, even, b], default: b}
rules: [{domain: x.example, to: even}, {otherwise: mine}]
""",
        "x.yaml",
    )
    auto, even, mine = (config.groups[name] for name in ("auto", "even", "mine"))
    assert isinstance(auto, FastestGroup)
    assert auto.members == ("a", "direct", "far")
    assert (auto.tolerance, auto.probe.every, auto.probe.timeout) == (0.05, 180.0, 5.0)
    assert auto.probe.url is not None
    assert auto.probe.url.host == "www.gstatic.com"
    assert "far" in config.outbounds
    assert isinstance(even, BalanceGroup)
    assert (even.members, even.by, even.probe.url, even.probe.expect) == (
        ("a",),
        "hash",
        None,
        (204,),
    )
    assert isinstance(mine, SelectGroup)
    assert mine.default == "b"
    assert config.line("groups", "mine") == 9
    assert "secret" not in repr(config)


@pytest.mark.parametrize(
    ("groups", "problem"),
    [
        (
            "g: {type: fastest, members: [a, nope]}",
            "7:35 groups.g.members[1]: there is no outbound 'nope'",
        ),
        (
            "g: {type: fastest, members: [a, a]}",
            "7:35 groups.g.members[1]: duplicate member 'a'",
        ),
        (
            "g: {type: fastest, members: []}",
            "7:31 groups.g.members: the list is empty",
        ),
        (
            "g: {type: fastest}",
            "7:6 groups.g: members is missing",
        ),
        (
            "g: {type: fastest, members: [reject]}",
            "7:32 groups.g.members[0]: reject is a verdict, not an outbound",
        ),
        (
            "g: {type: fastest, members: g}",
            "7:31 groups.g.members: loop: g -> g",
        ),
        (
            "a: {type: select, members: direct}",
            "7:3 groups.a: duplicate name: the outbound 'a' exists, on line 3",
        ),
        (
            "direct: {type: select, members: a}",
            "7:3 groups.direct: duplicate name: the outbound 'direct' exists",
        ),
        (
            "drop: {type: select, members: a}",
            "7:3 groups.drop: a group cannot have this name",
        ),
        (
            "g: {type: select, members: a, default: b}",
            "7:42 groups.g.default: 'b' is not a member",
        ),
        (
            "g: {type: quickest, members: a}",
            "7:13 groups.g.type: unknown type 'quickest'",
        ),
        (
            "g: {type: select, members: a, tolerance: 1s}",
            "7:33 groups.g.tolerance: unknown key",
        ),
        (
            "g: {type: fastest, members: a, tolerance: 50}",
            "7:45 groups.g.tolerance: a duration needs its unit",
        ),
        (
            "g: {type: balance, members: a, by: chance}",
            "7:38 groups.g.by: cannot be 'chance'",
        ),
        (
            "g: {type: fallback, members: a, probe: {url: ftp://x/}}",
            "7:48 groups.g.probe.url: not a web address: expected http://host/path or https:/",
        ),
        (
            "g: {type: fallback, members: a, probe: {expect: 99}}",
            "7:51 groups.g.probe.expect: expected the status of an HTTP answer",
        ),
        (
            "g: {type: fallback, members: a, probe: {evry: 5m}}",
            "7:43 groups.g.probe.evry: unknown key",
        ),
        (
            "g: {type: fallback, members: 'ss://nonsense'}",
            "7:32 groups.g.members",
        ),
    ],
)
def test_an_error_is_told_with_its_place(groups: str, problem: str) -> None:
    text = f"{WAYS}\ngroups:\n  {groups}\n  auto: {{type: select, members: a}}\n".replace(
        "\n\n", "\n"
    )
    found = problems("\n" + text.lstrip("\n").replace("groups:", "\ngroups:"))
    assert [one for one in found if one.startswith(problem)], found


def test_a_chain_that_never_leaves_is_told_once() -> None:
    text = WAYS + "groups: {auto: {type: select, members: [a, b]}}\n"
    assert problems(text) == ["5:44 groups.auto.members[1]: loop: b -> auto -> b"]


def test_rules_and_ways_may_name_groups() -> None:
    assert problems("groups: {g: {type: select, members: direct}}\nrules: [{otherwise: h}]\n") == [
        "2:21 rules[0].otherwise: there is no outbound 'h'"
    ]


def test_a_group_carries_packets_by_a_member_that_does() -> None:
    text = (
        WAYS
        + """
groups:
  auto: {type: select, members: [a]}
  web: {type: select, members: [b]}
  some: {type: select, members: [web, auto]}
rules:
  - {network: udp, port: 53, to: some}
  - {network: udp, port: 54, to: web}
  - otherwise: direct
"""
    )
    config = load_text(text, "x.yaml")
    assert list(without_udp(config, "some")) == []
    assert list(without_udp(config, "web")) == ["web"]
    (warning,) = config.warnings
    assert "'web' does not support" in warning.message


def test_what_changed_is_told() -> None:
    before = load_text("groups: {g: {type: select, members: direct}}", "x.yaml")
    after = load_text(
        "groups: {g: {type: fallback, members: direct}, h: {type: select, members: g}}", "x.yaml"
    )
    assert changes(before, after) == ("~ group g: type", "+ group h")
    assert changes(after, before) == ("~ group g: type", "- group h")


def test_the_report_counts_them(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("groups: {g: {type: select, members: direct}}\n")
    assert check_report(file).human().endswith("1 inbound, 1 outbound, 1 group, 0 rules")
