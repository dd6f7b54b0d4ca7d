"""Loading the functions that rules in Python name."""

from __future__ import annotations

from collections.abc import Iterable

from byway.config.rules.conditions import RuleEntry
from byway.config.rules.terms import PythonPlace
from byway.facts.python import Function, Script, ScriptError, load
from byway.values.problems import Problems


def open_functions(
    rules: Iterable[tuple[int, RuleEntry]], ways: frozenset[str], problems: Problems
) -> dict[PythonPlace, Function]:
    """The functions by how rules name them; each file is run once. Notes problems."""
    scripts: dict[str, Script | ScriptError] = {}
    functions: dict[PythonPlace, Function] = {}
    for at, rule in rules:
        named = rule.python
        if named is None or named in functions:
            continue
        script = scripts.get(named.path)
        if script is None:
            try:
                script = load(named.path)
            except ScriptError as error:
                script = error
            scripts[named.path] = script
        try:
            if isinstance(script, ScriptError):
                raise script
            functions[named] = Function(script, named.function, ways)
        except ScriptError as error:
            problems.add(("rules", at, "python"), f"{named.file} {error}", error.hint)
    return functions
