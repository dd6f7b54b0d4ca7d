"""Collecting what is wrong, each with its place in the file, its key path and the nearest word."""

from __future__ import annotations

from collections.abc import Collection
from itertools import islice

from byway.errors import Problem
from byway.values.name import visible
from byway.values.written import Node
from byway.values.wrong import Wrong

Path = tuple[str | int, ...]

MAX_NEAREST = 200  # errors for which the nearest word is looked for

# Words of other programs, or of this one's past, for what is called otherwise here.
_SYNONYMS = {
    "address": ("listen", "server"),
    "auth": ("users", "username"),
    "cidr": ("ip",),
    "default": ("otherwise",),
    "dialer_proxy": ("via",),
    "detour": ("via",),
    "final": ("otherwise",),
    "host": ("domain", "server"),
    "ip_cidr": ("ip",),
    "match": ("otherwise",),
    "outbound": ("to",),
    "pass": ("password",),
    "proxies": ("outbounds",),
    "proxy": ("to", "via"),
    "source_ip_cidr": ("source",),
    "suffix": ("domain_suffix",),
    "timeout": ("handshake",),
    "user": ("username", "users", "name"),
    "username": ("name", "user"),
}


class Problems:
    """What is wrong in one file, and what is only odd."""

    def __init__(self, file: str, root: Node) -> None:
        self.file = file
        self.root = root
        self.errors: list[Problem] = []
        self.warnings: list[Problem] = []
        self.moved: dict[Path, Path] = {}  # what is made of a link, to where the link stands

    def add(self, path: Path, message: str, hint: str = "", at_key: bool = False) -> None:
        """Note an error at a path; `at_key` points at the key and not at its value."""
        self.errors.append(self._problem(path, message, hint, at_key))

    def warn(self, path: Path, message: str, hint: str = "") -> None:
        """Note something odd at a path."""
        self.warnings.append(self._problem(path, message, hint, False))

    def wrong(self, path: Path, error: Wrong, at_key: bool = False) -> None:
        """Note a value that is not what it may be."""
        self.add((*path, *error.key), error.message, error.hint, at_key)

    def at(self, line: int, column: int, path: Path, message: str, hint: str = "") -> None:
        """Note an error at a place."""
        self.errors.append(Problem(self.file, line, column, key_text(path), message, hint))

    def sorted_errors(self) -> list[Problem]:
        """The errors in the order of the file, none twice."""
        return sorted(dict.fromkeys(self.errors), key=lambda p: (p.line, p.column))

    def suggestion(self, word: str, known: Collection[str], limit: int = 24) -> str:
        """A hint that names the nearest known word and what is known.

        Looking for the nearest is slow: after many errors, only what is known is named.
        """
        listed = ", ".join(key_text((name,)) for name in islice(known, limit))
        if len(known) > limit:
            listed += f" and {len(known) - limit} more"
        near = nearest(word, known) if len(self.errors) < MAX_NEAREST else ""
        return f"did you mean {near}? Known here: {listed}" if near else f"known here: {listed}"

    def line(self, path: Path) -> int:
        """The line of a path."""
        return self._find(path, False)[0]

    def _problem(self, path: Path, message: str, hint: str, at_key: bool) -> Problem:
        line, column, there = self._find(self.moved.get(path[:2], path), at_key)
        return Problem(self.file, line, column, key_text(there), message, hint)

    def _find(self, path: Path, at_key: bool) -> tuple[int, int, Path]:
        """The place of a path, or of the nearest thing around it that is there; and the path
        without the indexes of lists that were not written as such."""
        node, there = self.root, list(path)
        line, column = node.line, node.column
        for at, step in enumerate(path):
            content = node.content
            if isinstance(step, str) and isinstance(content, dict) and step in content:
                entry = content[step]
                node = entry.value
                last_key = at_key and at == len(path) - 1
                line, column = (entry.line, entry.column) if last_key else (node.line, node.column)
            elif isinstance(step, int) and isinstance(content, list) and step < len(content):
                node = content[step]
                line, column = node.line, node.column
            elif isinstance(step, int):
                there[at] = ""
            else:
                break
        return line, column, tuple(step for step in there if step != "")


def nearest(word: str, known: Collection[str]) -> str:
    """The known word most like this one, or an empty text."""
    choices = [choice for choice in known if visible(choice) == choice]
    plain = word[:64].lower().replace("-", "_").replace(" ", "_")
    if plain in choices:
        return plain
    for synonym in _SYNONYMS.get(plain, ()):
        if synonym in choices:
            return synonym
    import difflib  # for those alone who made a mistake

    by_plain = {choice.lower(): choice for choice in choices}
    found = difflib.get_close_matches(plain, by_plain, n=1, cutoff=0.6)
    return by_plain[found[0]] if found else ""


def key_text(path: Path) -> str:
    """A path as a person writes it: `inbounds.home.listen[1]`."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            shown = step if len(step) <= 64 else step[:61] + "..."
            if visible(shown) != shown:
                shown = repr(shown)
            text += f".{shown}" if text else shown
    return text
