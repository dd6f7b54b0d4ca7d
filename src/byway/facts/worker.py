"""The process that runs the functions of one Python rule file.

A line of JSON comes for each question, and one goes back for each answer. Byway holds the other end
of the socket, and ends this process when an answer is late: whatever the file does to the
interpreter, it does to this one. Descriptors of Byway's are not open here.
"""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import json
import os
import signal
import socket
import sys
import traceback
import types
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable, Mapping
from datetime import datetime, timedelta, timezone
from typing import Any, cast

from byway import scripting
from byway.flow import Process, Sniffed, Target

MOST_NAMES = 10_000  # of a file are fields of
MOST_WORD = 1024  # characters of an answer
MOST_QUESTION = 1024 * 1024  # bytes

Answer = tuple[str, ...] | tuple[str, None]
"""("said", a word or None), or ("fault", what to tell, where)."""
Seen = list[Any]
"""A flow as it goes over the socket: what `facts/python.py` makes and `seen` reads."""


def main(path: str, number: int, parent: int, side_by_side: bool) -> None:
    """Run the file that is on standard input, answer until the socket ends. `side_by_side`: its
    coroutines wait together; else one function runs at a time."""
    _end_with_parent(parent)
    own = os.getpid()
    with open(0, "rb", closefd=False) as file:
        source = file.read()
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    with socket.socket(fileno=number) as link:
        try:
            names = _run(path, source)
        except BaseException as error:
            _leave_copies(own)
            _send(link, ["failed", f"{_told(error)}{_line_in(error, path)}"])
            return
        _leave_copies(own)
        _send(link, ["ready", _listing(names)])
        functions = _Functions(path, names)
        if side_by_side:
            _answer_side_by_side(link, functions)
        else:
            _answer_in_turn(link, functions)


def seen(fields: Seen) -> scripting.Flow:
    """A flow as rules see it."""
    network, inbound, target, source, user, addresses, process, sniffed, moment = fields
    return scripting.Flow(
        network,
        inbound,
        _target(target),
        None if source is None else _target(source),
        user,
        None if addresses is None else tuple(addresses),
        None if process is None else Process(*process),
        None if sniffed is None else Sniffed(*sniffed),
        None if moment is None else _moment(*moment),
    )


def _target(fields: list[Any]) -> Target:
    host, port, packed, absolute = fields
    return Target(host, port, None if packed is None else bytes.fromhex(packed), absolute)


def _moment(text: str, zone: str | None, offset: float | None) -> datetime:
    found = datetime.fromisoformat(text)
    if offset is None:
        return found
    distance = timedelta(seconds=offset)
    return found.replace(tzinfo=timezone(distance) if zone is None else timezone(distance, zone))


def _run(path: str, source: bytes) -> dict[str, object]:
    """The names of a file that was run as a module. Raises whatever it raises."""
    module = types.ModuleType(f"byway_rules_{hashlib.sha256(path.encode()).hexdigest()[:16]}")
    module.__file__ = path
    sys.modules[module.__name__] = module  # dataclasses and pickle look their module up there
    exec(compile(source, path, "exec", dont_inherit=True), module.__dict__)  # noqa: S102
    return vars(module)


def _listing(names: Mapping[str, object]) -> dict[str, list[object]]:
    """The declarations by name: [kind, needs, timeout]."""
    found: dict[str, list[object]] = {}
    for name, value in list(names.items())[:MOST_NAMES]:
        kind = "value"
        if callable(value):
            kind = "function" if inspect.isfunction(value) else "callable"
            try:
                inspect.signature(value).bind(None)
            except (TypeError, ValueError):
                kind = f"other {kind}"
            if inspect.iscoroutinefunction(value):
                kind = kind.replace("function", "coroutine")
        terms = scripting.terms_of(value)
        found[name] = [kind, list(terms.needs), terms.timeout]
    return found


