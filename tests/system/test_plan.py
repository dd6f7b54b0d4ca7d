"""Journals: what was noted is undone, whatever instant its process was killed at."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar

import pytest

from byway.system import plan
from byway.system.plan import Change, Fields, HostError, Journal, change_of, left, repair, undo_file
from byway.system.routing import Route, Rule


@dataclass(frozen=True, slots=True)
class Touch(Change):
    """A file that is there or not."""

    kind: ClassVar[str] = "touch"

    path: str
    fails: bool = False

    def describe(self) -> str:
        return f"touch {self.path}"

    def apply(self) -> None:
        Path(self.path).touch()
        if self.fails:
            raise HostError("no room")

    def undo(self) -> None:
        Path(self.path).unlink(missing_ok=True)

    def fields(self) -> Fields:
        return asdict(self)


@pytest.fixture(autouse=True)
def touching(monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = {**plan._KINDS, "touch": f"{__name__}:Touch", "stuck": f"{__name__}:Stuck"}
    monkeypatch.setattr(plan, "_KINDS", kinds)


def test_changes_are_undone_and_the_journal_goes(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "x" / "1.changes")
    changes = [Touch(str(tmp_path / name)) for name in "abc"]
    for change in changes:
        journal.make(change)
        assert json.loads(journal.path.read_text().splitlines()[-1])["path"] == change.path
    journal.undo(changes[1:2])
    assert sorted(path.name for path in tmp_path.glob("[abc]")) == ["a", "c"]
    assert len(journal.path.read_text().splitlines()) == 3
    journal.undo()
    journal.undo()
    assert not list(tmp_path.glob("[abc]"))
    assert not journal.path.exists()


def test_a_change_that_fails_is_undone(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "1.changes")
    with pytest.raises(HostError, match="no room"):
        journal.make(Touch(str(tmp_path / "a"), fails=True))
    assert not (tmp_path / "a").exists()
    assert journal.done == ()


def test_what_a_killed_process_left_is_undone(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "1.changes")
    for name in "ab":
        journal.make(Touch(str(tmp_path / name)))
    # Killed between the note and the change, and in the middle of a further note.
    with journal.path.open("a") as file:
        file.write(json.dumps({"kind": "touch", "path": str(tmp_path / "c")}) + "\n")
        file.write('{"kind": "touch", "pa')
    assert undo_file(journal.path) == [f"touch {tmp_path / name}" for name in "cba"]
    assert sorted(tmp_path.iterdir()) == []
    assert undo_file(journal.path) == []


@dataclass(frozen=True, slots=True)
class Stuck(Touch):
    """One that cannot be undone while it is stuck."""

    kind: ClassVar[str] = "stuck"

    def undo(self) -> None:
        if Path(f"{self.path}.stuck").exists():
            raise HostError("it is stuck")
        Path(self.path).unlink(missing_ok=True)


def test_what_cannot_be_undone_stays_noted(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "1.changes")
    journal.make(Touch(str(tmp_path / "a")))
    journal.make(Stuck(str(tmp_path / "b")))
    journal.make(Touch(str(tmp_path / "c")))
    (tmp_path / "b.stuck").touch()
    with pytest.raises(HostError, match="stuck"):
        journal.undo()
    assert not (tmp_path / "a").exists()
    assert [json.loads(line)["kind"] for line in journal.path.read_text().splitlines()[1:]] == [
        "stuck"
    ]
    (tmp_path / "b.stuck").unlink()
    journal.undo()
    assert not (tmp_path / "b").exists()
    assert not journal.path.exists()


def test_a_spoilt_beginning_loses_nothing(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "4194305-1-1.changes")  # no process has this number
    journal.make(Touch(str(tmp_path / "a")))
    text = journal.path.read_text()
    journal.path.write_text("\0" + text)
    assert repair(tmp_path) == [f"touch {tmp_path / 'a'}"]
    assert plan.journal(tmp_path).path.name.startswith(f"{os.getpid()}-")


def test_only_what_is_left_is_repaired(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "1.changes")
    journal.make(Touch(str(tmp_path / "a")))
    assert list(left(tmp_path)) == []  # this process runs
    lines = journal.path.read_text().splitlines()
    owner = json.loads(lines[0])

    def told(**other: object) -> None:
        journal.path.write_text("\n".join([json.dumps(owner | other), *lines[1:]]) + "\n")

    told(net=owner["net"] + 1, pid=0)
    assert repair(tmp_path) == []  # of another network namespace
    told(began="1")  # another process has its number now
    assert repair(tmp_path) == [f"touch {tmp_path / 'a'}"]
    told(boot="another")
    assert repair(tmp_path) == []
    assert not journal.path.exists()


@pytest.mark.parametrize("text", ["", "\n", "no json\n", "[]\n{}\n", '{"pid": "x"}\n{"kind": 1}\n'])
def test_a_spoilt_journal_harms_nobody(text: str, tmp_path: Path) -> None:
    path = tmp_path / "1.changes"
    path.write_text(text)
    assert undo_file(path) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            Rule(4, 9000, 254, mark=0x2D7),
            "ip -4 rule add priority 9000 fwmark 0x2d7 lookup main",
        ),
        (
            Rule(6, 9003, 254, unless_default=True),
            "ip -6 rule add priority 9003 lookup main suppress_prefixlength 0",
        ),
        (
            Rule(4, 1, 727, to="192.0.2.0/24", source="10.0.0.0/8", uid=7, port=53, link="lo"),
            "ip -4 rule add priority 1 from 10.0.0.0/8 to 192.0.2.0/24 iif lo uidrange 7-7"
            " dport 53 lookup 727",
        ),
        (Rule(6, 5), "ip -6 rule add priority 5 unreachable"),
        (Route(4, "0.0.0.0/0", "byway", 727), "ip -4 route add default dev byway table 727"),
        (Route(6, "fd00::/8", "byway", 254), "ip -6 route add fd00::/8 dev byway table main"),
    ],
)
def test_changes_say_what_they_are_and_are_noted(change: Change, words: str) -> None:
    assert change.describe() == words
    noted = json.loads(json.dumps({"kind": change.kind, **change.fields()}))
    assert change_of(noted) == change


@pytest.mark.parametrize("noted", [{}, {"kind": "x"}, {"kind": "rule"}, {"kind": "rule", "a": 1}])
def test_what_is_no_change_is_refused(noted: dict[str, object]) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - whatever is wrong with it
        change_of(noted)


def test_this_process_is_told_from_others() -> None:
    assert plan._began(os.getpid()) != ""
    assert plan._began(2**22 + 1) == ""
