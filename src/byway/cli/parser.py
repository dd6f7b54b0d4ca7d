"""The command line's parser: of a word that it does not know, what may have been meant."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable, Sequence
from typing import NoReturn

_CHOICE = re.compile(r"argument .*: invalid choice: '(?P<word>.*)' \(choose from (?P<choices>.*)\)")


class Parser(argparse.ArgumentParser):
    """As argparse's own, with a hint below its errors."""

    def words(self, given: Sequence[str]) -> argparse.Namespace:
        """The options of the command line. Ends the process where it is wrong."""
        if given[0].startswith("-") and not self._knows(given[0]):
            self._unknown(given[0])
        options, rest = self.parse_known_args(given)
        if rest:
            (verbs,) = (one for one in self._actions if isinstance(one.choices, dict))
            assert isinstance(verbs.choices, dict)
            verb = verbs.choices[next(word for word in given if word in verbs.choices)]
            assert isinstance(verb, Parser)
            verb._unknown(rest[0])
        return options

    def error(self, message: str) -> NoReturn:
        found = _CHOICE.fullmatch(message)
        choices = re.findall(r"'([^']*)'", found["choices"]) if found else ()
        self._end(message, _nearest(found["word"], choices) if found else "")

    def _knows(self, word: str) -> bool:
        """Whether it is an option, or the beginning of one."""
        begun = word.partition("=")[0]
        return any(one.startswith(begun) for one in self._option_string_actions)

    def _unknown(self, word: str) -> NoReturn:
        """Two dashes begin an option; anything else is a word too many."""
        if not word.startswith("-") or word == "-":
            self._end(f"one word too many: {word.partition('://')[0][:80]}", "")
        option = word.partition("=")[0]  # its value may be a secret
        self._end(
            f"there is no option {option[:80]}", _nearest(option, self._option_string_actions)
        )

    def _end(self, message: str, near: str) -> NoReturn:
        from byway.ledger.log import escaped

        hint = f"  hint: did you mean {near}?\n" if near else ""
        self.print_usage(sys.stderr)
        self.exit(2, escaped(f"{self.prog}: error: {message}") + "\n" + hint)


def _nearest(word: str, known: Iterable[str]) -> str:
    from byway.values.problems import nearest

    plain = {one.lstrip("-").replace("-", "_"): one for one in known}
    return plain.get(nearest(word.lstrip("-"), plain), "")