class _Functions:
    """The functions of the file, and what each has answered to its keys."""

    def __init__(self, path: str, names: Mapping[str, object]) -> None:
        self._path = path
        self._names = names
        self._known: dict[str, OrderedDict[Hashable, Answer]] = {}

    def asked(self, name: str, fields: Seen) -> Answer:
        """The answer of a function."""
        try:
            flow, function = seen(fields), cast("Callable[..., object]", self._names[name])
            terms = scripting.terms_of(function)
            key = _key(terms, flow)
            return self._remembered(name, key) or self._taken(name, terms, key, function(flow))
        except BaseException as error:  # sys.exit() in a rule is a fault of the rule
            return self._failed(error)

    async def asked_side_by_side(self, name: str, fields: Seen) -> Answer:
        """The answer of a coroutine, in its time."""
        import asyncio

        terms = scripting.terms_of(self._names[name])
        try:
            flow = seen(fields)
            function = cast("Callable[..., Awaitable[object]]", self._names[name])
            key = _key(terms, flow)
            known = self._remembered(name, key)
            if known is not None:
                return known
            async with asyncio.timeout(terms.timeout):
                verdict = await function(flow)
            return self._taken(name, terms, key, verdict)
        except TimeoutError:
            return ("fault", f"took longer than {terms.timeout:g} s", "time")
        except BaseException as error:
            return self._failed(error)

    def _remembered(self, name: str, key: Hashable) -> Answer | None:
        known = self._known.get(name)
        if known is None or key not in known:
            return None
        known.move_to_end(key)
        return known[key]

    def _taken(self, name: str, terms: scripting.Terms, key: Hashable, verdict: object) -> Answer:
        """The verdict as a word, remembered under its key."""
        answer: Answer
        match verdict:
            case None:
                answer = ("said", None)
            case scripting.Reject():
                answer = ("said", "reject")
            case scripting.Drop():
                answer = ("said", "drop")
            case scripting.Via(outbound=str(word)) | str(word):
                answer = ("said", word[:MOST_WORD])
            case _:
                kind = type(verdict).__name__[:64]
                return ("fault", f"a verdict is a name or None, not {kind}", f"kind {kind}")
        if terms.key is not None:
            known = self._known.setdefault(name, OrderedDict())
            known[key] = answer
            while len(known) > terms.cached:
                known.popitem(last=False)
        return answer

    def _failed(self, error: BaseException) -> Answer:
        place = _line_in(error, self._path)
        return ("fault", f"{_told(error)}{place}", f"{type(error).__name__}{place}")


def _leave_copies(own: int) -> None:
    """A rule may fork: its copies of this process send no answers."""
    if os.getpid() != own:
        os._exit(0)


def _key(terms: scripting.Terms, flow: scripting.Flow) -> Hashable:
    """The key for a flow; a new thing, which equals nothing, for a function without keys."""
    key = object() if terms.key is None else terms.key(flow)
    hash(key)
    return key


def _answer_in_turn(link: socket.socket, functions: _Functions) -> None:
    own = os.getpid()
    with link.makefile("rb") as questions:
        for line in questions:
            number, name, fields = json.loads(line)
            answer = functions.asked(name, fields)
            _leave_copies(own)
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                _send(link, [number, *answer])


def _answer_side_by_side(link: socket.socket, functions: _Functions) -> None:
    import asyncio

    async def answer(line: bytes, writer: asyncio.StreamWriter) -> None:
        number, name, fields = json.loads(line)
        said = await functions.asked_side_by_side(name, fields)
        writer.write(_line([number, *said]))

    async def serve() -> None:
        reader, writer = await asyncio.open_unix_connection(sock=link.dup(), limit=MOST_QUESTION)
        async with asyncio.TaskGroup() as tasks:
            while line := await reader.readline():
                tasks.create_task(answer(line, writer))
            os._exit(0)  # no answer is awaited any more

    asyncio.run(serve())


def _send(link: socket.socket, message: list[object]) -> None:
    link.sendall(_line(message))


def _line(message: list[object]) -> bytes:
    return json.dumps(message).encode() + b"\n"


def _told(error: BaseException) -> str:
    text = str(error.msg if isinstance(error, SyntaxError) else error).partition("\n")[0]
    text = "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text[:200])
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _line_in(error: BaseException, path: str) -> str:
    """Where in a file it happened: the innermost place."""
    if isinstance(error, SyntaxError) and error.filename == path:
        return f" (line {error.lineno})"
    lines = [line for frame, line in traceback.walk_tb(error.__traceback__)
             if frame.f_code.co_filename == path]  # fmt: skip
    return f" (line {lines[-1]})" if lines else ""


def _end_with_parent(parent: int) -> None:
    """Be killed when Byway is, also in the middle of what never ends."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(0)


_PR_SET_PDEATHSIG = 1
