"""An error of a verb, in lines for a person."""

from __future__ import annotations

from collections.abc import Iterator

from byway.errors import ConfigError, in_words


def fault_lines(error: BaseException) -> Iterator[str]:
    """The error and its hint; of a config every problem at its place."""
    if isinstance(error, ConfigError):
        from byway.config.read.excerpt import problem_lines

        yield from problem_lines(error.problems)
        return
    first, *rest = in_words(error).split("\n")
    yield f"byway: {first}"
    yield from rest
    if hint := getattr(error, "hint", ""):
        yield f"  hint: {hint}"
