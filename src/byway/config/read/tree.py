"""YAML text to a tree of values that know their places.

Scalars follow the core schema of YAML 1.2 (section 10.3.2): `no`, `on`, `22:22` and `010` are not
what YAML 1.1 makes of them. Keys are taken as they are written, without a type. Works on parser
events without recursion, so that depth, size and what aliases expand to are bounded before
anything is built.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import yaml

from byway.values.written import Entry, Node, Scalar

MAX_BYTES = 32 * 1024 * 1024
MAX_DEPTH = 32
MAX_ALIASED = 100_000  # values that aliases may add to those written out


class TreeError(Exception):
    """The text is no tree: the message, a hint, and the place (from 1)."""

    def __init__(self, message: str, line: int, column: int, hint: str = "") -> None:
        super().__init__(message)
        self.message, self.hint, self.line, self.column = message, hint, line, column


@dataclass(frozen=True, slots=True)
class Twice:
    """A key that stands a second time in its mapping; the first one counts."""

    path: tuple[str | int, ...]
    line: int
    column: int
    first: int


def grow(value: object) -> Node:
    """A tree without places, of plain values."""
    if isinstance(value, dict):
        return Node({str(key): Entry(0, 0, grow(item)) for key, item in value.items()})
    if isinstance(value, list | tuple):
        return Node([grow(item) for item in value])
    if value is None or isinstance(value, str | int | float | bool):
        return Node(value)
    raise TypeError(f"{type(value).__name__} is not allowed in a config")


def parse(text: str, foreign: bool = False) -> tuple[Node | None, list[Twice]]:
    """The tree (None: an empty document) and the keys that stand twice. Raises TreeError.

    A file of another program (`foreign`) may have merge keys, which stay keys, and its plain
    values stay the texts they are written as: that program knows what it wants of them.
    """
    builder = _Builder(foreign)
    try:
        for event in _events(text):
            builder.take(event)
    except UnicodeEncodeError as error:
        line, column = place_in(text, error.start)
        raise TreeError("a character that YAML does not allow", line, column) from None
    except yaml.reader.ReaderError as error:
        line, column = place_in(text, error.position)
        raise TreeError("a character that YAML does not allow", line, column) from None
    except yaml.MarkedYAMLError as error:
        raise _syntax(error, text) from None
    return builder.root, builder.twice


def place_in(text: str, position: int) -> tuple[int, int]:
    """Line and column, from 1, of a position in a text."""
    before = text[:position]
    return before.count("\n") + 1, position - (before.rfind("\n") + 1) + 1


def _events(text: str) -> Iterator[yaml.Event]:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return yaml.parse(text, Loader=loader)


@dataclass(slots=True)
class _Open:
    """A collection that is being read."""

    node: Node
    anchor: str | None
    key: tuple[str, int, int] | None = None


@dataclass(slots=True)
class _Builder:
    foreign: bool = False
    root: Node | None = None
    twice: list[Twice] = field(default_factory=list)
    _open: list[_Open] = field(default_factory=list)
    _anchors: dict[str, Node] = field(default_factory=dict)
    _documents: int = 0
    _aliased: int = 0

    def take(self, event: yaml.Event) -> None:
        mark = event.start_mark
        line, column = (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)
        match event:
            case yaml.ScalarEvent():
                self._scalar(event, line, column)
            case yaml.MappingStartEvent() | yaml.SequenceStartEvent():
                self._start(event, line, column)
            case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                done = self._open.pop()
                self._place(done.node, done.anchor)
            case yaml.AliasEvent():
                self._alias(event, line, column)
            case yaml.DocumentStartEvent():
                self._documents += 1
                if self._documents > 1:
                    raise TreeError(
                        "a second document (---) in the file",
                        line,
                        column,
                        "one file, one document",
                    )

    def _scalar(self, event: yaml.ScalarEvent, line: int, column: int) -> None:
        quoted = not event.implicit[0]
        if event.tag not in (None, "!", "tag:yaml.org,2002:str") and not self.foreign:
            raise _tagged(line, column)
        if self._wants_key():
            # an anchor on a key is legal YAML; nothing here could refer to it sensibly
            self._key(event.value, line, column, quoted)
            return
        value: Scalar = event.value
        if not quoted and event.tag is None:
            value = resolve(event.value)
            if self.foreign and value is not None:
                value = event.value
        self._place(Node(value, line, column), event.anchor)

    def _start(
        self, event: yaml.MappingStartEvent | yaml.SequenceStartEvent, line: int, column: int
    ) -> None:
        if self._wants_key():
            raise TreeError(
                "a key must be plain text, not a list or a mapping",
                line,
                column,
                "a value in { } or [ ] goes behind a key, or into quotes",
            )
        if event.tag is not None:
            raise _tagged(line, column)
        if len(self._open) >= MAX_DEPTH:
            raise _deep(line, column)
        content: list[Node] | dict[str, Entry] = (
            {} if isinstance(event, yaml.MappingStartEvent) else []
        )
        self._open.append(_Open(Node(content, line, column), event.anchor))

    def _alias(self, event: yaml.AliasEvent, line: int, column: int) -> None:
        node = self._anchors.get(event.anchor or "")
        if node is None or self._wants_key():
            raise TreeError(
                "a reference (*) to nothing that was anchored (&) before",
                line,
                column,
                "a text that begins with * needs quotes",
            )
        self._aliased += node.size
        if self._aliased > MAX_ALIASED:
            raise TreeError(
                f"references (*) expand to more than {MAX_ALIASED} values", line, column
            )
        if len(self._open) + node.height > MAX_DEPTH:
            raise _deep(line, column)
        self._place(node, None)

    def _wants_key(self) -> bool:
        if not self._open:
            return False
        top = self._open[-1]
        return top.key is None and isinstance(top.node.content, dict)

    def _key(self, text: str, line: int, column: int, quoted: bool) -> None:
        if text == "<<" and not quoted and not self.foreign:
            raise TreeError(
                "merge keys (<<) are not supported",
                line,
                column,
                "write the keys out, or refer to the whole value with *",
            )
        self._open[-1].key = (text, line, column)

    def _place(self, node: Node, anchor: str | None) -> None:
        """Put a finished value where it belongs. An anchor is known only from here on, so that
        nothing can contain itself."""
        if anchor is not None:
            self._anchors[anchor] = node
        if not self._open:
            self.root = None if node.content is None else node
            return
        top = self._open[-1]
        top.node.size += node.size
        top.node.height = max(top.node.height, node.height + 1)
        content = top.node.content
        if isinstance(content, list):
            content.append(node)
        elif isinstance(content, dict) and top.key is not None:
            text, line, column = top.key
            top.key = None
            if text in content:
                self.twice.append(Twice((*self._path(), text), line, column, content[text].line))
            else:
                content[text] = Entry(line, column, node)

    def _path(self) -> tuple[str | int, ...]:
        """Where the innermost open collection stands."""
        path: list[str | int] = []
        for outer in self._open[:-1]:
            if isinstance(outer.node.content, list):
                path.append(len(outer.node.content))
            elif outer.key is not None:
                path.append(outer.key[0])
        return tuple(path)


_NULLS = {"", "~", "null", "Null", "NULL"}
_FLAGS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT = re.compile(r"[-+]?[0-9]{1,18}|0o[0-7]{1,20}|0x[0-9a-fA-F]{1,16}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_SPECIAL = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")


def resolve(text: str) -> Scalar:
    """What a plain scalar means in the core schema of YAML 1.2."""
    if text and text[0].isalpha() and text not in _FLAGS and text not in _NULLS:
        return text
    if text in _NULLS:
        return None
    if text in _FLAGS:
        return _FLAGS[text]
    if _INT.fullmatch(text):
        return int(text, 8 if text.startswith("0o") else 16 if text.startswith("0x") else 10)
    if _FLOAT.fullmatch(text) or _SPECIAL.fullmatch(text):
        return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
    return text


def _tagged(line: int, column: int) -> TreeError:
    return TreeError(
        "tags (!) are not supported", line, column, "a text that begins with ! needs quotes"
    )


def _deep(line: int, column: int) -> TreeError:
    return TreeError(f"nested deeper than {MAX_DEPTH} levels", line, column)


# What the YAML library says, and what helps; never with the text itself in it.
_HINTS = (
    ("tab character", "indent with spaces, not tabs"),
    ("cannot start any token", "a text that begins with @ ` % or a tab needs quotes"),
    ("mapping values are not allowed", "a text with ': ' in it needs quotes; look at the indent"),
    ("expected node content", 'a text that begins with [ or { needs quotes, as in "[::1]:1080"'),
    ("expected ',' or", "a bracket or a quote is not closed, or a comma is missing"),
    ("end of stream", "a quote or a bracket is not closed"),
    ("expected <block end>", "look at the indent of this line and the ones above"),
    ("expected '-' indicator", "look at the indent of this line and the ones above"),
    ("could not find expected ':'", "a key without its colon"),
)


def _syntax(error: yaml.MarkedYAMLError, text: str) -> TreeError:
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)
    lines = text.split("\n")
    said = error.problem or "cannot be read"
    if "tag handle" in said:  # the library may quote it, and it may be a piece of a password
        return _tagged(line, column)
    if line <= len(lines) and lines[line - 1][: max(column, 1)].strip(" ").startswith("\t"):
        return TreeError("a tab in the indent", line, column, "indent with spaces, not tabs")
    hint = next((hint for part, hint in _HINTS if part in said), "")
    if error.context and error.context_mark is not None:
        said = f"{said} ({error.context} that starts on line {error.context_mark.line + 1})"
    return TreeError(f"not YAML: {said}", line, column, hint)
