"""Errors, sorted by whose fault they are. OSError, TimeoutError and EOFError pass unwrapped."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum


class BywayError(Exception):
    """The root of Byway's own errors: what happened, and a hint what to do about it."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong in a config, with its place (lines, columns count from 1; 0: none)."""

    file: str
    line: int
    column: int
    key: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        text = f"{where}: {self.key}: {self.message}" if self.key else f"{where}: {self.message}"
        return f"{text}\n  hint: {self.hint}" if self.hint else text


class ConfigError(BywayError):
    """The config is wrong: every problem in it at once, each with its place."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = tuple(problems)


class PeerError(BywayError):
    """The other side broke its protocol; this flow alone ends."""


class Reason(Enum):
    """The reason of a failure, which each inbound translates into its own protocol."""

    RULES = "not allowed by rules"
    CREDENTIALS = "wrong or missing credentials"
    CONNECTION_REFUSED = "connection refused"
    NETWORK_UNREACHABLE = "network unreachable"
    HOST_UNREACHABLE = "host unreachable"
    NAME_UNKNOWN = "name not found"
    TIMED_OUT = "timed out"
    NOT_SUPPORTED = "not supported"
    LIMIT = "limit reached"
    FAILURE = "general failure"


class Refused(BywayError):  # noqa: N818
    """Somebody said no: a rule, an upstream proxy, a limit."""

    def __init__(self, message: str, reason: Reason = Reason.FAILURE, hint: str = "") -> None:
        super().__init__(message, hint)
        self.reason = reason


class Unreachable(BywayError):  # noqa: N818
    """A hop could not be reached. `hop` names it (an outbound's name, or the target)."""

    def __init__(self, message: str, hop: str, reason: Reason = Reason.HOST_UNREACHABLE) -> None:
        super().__init__(message)
        self.hop = hop
        self.reason = reason


class EngineError(BywayError):
    """The engine failed or was misused; a Rust panic arrives as this, for its flow alone."""


FAULTS = (BywayError, OSError, EOFError)
"""The errors of dials, streams and peers. Any other is a fault of Byway."""


def in_words(error: BaseException, file: bool = True) -> str:
    """An error as text for a person: without the system's error number, and never empty.

    `file`: the file that it is about is named, where there is one.
    """
    if isinstance(error, OSError) and error.strerror:
        words = str(error.strerror)
        if error.errno and words == os.strerror(error.errno):  # the system's own, not ours
            words = words[:1].lower() + words[1:]
        name = error.filename
        return f"{os.fsdecode(name)}: {words}" if file and isinstance(name, str | bytes) else words
    if text := str(error):
        return text
    if isinstance(error, EOFError):
        return "the connection ended"
    return "timed out" if isinstance(error, TimeoutError) else type(error).__name__


def reason_of(error: BaseException | None) -> Reason:
    """The reason that the near side is given for any error of the road."""
    if isinstance(error, (Refused, Unreachable)):
        return error.reason
    if isinstance(error, TimeoutError):
        return Reason.TIMED_OUT
    if isinstance(error, OSError):
        return _ERRNO.get(error.errno or 0, Reason.FAILURE)
    return Reason.FAILURE


_ERRNO = {
    errno.ECONNREFUSED: Reason.CONNECTION_REFUSED,
    errno.ENETUNREACH: Reason.NETWORK_UNREACHABLE,
    errno.ENETDOWN: Reason.NETWORK_UNREACHABLE,
    errno.EHOSTUNREACH: Reason.HOST_UNREACHABLE,
    errno.EHOSTDOWN: Reason.HOST_UNREACHABLE,
    errno.EADDRNOTAVAIL: Reason.HOST_UNREACHABLE,
    errno.ETIMEDOUT: Reason.TIMED_OUT,
    errno.EACCES: Reason.RULES,
    errno.EPERM: Reason.RULES,
}
