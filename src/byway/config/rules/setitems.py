"""The entries of sets that stand in the config itself."""

from __future__ import annotations

from collections.abc import Container

from byway.rules.gathering import Gathering
from byway.rules.geo import World
from byway.rules.lists import BY_LINE, read_lines
from byway.rules.published import CHOOSING
from byway.values.problems import Problems
from byway.values.written import Node
from byway.values.wrong import shown


def check_items(name: str, node: Node, geo: Node | None, problems: Problems) -> None:
    """The entries of an inline set are such."""
    items, form = node.get("items"), node.get("format")
    word = "lines" if form is None else form.content
    if items is None or word not in BY_LINE:
        return
    known = geo.content if geo is not None and isinstance(geo.content, dict) else {}
    for at, item in enumerate(items.items()):
        entry = item.content
        if isinstance(entry, str) and entry and (why := fault(entry, str(word), known)):
            message = f"{shown(entry)} is not an entry of a set: {why}"
            problems.add(("sets", name, "items", at), message)


def check_part(name: str, node: Node, problems: Problems) -> None:
    """A list is named where a file has many, and nowhere else."""
    form, part = node.get("format"), node.get("list")
    word = "" if form is None else str(form.content)
    if word in CHOOSING and part is None:
        message = f"a file of the format {word} has many lists: add `list:`, such as `list: cn`"
        problems.add(("sets", name, "format"), message)
    elif part is not None and word == "v2fly" and not str(part.content).startswith("@"):
        message = (
            "the file is the list already: only attributes can be named, such as `list: '@ads'`"
        )
        problems.add(("sets", name, "list"), message)
    elif part is not None and word not in (*CHOOSING, "v2fly"):
        message = f"a list is named only with the formats {', '.join(CHOOSING)} and v2fly"
        problems.add(("sets", name, "list"), message)


def fault(entry: str, form: str, geo: Container[str]) -> str:
    """Why a text is no entry of a list of this form; empty when it is one. `geo` are the files on
    the world that there will be: `country`, `asn`."""
    there = _Somewhere()
    world = World(there if "country" in geo else None, there if "asn" in geo else None)
    into = Gathering(world=world)
    read_lines(form, ((1, entry),), into)
    return into.bad[0].why if into.bad else ""


class _Somewhere:
    """Stands for the files of `geo` until they are opened."""

    def country(self, packed: bytes) -> str:
        return ""

    def system(self, packed: bytes) -> int:
        return 0
