"""Rules in Python: their files are looked at on config time, their functions asked on flow time.

Both happen in other processes (`workers.py`), for as long as is allowed, so nothing in a file can
hold Byway up. Whatever goes wrong is no match.
"""

from __future__ import annotations

import difflib
import hashlib
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass

from byway.errors import in_words
from byway.facts.workers import Outcome, Pool, Source, listing
from byway.flow import Flow, Target
from byway.rules.verdicts import Fact, Facts, Said

MOST_BYTES = 1024 * 1024
NEEDS = {
    "address": Fact.ADDRESS,
    "process": Fact.PROCESS,
    "sniffed": Fact.SNIFFED,
    "time": Fact.MOMENT,
}


class ScriptError(Exception):
    """A file cannot be used; the text says why, and the hint what to do."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


@dataclass(frozen=True, slots=True, eq=False)
class Script:
    """A file of Python; `digest` tells whether it is another one now, `names` what is in it: each
    with its kind, needs and time."""

    source: Source
    digest: bytes
    names: Mapping[str, tuple[str, tuple[str, ...], float]]


def load(path: str) -> Script:
    """Read a file and run it, in a process of its own. Raises ScriptError.

    It must belong to root or to the user that Byway runs as, and nobody else may write it: whoever
    can write it decides what this user does.
    """
    source = Source(path, _read(path))
    try:
        names = listing(source)
    except OSError as error:
        raise ScriptError(f"cannot be run: {in_words(error)}") from None
    except ValueError as error:
        raise ScriptError(f"does not run: {error}") from None
    return Script(source, hashlib.sha256(source.content).digest(), names)


class Function:
    """A function of a script, as a rule asks it. Can be asked from many flows at once."""

    def __init__(self, script: Script, name: str, ways: frozenset[str]) -> None:
        """`ways` are the words that it may answer with. Raises ScriptError."""
        kind, needs, timeout = _callable(script, name)
        self.script = script
        self.name = f"{os.path.basename(script.source.path)}:{name}"
        self.digest = script.digest
        self.side_by_side = kind == "coroutine"
        self.needs = tuple(NEEDS[one] for one in needs)
        self._word = name
        self._timeout = timeout
        self._ways = ways

    async def answer(self, flow: Flow, facts: Facts, pool: Pool) -> Said:
        """What it says of a flow, within its time, by a pool of its script. Raises nothing but
        CancelledError."""
        outcome = await pool.ask(self._word, fields_of(flow, facts), self._timeout)
        match outcome:
            case Outcome("said", None):
                return Said(None)
            case Outcome("said", str(word)) if word in self._ways:
                return Said(word)
            case Outcome("said", word):
                return self._fault(f"there is no outbound {str(word)[:64]!r}", f"way {word}")
            case Outcome("late"):
                return self._fault(f"took longer than {self._timeout:g} s", "time")
        return self._fault(str(outcome.text), outcome.place)

    def _fault(self, note: str, place: str) -> Said:
        return Said(None, note, f"{self.script.source.path}:{self.name}: {place}")


def fields_of(flow: Flow, facts: Facts) -> list[object]:
    """A flow, and what is known of it, as it goes to a worker."""
    packed = facts.addresses if flow.target.packed is None else (flow.target.packed,)
    process, sniffed, moment = facts.process, facts.sniffed, facts.moment
    offset = None if moment is None else moment.utcoffset()
    return [
        "tcp" if flow.network.value == "tcp" else "udp",
        flow.inbound,
        _place(flow.target),
        None if flow.source is None else _place(flow.source),
        flow.user,
        None if packed is None else [Target.from_packed(one, 0).host for one in packed],
        None
        if process is None
        else [process.name, process.path, process.uid, process.cgroup, process.command],
        None if sniffed is None else [sniffed.protocol, sniffed.name],
        None
        if moment is None
        else [
            moment.isoformat(),
            moment.tzname(),
            None if offset is None else offset.total_seconds(),
        ],
    ]


def _place(target: Target) -> list[object]:
    packed = None if target.packed is None else target.packed.hex()
    return [target.host, target.port, packed, target.absolute]


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise ScriptError("is not a file")
            if status.st_uid not in (0, os.geteuid()):
                hint = "it must belong to root, or to the user that runs Byway"
                raise ScriptError(f"belongs to another user ({status.st_uid})", hint)
            if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                raise ScriptError("other users can write to it", f"chmod go-w {path}")
            if status.st_size > MOST_BYTES:
                raise ScriptError(f"is larger than {MOST_BYTES} bytes")
            return file.read(MOST_BYTES)
    except (OSError, ValueError) as error:
        why = in_words(error, file=False)
        raise ScriptError(f"cannot be read: {why.lower()}") from None


def _callable(script: Script, name: str) -> tuple[str, tuple[str, ...], float]:
    known = [
        one
        for one, (kind, _, _) in script.names.items()
        if kind in ("function", "coroutine", "other function", "other coroutine") and one[0] != "_"
    ]
    found = script.names.get(name)
    if found is None:
        near = difflib.get_close_matches(name, known, 1)
        hint = f"did you mean {near[0]}?" if near else f"its functions: {', '.join(known)}"
        raise ScriptError(f"has no function {name!r}", hint if known else "it has no functions")
    if found[0] == "value":
        raise ScriptError(f"{name!r} in it is not a function")
    if found[0].startswith("other"):
        hint = f"def {name}(flow): ..."
        raise ScriptError(f"{name!r} in it cannot be called with one flow", hint)
    return found
