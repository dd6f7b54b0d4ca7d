"""Rules in Python in the config: what is wrong is told, what changed is read again."""

from __future__ import annotations

from pathlib import Path

import pytest

from byway.config import changes, judge_of, load_text
from byway.errors import ConfigError
from byway.flow import Flow, Network, Target
from byway.rules import Fact, Facts, Lacks, Said
from byway.rules.explain import Outcome

SOURCE = """\
import byway
def decide(flow): return "office"
@byway.rule(needs=("address", "time"))
def later(flow): return None
"""
OUT = "outbounds: {office: {type: socks, server: 'h:1'}}\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "r.py").write_text(SOURCE)
    return tmp_path


def flow(host: str = "a.example", port: int = 443) -> Flow:
    return Flow(1, Network.TCP, "mixed", None, Target.of(host, port))


def wrong(rules: str, folder: Path) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_text(f"{OUT}rules:\n{rules}", "x.yaml", str(folder))
    return [f"{one.line}:{one.column} {one.key}: {one.message}" for one in caught.value.problems]


def test_a_rule_asks_its_function_once_all_else_is_known(folder: Path) -> None:
    rules = "rules: [{port: 443, python: r.py:later}, {python: r.py:decide}, {otherwise: direct}]"
    config = load_text(OUT + rules, "x.yaml", str(folder))
    judge = judge_of(config)
    later, decide = (config.functions[place] for place in config.functions)

    assert (later.name, decide.name) == ("r.py:later", "r.py:decide")
    assert judge.decide(flow()) == Lacks(Fact.ADDRESS)
    assert judge.decide(flow(port=1)) == Lacks(Fact.ANSWER, decide)
    some = judge_facts(addresses=())
    assert judge.decide(flow(), some) == Lacks(Fact.MOMENT)
    whole = judge_facts(addresses=(), moment=True)
    assert judge.decide(flow(), whole) == Lacks(Fact.ANSWER, later)
    for answers, way in (
        (((later, Said("reject")),), "Reject"),
        (((later, Said("drop")),), "Drop"),
        (((later, Said(None)), (decide, Said("office"))), "Via"),
        (((later, Said(None, "broke")), (decide, Said(None))), "Via"),
    ):
        facts = judge_facts(addresses=(), moment=True, answers=answers)
        decided = judge.decide(flow(), facts)
        explained = judge.explain(flow(), facts)
        assert type(decided).__name__ == way
        assert explained.answer == decided
        assert explained.tried[-1].outcome is Outcome.MATCHED
        told = [check for tried in explained.tried for check in tried.checks]
        assert [check.condition for check in told][:2] == ["port", "python"]
        assert (told[1].answer is True) == bool(told[1].found) == (way in ("Reject", "Drop"))


def judge_facts(
    addresses: tuple[bytes, ...] | None = None,
    moment: bool = False,
    answers: tuple[tuple[object, Said], ...] = (),
) -> Facts:
    from datetime import datetime

    return Facts(addresses, datetime(2026, 11, 23) if moment else None, None, None, answers)  # type: ignore[arg-type]


def test_a_rule_in_python_is_not_the_last_and_shadows_nothing(folder: Path) -> None:
    rules = "rules: [{domain: a, python: r.py:decide}, {domain: a, to: drop}, {otherwise: direct}]"
    config = load_text(OUT + rules, "x.yaml", str(folder))

    assert config.warnings == ()
    alone = load_text("rules: [{python: r.py:later}, {otherwise: direct}]", "x", str(folder))
    assert judge_of(alone).decide(flow()) == Lacks(Fact.ADDRESS)
    assert judge_of(alone).without({0}).decide(flow()) == judge_of(alone).rules[1].verdict


def test_what_is_wrong_is_told_with_its_place(folder: Path) -> None:
    (folder / "broken.py").write_text("def decide(flow)\n")
    (folder / "open.py").write_text(SOURCE)
    (folder / "open.py").chmod(0o666)
    rules = """\
  - {domain: a b, to: reject}
  - {python: none.py:decide}
  - {python: broken.py:decide}
  - {python: r.py:decid}
  - {python: open.py:decide}
  - {python: r.py}
  - {python: r.py:decide, to: direct}
  - otherwise: direct
"""
    told = wrong(rules, folder)

    assert told[1:] == [
        "4:14 rules[1].python: none.py cannot be read: no such file or directory",
        "5:14 rules[2].python: broken.py does not run: SyntaxError: expected ':' (line 1)",
        "6:14 rules[3].python: r.py has no function 'decid'",
        "7:14 rules[4].python: open.py other users can write to it",
        "8:14 rules[5].python: 'r.py' names no function",
        "9:27 rules[6].to: the function returns the destination",
    ]
    assert (
        "otherwise must be the only key"
        in wrong("  - {otherwise: direct, python: r.py:decide}", folder)[0]
    )
    assert "the last rule must be otherwise" in wrong("  - {python: r.py:decide}", folder)[0]


def test_a_changed_file_is_told_and_run_again(folder: Path) -> None:
    text = f"{OUT}rules: [{{python: r.py:decide}}, {{otherwise: direct}}]"
    before = load_text(text, "x.yaml", str(folder))
    (folder / "r.py").write_text(SOURCE.replace('"office"', '"drop"'))
    after = load_text(text, "x.yaml", str(folder))

    assert changes(before, after) == ("~ python r.py:decide: the file has changed",)
    assert changes(after, after) == ()
