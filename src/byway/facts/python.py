"""Rules in Python: their functions are loaded on config time, and asked on flow time.

A function is asked in a thread of `Threads`, for as long as it has declared; an answer that comes
later is still remembered for the next flow with its key. Whatever goes wrong is no match.
"""

from __future__ import annotations

import asyncio
import contextlib
import difflib
import hashlib
import inspect
import os
import stat
import sys
import threading
import traceback
import types
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import cast

from byway import scripting
from byway.errors import in_words
from byway.facts.threads import Threads
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


@dataclass(frozen=True, slots=True)
class Script:
    """A file of Python that was run; `digest` tells whether it is another one now."""

    path: str
    digest: bytes
    names: dict[str, object]


def load(path: str) -> Script:
    """Read a file and run it as a module. Raises ScriptError.

    It must belong to root or to the user that Byway runs as, and nobody else may write it: whoever
    can write it decides what this user does.
    """
    source = _read(path)
    digest = hashlib.sha256(source).digest()
    module = types.ModuleType(f"byway_rules_{hashlib.sha256(path.encode()).hexdigest()[:16]}")
    module.__file__ = path
    before = sys.modules.get(module.__name__)
    sys.modules[module.__name__] = module  # dataclasses and pickle look their module up there
    try:
        exec(compile(source, path, "exec", dont_inherit=True), module.__dict__)  # noqa: S102
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        if before is not None:
            sys.modules[module.__name__] = before
        else:
            del sys.modules[module.__name__]
        where = _line_in(error, path)
        raise ScriptError(f"does not run: {_told(error)}{where}") from None
    return Script(path, digest, vars(module))


class Function:
    """A function of a script, as a rule asks it. Safe to ask from many flows at once."""

    def __init__(self, script: Script, name: str, ways: frozenset[str]) -> None:
        """`ways` are the words that it may answer with. Raises ScriptError."""
        self.name = f"{os.path.basename(script.path)}:{name}"
        self.digest = script.digest
        self._path = script.path
        self._function = _callable(script, name)
        self._is_async = inspect.iscoroutinefunction(self._function)
        self._terms = scripting.terms_of(self._function)
        self._ways = ways
        self._lock = threading.Lock()
        self._known: OrderedDict[Hashable, Said] = OrderedDict()

    @property
    def needs(self) -> tuple[Fact, ...]:
        """The facts that it asks for."""
        return tuple(NEEDS[one] for one in self._terms.needs)

    async def answer(self, flow: Flow, facts: Facts, threads: Threads) -> Said:
        """What it says of a flow, within its time. Raises nothing but CancelledError."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Said] = loop.create_future()
        seen = shown(flow, facts)

        def settle(said: Said) -> None:
            if not future.done():
                future.set_result(said)

        def deliver(said: Said) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed, nobody waits
                loop.call_soon_threadsafe(settle, said)

        def ask() -> None:
            if not future.done():  # else it waited for its thread too long
                deliver(self._asked(seen))

        async def ask_async() -> None:
            deliver(await self._asked_async(seen))

        started = threads.begin(ask_async) if self._is_async else threads.run(ask)
        if not started:
            return self._fault("too many questions wait for an answer", "waiting")
        try:
            async with asyncio.timeout(self._terms.timeout):
                return await future
        except TimeoutError:
            return self._fault(f"took longer than {self._terms.timeout:g} s", "time")

    def _asked(self, seen: scripting.Flow) -> Said:
        """In a thread."""
        try:
            key = self._key(seen)
            known = self._remembered(key)
            if known is not None:
                return known
            function = cast("Callable[[scripting.Flow], object]", self._function)
            return self._taken(key, function(seen))
        except BaseException as error:  # sys.exit() in a rule is a fault of the rule
            return self._failed(error)

    async def _asked_async(self, seen: scripting.Flow) -> Said:
        """In the loop of the thread for coroutines."""
        try:
            key = self._key(seen)
            known = self._remembered(key)
            if known is not None:
                return known
            function = cast("Callable[[scripting.Flow], Awaitable[object]]", self._function)
            async with asyncio.timeout(self._terms.timeout):
                return self._taken(key, await function(seen))
        except TimeoutError:
            return self._fault(f"took longer than {self._terms.timeout:g} s", "time")
        except BaseException as error:
            if isinstance(error, asyncio.CancelledError):
                raise
            return self._failed(error)

    def _key(self, seen: scripting.Flow) -> Hashable:
        """Its key for a flow; a new thing, which equals nothing, for a function without keys."""
        key = object() if self._terms.key is None else self._terms.key(seen)
        hash(key)
        return key

    def _remembered(self, key: Hashable) -> Said | None:
        with self._lock:
            known = self._known.get(key)
            if known is not None:
                self._known.move_to_end(key)
        return known

    def _taken(self, key: Hashable, verdict: object) -> Said:
        """The verdict as a word, remembered under its key."""
        match verdict:
            case None:
                said = Said(None)
            case scripting.Reject():
                said = Said("reject")
            case scripting.Drop():
                said = Said("drop")
            case scripting.Via(outbound=str(word)) | str(word):
                if word not in self._ways:
                    return self._fault(f"there is no outbound {word[:64]!r}", f"way {word[:64]}")
                said = Said(word)
            case _:
                kind = type(verdict).__name__
                return self._fault(f"a verdict is a name or None, not {kind}", f"kind {kind}")
        if self._terms.key is not None:
            with self._lock:
                self._known[key] = said
                while len(self._known) > self._terms.cached:
                    self._known.popitem(last=False)
        return said

    def _failed(self, error: BaseException) -> Said:
        place = _line_in(error, self._path)
        return self._fault(f"{_told(error)}{place}", f"{type(error).__name__}{place}")

    def _fault(self, note: str, place: str) -> Said:
        return Said(None, note, f"{self._path}:{self.name}: {place}")


def shown(flow: Flow, facts: Facts) -> scripting.Flow:
    """A flow, and what is known of it, as rules see it."""
    packed = facts.addresses if flow.target.packed is None else (flow.target.packed,)
    addresses = None if packed is None else tuple(map(_address, packed))
    return scripting.Flow(
        "tcp" if flow.network.value == "tcp" else "udp",
        flow.inbound,
        flow.target,
        flow.source,
        flow.user,
        addresses,
        facts.process,
        facts.sniffed,
        facts.moment,
    )


def _address(packed: bytes) -> str:
    return Target.from_packed(packed, 0).host


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
                raise ScriptError("others may write it", f"chmod go-w {path}")
            if status.st_size > MOST_BYTES:
                raise ScriptError(f"is larger than {MOST_BYTES} bytes")
            return file.read(MOST_BYTES)
    except (OSError, ValueError) as error:
        why = in_words(error, file=False)
        raise ScriptError(f"cannot be read: {why.lower()}") from None


def _callable(script: Script, name: str) -> Callable[..., object]:
    known = [
        one for one, value in script.names.items() if inspect.isfunction(value) and one[0] != "_"
    ]
    found = script.names.get(name)
    if found is None:
        near = difflib.get_close_matches(name, known, 1)
        hint = f"did you mean {near[0]}?" if near else f"its functions: {', '.join(known)}"
        raise ScriptError(f"has no function {name!r}", hint if known else "it has no functions")
    if not callable(found):
        raise ScriptError(f"{name!r} in it is not a function")
    try:
        inspect.signature(found).bind(None)
    except (TypeError, ValueError):
        hint = f"def {name}(flow): ..."
        raise ScriptError(f"{name!r} in it cannot be called with one flow", hint) from None
    return found


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
