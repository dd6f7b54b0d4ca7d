"""Filters of names as mihomo has them: regexes with look-around, several between backticks.

They run once, at an import, over a bounded list, so an engine that backtracks may stand here,
under a limit of time for all of a file together.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import regex

_T = TypeVar("_T")
_SECONDS = 5.0
_LONGEST = 4096  # characters of a filter; names longer than this fit none


class Unfit(Exception):  # noqa: N818 - says of a filter what it is
    """A filter that cannot be asked, and why."""


class NameFilters:
    """The filters of one file. `now` is the clock of their time."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._left = _SECONDS
        self._known: dict[str, tuple[regex.Pattern[str], ...]] = {}

    def searched(self, written: str, name: str) -> int | None:
        """Which pattern of a filter, the first being 0, finds something in a name; None: none.

        Raises Unfit for what is no regex or takes too long.
        """
        for at, pattern in enumerate(self._patterns(written)):
            if self._search(pattern, name) is not None:
                return at
        return None

    def replaced(self, pattern: str, target: str, name: str) -> str:
        """A name with what the pattern finds replaced; `$1` in the target is its first group.

        Raises Unfit.
        """
        import regex  # loaded when a file has filters, since most have none

        (found,) = self._patterns(pattern, several=False)
        template = regex.sub(r"\$(?:\{(\w+)\}|(\d+))", r"\\g<\1\2>", target.replace("\\", "\\\\"))
        try:
            return str(self._timed(lambda left: found.sub(template, name[:_LONGEST], timeout=left)))
        except (regex.error, IndexError):
            raise Unfit(f"{target[:60]!r} refers to a missing group") from None

    def _search(self, pattern: regex.Pattern[str], name: str) -> object:
        if len(name) > _LONGEST:
            return None
        return self._timed(lambda left: pattern.search(name, timeout=left))

    def _timed(self, search: Callable[[float], _T]) -> _T:
        if self._left <= 0:
            raise Unfit(f"the filters of this file took {_SECONDS:g} s")
        start = self._now()
        try:
            return search(self._left)
        except TimeoutError:
            raise Unfit(f"the filters of this file took {_SECONDS:g} s") from None
        finally:
            self._left -= self._now() - start

    def _patterns(self, written: str, several: bool = True) -> tuple[regex.Pattern[str], ...]:
        import regex

        if written not in self._known:
            if len(written) > _LONGEST:
                raise Unfit(f"longer than {_LONGEST} characters")
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", FutureWarning)  # of sets in sets, by and by
                    self._known[written] = tuple(
                        regex.compile(part)
                        for part in (written.split("`") if several else [written])
                    )
            except (regex.error, RecursionError, OverflowError) as error:
                raise Unfit(f"not a regex: {error}") from None
        return self._known[written]
