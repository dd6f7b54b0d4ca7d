"""Modules use each other in one direction: whatever one needs lies below it.

An import for type checkers alone counts: it says that a module cannot be understood without the
other. So does one inside a function. In Rust a parent may use, and show again, what its own child
modules have, for that is how a folder shows what it is; whoever uses what a folder shows is counted
as using the module that has it.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
Graph = dict[str, set[str]]


def test_python_modules_have_no_circle() -> None:
    assert circle(python_graph(ROOT / "src")) == []


@pytest.mark.parametrize("crate", ["engine", "python"])
def test_rust_modules_have_no_circle(crate: str) -> None:
    assert circle(RustCrate(ROOT / "rust" / crate / "src").graph()) == []


def test_a_circle_is_found(tmp_path: Path) -> None:
    package = tmp_path / "byway"
    (package / "api").mkdir(parents=True)
    (package / "api" / "__init__.py").touch()
    (package / "api" / "one.py").write_text("from byway.api import two\n")
    (package / "api" / "two.py").write_text("def late():\n    from byway.api.one import x\n")
    assert set(circle(python_graph(tmp_path))) == {"byway.api.one", "byway.api.two"}


@pytest.mark.parametrize(
    ("low", "found"),
    [
        ("use crate::road::{Up, self};", ["far", "road"]),
        ("fn f() { crate::road::up() }", ["far", "road"]),
        ("use crate::folder::{\n    Shown as Other,\n};", ["far", "folder::inner"]),
        ("use super::floor::lock; // crate::road", []),
        ("#[cfg(test)]\nmod tests { use crate::road::Up; }", []),
    ],
)
def test_a_rust_circle_is_found(tmp_path: Path, low: str, found: list[str]) -> None:
    (tmp_path / "folder").mkdir()
    files = {
        "lib.rs": "pub mod far; pub mod floor; pub mod folder; pub mod road;",
        "far.rs": low,
        "floor.rs": "pub fn lock() {}",
        "road.rs": "use crate::far::Far;\npub struct Up;",
        "folder/mod.rs": "mod inner;\npub use inner::Shown;",
        "folder/inner.rs": "use super::super::far::Far;\npub struct Shown;",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert sorted(set(circle(RustCrate(tmp_path).graph()))) == found


def circle(graph: Graph) -> list[str]:
    """One circle in the graph, as a walk that ends where it began; nothing when there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        walk: list[str] = error.args[1]
        return walk[::-1]
    return []


def python_graph(root: Path) -> Graph:
    """Which module imports which, of the package `byway` under `root`."""
    files = {}
    for path in (root / "byway").rglob("*.py"):
        steps = path.relative_to(root).with_suffix("").parts
        files[".".join(steps[:-1] if steps[-1] == "__init__" else steps)] = path
    return {name: set(_imported(path, files)) - {name} for name, path in files.items()}


def _imported(path: Path, known: Mapping[str, Path]) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module is not None:
            for alias in node.names:
                # A package is only walked through on the way to its module.
                whole = f"{node.module}.{alias.name}"
                yield from [name for name in (whole, node.module) if name in known][:1]
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)


class RustCrate:
    """The modules of a crate, and what their `use` lines and paths lead to."""

    def __init__(self, root: Path) -> None:
        self._code: dict[tuple[str, ...], str] = {}
        for path in root.rglob("*.rs"):
            steps = path.relative_to(root).with_suffix("").parts
            steps = steps[:-1] if steps[-1] in ("mod", "lib") else steps
            if steps[-1:] != ("tests",):
                self._code[steps] = _without_tests(path.read_text())
        self._shown = {module: dict(self._shows(module)) for module in self._code}

    def graph(self) -> Graph:
        """Which module uses which, but for parents and their own children."""
        graph: Graph = {}
        for module in self._code:
            paths = (self._resolved(module, path) for path in _paths(self._code[module]))
            used = {path for path in paths if path and path[: len(module)] != module}
            graph["::".join(module)] = {"::".join(path) for path in used}
        return graph

    def _shows(self, module: tuple[str, ...]) -> Iterator[tuple[str, tuple[str, ...]]]:
        for tree in re.findall(r"\bpub(?:\([\w: ]+\))? use ([^;]+);", self._code[module]):
            for path in _leaves(tree):
                *steps, last = path
                name = last.rpartition(" as ")[2]
                yield name, (*steps, last.partition(" as ")[0])

    def _resolved(self, module: tuple[str, ...], path: tuple[str, ...]) -> tuple[str, ...] | None:
        """The module that has what a path in `module` names; none of another crate."""
        first, *rest = path
        if first == "crate":
            at: tuple[str, ...] = ()
        elif first == "self":
            at = module
        elif first == "super":
            at = module[:-1]
        elif (*module, first) in self._code:
            at, rest = module, list(path)
        else:
            return None
        for place, step in enumerate(rest):
            if step == "super":
                at = at[:-1]
            elif (*at, step) in self._code:
                at = (*at, step)
            else:
                shown = self._shown.get(at, {}).get(step)
                found = None if shown is None else self._resolved(at, (*shown, *rest[place + 1 :]))
                return at if found is None else found
        return at


def _without_tests(code: str) -> str:
    """The code of a file without its comments and its module of tests, which comes last."""
    return re.sub(r"//.*", "", code).partition("#[cfg(test)]\nmod tests")[0]


def _paths(code: str) -> Iterator[tuple[str, ...]]:
    for tree in re.findall(r"\buse ([^;]+);", code):
        for path in _leaves(tree):
            yield (*path[:-1], path[-1].partition(" as ")[0])
    for path in re.findall(r"\b(?:crate|super|self)(?:::\w+)+", code):
        yield tuple(path.split("::"))


def _leaves(tree: str) -> Iterator[tuple[str, ...]]:
    """The paths of one `use`: `a::{b, c::{d as e, self}}` is a::b, a::c::d as e and a::c."""
    head, brace, inside = tree.strip().partition("{")
    steps = tuple(step.strip() for step in head.split("::") if step.strip())
    if not brace:
        yield steps[:-1] if steps[-1] == "self" and len(steps) > 1 else steps
        return
    depth, begin, inside = 0, 0, inside.strip().removesuffix("}") + ","
    for at, sign in enumerate(inside):
        depth += (sign == "{") - (sign == "}")
        if sign == "," and depth == 0:
            if inside[begin:at].strip():
                for leaf in _leaves(inside[begin:at]):
                    yield steps if leaf == ("self",) else (*steps, *leaf)
            begin = at + 1
