"""The rules of the house that a machine can check: sizes, names, tasks, docstrings, unsafe code."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "byway"
PYTHON = sorted(PACKAGE.rglob("*.py"))
RUST = sorted(
    path
    for crate in ("engine", "python", "fuzz")
    for path in (ROOT / "rust" / crate).rglob("*.rs")
    if "target" not in path.relative_to(ROOT).parts
)
OURS = [
    *PYTHON,
    *RUST,
    *(p for folder in ("tests", "bench", "tools") for p in sorted((ROOT / folder).rglob("*.py"))),
]
BANNED = {"util", "utils", "common", "helper", "helpers", "base", "manager", "handler", "handlers"}
BANNED |= {"misc", "context", "contexts", "managers"}

LONGEST = 600
ROUTER = 100

# Where a task may be born outside a TaskGroup, and what stands there instead of one.
BARE_TASKS = re.compile(r"\b(asyncio|loop)\.(create_task|ensure_future)\(")
TASK_PLACES = {
    "app/app.py": "the wait for a second signal, ended before drain returns",
    "dialects/http/forwarding.py": "two waits raced, both ended before the function returns",
    "dialects/socks/server.py": "two waits raced, both ended before the function returns",
}


def relative(path: Path) -> str:
    """The path as a person would name it."""
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", OURS, ids=relative)
def test_no_file_is_two_things(path: Path) -> None:
    lines = len(path.read_text(encoding="utf-8").splitlines())
    limit = ROUTER if path == PACKAGE / "router.py" else LONGEST
    assert lines <= limit, f"{relative(path)} has {lines} lines; past {limit} it is two things"


@pytest.mark.parametrize("path", [*PYTHON, *RUST], ids=relative)
def test_file_names_say_something(path: Path) -> None:
    words = {word for part in path.relative_to(ROOT).parts for word in re.split(r"[_.\-]", part)}
    assert not words & BANNED


@pytest.mark.parametrize("path", PYTHON, ids=relative)
def test_class_names_say_something(path: Path) -> None:
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.ClassDef):
            words = {word.lower() for word in re.findall(r"[A-Z][a-z0-9]*|[a-z0-9]+", node.name)}
            assert not words & BANNED, f"{relative(path)}: class {node.name}"


@pytest.mark.parametrize("path", PYTHON, ids=relative)
def test_what_is_public_says_what_it_does(path: Path) -> None:
    tree = _tree(path)
    assert ast.get_docstring(tree), f"{relative(path)} has no docstring"
    bare = [f"{relative(path)}:{node.lineno} {node.name}" for node in _public(tree)]
    assert not bare, "\n".join(bare)


@pytest.mark.parametrize("path", PYTHON, ids=relative)
def test_every_task_has_an_owner(path: Path) -> None:
    place = path.relative_to(PACKAGE).as_posix()
    found = BARE_TASKS.findall(path.read_text(encoding="utf-8"))
    assert not found or place in TASK_PLACES, f"{place}: tasks belong to a TaskGroup"


def test_the_places_of_bare_tasks_are_still_there() -> None:
    for place in TASK_PLACES:
        assert BARE_TASKS.search((PACKAGE / place).read_text(encoding="utf-8")), place


@pytest.mark.parametrize("path", RUST, ids=relative)
def test_unsafe_is_marked_with_its_reason(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    if re.search(r"\bunsafe\s*(\{|fn|impl)", text):
        mark = r"expect\(\s*unsafe_code,\s*reason\s*=\s*\""
        assert re.search(mark, text), f"{relative(path)}: unsafe without a marked reason"
    assert "allow(unsafe_code" not in text


@pytest.mark.parametrize("path", PYTHON, ids=relative)
def test_networks_are_named(path: Path) -> None:
    """Who says "all" would claim a network that is added later."""
    assert "frozenset(Network)" not in path.read_text(encoding="utf-8")


def test_only_the_binding_knows_python() -> None:
    for path in (ROOT / "rust" / "engine").rglob("*"):
        if path.suffix in {".rs", ".toml"}:
            assert not re.search(r"\bpyo3\b", path.read_text(encoding="utf-8")), relative(path)


def test_only_the_engine_package_imports_the_extension() -> None:
    # import-linter sees only Python sources, so this edge of the layers is held here.
    for path in PYTHON:
        if path.parent != PACKAGE / "engine":
            assert not any("_engine" in name for name in _imported(path)), relative(path)


def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def _imported(path: Path) -> Iterator[str]:
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module or ''}.{alias.name}" for alias in node.names)


Documented = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def _public(tree: ast.Module) -> Iterator[Documented]:
    """The public functions and classes of a module that have no docstring."""
    for node in tree.body:
        if not isinstance(node, Documented) or node.name.startswith("_"):
            continue
        if not ast.get_docstring(node):
            yield node
