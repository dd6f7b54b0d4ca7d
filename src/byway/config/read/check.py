"""From the tree to the config: every section is read, then all of it is held together.

Nothing stops at the first error. What could not be read is left out of the later checks, which
work on the names and texts in the tree, so that one mistake is reported once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence, Set
from typing import TYPE_CHECKING, TypeVar, get_args

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from byway import dialects
from byway.config.groups import (
    BalanceGroup,
    FallbackGroup,
    FastestGroup,
    GroupConfig,
    SelectGroup,
)
from byway.config.model import RESERVED, Config, Control, Geo, Limits, Log, Names
from byway.config.names.dns import Dns
from byway.config.read import crosscheck
from byway.config.read.canonical import look_alikes
from byway.config.read.links import is_link, read_link
from byway.config.read.tree import Twice, grow
from byway.config.rules.conditions import (
    FileSet,
    InlineSet,
    RuleEntry,
    SetConfig,
    UrlSet,
)
from byway.config.rules.returning import check_returns
from byway.errors import ConfigError
from byway.rules import RuleRef
from byway.values import name as names
from byway.values.name_server import without_path
from byway.values.problems import Path, Problems
from byway.values.section import Section, keys_of
from byway.values.written import Entry, Node
from byway.values.wrong import Wrong, kind_of, shown

if TYPE_CHECKING:
    from byway.config.rules.terms import PythonPlace
    from byway.facts.python import Function

SETS: Mapping[str, type[SetConfig]] = {
    "inline": InlineSet,
    "file": FileSet,
    "url": UrlSet,
}
_TOLD_BY = {"items": "inline", "path": "file", "url": "url"}  # a set's key that tells its type
GROUPS: Mapping[str, type[GroupConfig]] = {
    "select": SelectGroup,
    "fastest": FastestGroup,
    "fallback": FallbackGroup,
    "balance": BalanceGroup,
}

S = TypeVar("S", bound=Section)

_SECTIONS = tuple(Config.model_fields)
_DEFAULT_INBOUNDS = {"mixed": {"type": "mixed", "listen": "127.0.0.1:1080"}}
_MAY_BE_NULL = {("log", "file")}


def build(root: Node, file: str, folder: str | None = None, twice: Sequence[Twice] = ()) -> Config:
    """Check a tree and make the config. Raises ConfigError with every problem."""
    problems = Problems(file, root)
    for key in twice:
        problems.at(key.line, key.column, key.path, f"duplicate key, first on line {key.first}")
    if not isinstance(root.content, dict):
        problems.add(
            (), f"expected a mapping of sections, got {kind_of(root.plain())}", _sections()
        )
        raise ConfigError(problems.sorted_errors())
    checker = _Checker(problems, root, folder)
    config = checker.config()
    if problems.errors:
        raise ConfigError(problems.sorted_errors())
    return config


class _Checker:
    def __init__(self, problems: Problems, root: Node, folder: str | None) -> None:
        self._problems = problems
        self._root = root
        self._context = {"folder": folder}
        self._links: set[str] = set()  # the names of outbounds made of links
        self._made: dict[tuple[object, ...], str] = {}  # the name for what a link says
        self._numbers: dict[str, int] = {}  # how many links want this name
        self._rule_places: list[int] = []  # where each sound rule stands
        self._reported: set[Path] = set()  # not to be reported again

    def config(self) -> Config:
        self._unknown_keys((), self._root, _SECTIONS)
        self._fill_in_defaults()
        log = self._section(Log, ("log",))
        limits = self._section(Limits, ("limits",))
        control = self._section(Control, ("control",))
        geo = self._section(Geo, ("geo",))
        names = self._section(Names, ("names",))
        inbounds = self._named("inbounds", "inbound", dialects.entering(), dialects.inbound)
        self._read_links()
        outbounds = self._named("outbounds", "outbound", dialects.leaving(), dialects.outbound)
        if "direct" not in outbounds:
            outbounds["direct"] = dialects.outbound("direct").model_validate({"type": "direct"})
        groups = self._named("groups", "group", GROUPS, GROUPS.__getitem__)
        dns = self._dns()
        sets = self._named("sets", "set", SETS, SETS.__getitem__)
        rules = self._rules()
        look_alikes(self._root, self._problems, ("direct", *RESERVED))
        crosscheck.check(self._root, self._problems, self._links)
        # the parts are validated already; validating them again would cost every start
        config = Config.model_construct(
            log=log or Log(),
            limits=limits or Limits(),
            control=control or Control(),
            inbounds=inbounds,
            outbounds=outbounds,
            dns=dns,
            geo=geo or Geo(),
            names=names or Names(),
            groups=groups,
            sets=sets,
            rules=rules,
        )
        if dns is not None and dns.hijack:
            taken = outbounds.setdefault(
                "dns", dialects.outbound("dns").model_validate({"type": "dns"})
            )
            if not taken.answers:
                message = "dns.hijack leads to the outbound dns, which is of another type"
                self._problems.add(("dns", "hijack"), message, "rename that outbound")
        asked = any(way.asks or way.answers for way in outbounds.values())
        asked = asked or any(way.answers for way in inbounds.values())
        if asked and self._root.get("dns") is None:
            config = config.model_copy(update={"dns": (dns := Dns())})
        if dns is not None:
            from byway.config.names.own import check_names

            check_names(config, dns, self._problems)
        if any(rule.python is not None for rule in rules):
            config._functions = self._opened_functions(rules, {*outbounds, *groups})
        if not self._problems.errors:
            check_returns(config, self._problems)
        if not self._problems.errors:
            crosscheck.warn(config, self._problems)
        config._file = self._problems.file
        config._warnings = tuple(self._problems.warnings)
        config._lines = self._lines()
        config._listens = self._listens(inbounds)
        config._item_lines = self._item_lines(sets)
        if geo is not None:
            from byway.config.read.world import open_world  # of use to few

            config._world, config._stamps = open_world(geo, self._problems)
        return config

    def _lines(self) -> dict[tuple[str, str], int]:
        """The line of each named entry."""
        return {
            (section, name): entry.line
            for section in ("inbounds", "outbounds", "groups", "sets", "dns", "log")
            if (node := self._root.get(section)) is not None and isinstance(node.content, dict)
            for name, entry in node.content.items()
        }

    def _listens(self, inbounds: Collection[str]) -> dict[str, tuple[int, int]]:
        """Where each inbound says where it listens."""
        section = self._root.get("inbounds")
        entries = {name: section.get(name) if section is not None else None for name in inbounds}
        return {
            name: (listen.line, listen.column)
            for name, entry in entries.items()
            if entry is not None and (listen := entry.get("listen")) is not None
        }

    def _item_lines(self, sets: Mapping[str, SetConfig]) -> dict[str, tuple[int, ...]]:
        """The lines of the items of the inline sets."""
        found: dict[str, tuple[int, ...]] = {}
        node = self._root.get("sets")
        for name, section in sets.items():
            items = node.get(name) if node is not None else None
            items = items.get("items") if items is not None else None
            if isinstance(section, InlineSet) and items is not None:
                found[name] = tuple(item.line for item in items.items())
        return found

    def _fill_in_defaults(self) -> None:
        """A section without content counts as absent; without inbounds there is the usual one."""
        content = self._root.content
        if not isinstance(content, dict):
            return
        for key in [key for key, entry in content.items() if entry.value.content is None]:
            del content[key]
        if "inbounds" not in content:
            content["inbounds"] = Entry(0, 0, grow(_DEFAULT_INBOUNDS))

    def _section(self, model: type[S], path: Path) -> S | None:
        node = self._root.get(str(path[0]))
        return None if node is None else self._read(model, path, node)

    def _dns(self) -> Dns | None:
        dns, node = self._section(Dns, ("dns",)), self._root.get("dns")
        if dns is not None and node is not None and (rules := node.get("rules")) is not None:
            for rule, item in zip(dns.rules, rules.items(), strict=True):
                text = crosscheck.rule_text(item)
                for word in rule.use:
                    text = text.replace(word, without_path(word))
                rule._ref = RuleRef(self._problems.file, item.line, text)
        return dns

    def _named(
        self, section: str, one: str, kinds: Collection[str], kind: Callable[[str], type[S]]
    ) -> dict[str, S]:
        """The entries of a section of names that are sound, by name."""
        node = self._root.get(section)
        found: dict[str, S] = {}
        if node is None:
            return found
        if not isinstance(node.content, dict):
            hint = f"{section}: {{name: {{type: ..., ...}}}}"
            got = kind_of(node.plain())
            self._problems.add((section,), f"expected a mapping of names, got {got}", hint)
            return found
        if section == "inbounds" and not node.content:
            self._problems.add((section,), "there is none", "remove the key to use the default")
        for name, entry in node.content.items():
            path = (section, name)
            if name not in self._links:
                self._name(path, name, one)
            if path in self._reported:
                continue
            word = self._kind(path, entry.value, kinds)
            if word is not None:
                read = self._read(kind(word), path, entry.value)
                if read is not None:
                    found[name] = read
        return found

    def _name(self, path: Path, name: str, one: str) -> None:
        if name in RESERVED:
            hint = f"reserved: {', '.join(RESERVED)}"
            self._problems.add(path, f"{_a(one)} cannot have this name", hint, at_key=True)
        elif why := names.fault(name):
            self._problems.add(path, f"not a name for {_a(one)}: {why}", names.HINT, at_key=True)

    def _kind(self, path: Path, node: Node, kinds: Collection[str]) -> str | None:
        if not isinstance(node.content, dict):
            got = kind_of(node.plain())
            hint = f"{{type: {next(iter(kinds))}, ...}}"
            self._problems.add(path, f"expected a mapping, got {got}", hint)
            return None
        written = node.get("type")
        if written is None and path[0] == "sets":
            for key in node.content.keys() & _TOLD_BY.keys():
                written = Node(_TOLD_BY[key], node.line, node.column)
                node.content["type"] = Entry(node.line, node.column, written)
        if written is None:
            self._problems.add(path, "type is missing", f"one of {', '.join(kinds)}")
            return None
        kind = written.content
        if not isinstance(kind, str) or kind not in kinds:
            what = shown(kind) if isinstance(kind, str) else kind_of(written.plain())
            hint = self._problems.suggestion(str(kind), tuple(kinds))
            self._problems.add((*path, "type"), f"unknown type {what}", hint)
            return None
        if path == ("outbounds", "direct") and kind != "direct":
            self._problems.add((*path, "type"), "the outbound direct is always of type direct")
            return None
        return kind

    def _read_links(self) -> None:
        """Put outbounds in place of links: in `outbounds`, in `via`, in groups and in rules."""
        content = self._root.content
        if not isinstance(content, dict):
            return
        outbounds = self._root.get("outbounds")
        if outbounds is None:
            outbounds = Node({})
            content["outbounds"] = Entry(0, 0, outbounds)
        if not isinstance(outbounds.content, dict):
            return
        for name, entry in list(outbounds.content.items()):
            node = entry.value
            if isinstance(node.content, str):
                self._link_as_outbound(("outbounds", name), node)
            else:
                self._link_as_name(("outbounds", name, "via"), node.get("via"), outbounds.content)
        sets = self._root.get("sets")
        for name, entry in sets.content.items() if sets and isinstance(sets.content, dict) else ():
            self._link_as_name(("sets", name, "via"), entry.value.get("via"), outbounds.content)
        groups = self._root.get("groups")
        if groups is not None and isinstance(groups.content, dict):
            for name, entry in groups.content.items():
                members, path = entry.value.get("members"), ("groups", name)
                for at, item in enumerate(members.items() if members is not None else []):
                    self._link_as_name((*path, "members", at), item, outbounds.content)
                default = entry.value.get("default")
                self._link_as_name((*path, "default"), default, outbounds.content)
        dns = self._root.get("dns")
        servers = dns.get("servers") if dns is not None else None
        if servers is not None and isinstance(servers.content, dict):
            for name, entry in servers.content.items():
                way = entry.value.get("via")
                self._link_as_name(("dns", "servers", name, "via"), way, outbounds.content)
        rules = self._root.get("rules")
        if rules is not None and isinstance(rules.content, list):
            for at, rule in enumerate(rules.content):
                for key in ("to", "otherwise"):
                    self._link_as_name(("rules", at, key), rule.get(key), outbounds.content)

    def _link_as_outbound(self, path: Path, node: Node) -> None:
        if not is_link(str(node.content)):
            return
        try:
            link = read_link(str(node.content))
        except Wrong as error:
            self._problems.wrong(path, error)
            self._reported.add(path)
            return
        _become(node, link.outbound)

    def _link_as_name(self, path: Path, node: Node | None, outbounds: dict[str, Entry]) -> None:
        if node is None or not isinstance(node.content, str) or not is_link(node.content):
            return
        try:
            link = read_link(node.content)
        except Wrong as error:
            self._problems.wrong(path, error)
            node.content = "direct"
            return
        same = (link.name, repr(sorted(link.outbound.items())))
        name = self._made.get(same)
        if name is None:
            name = self._made[same] = self._free_name(link.name, outbounds)
            self._links.add(name)
            self._problems.moved["outbounds", name] = path
            made = Node(None, node.line, node.column)
            _become(made, link.outbound)
            outbounds[name] = Entry(node.line, node.column, made)
        node.content = name

    def _free_name(self, name: str, taken: Mapping[str, object]) -> str:
        free = name
        while free in taken:
            self._numbers[name] = self._numbers.get(name, 1) + 1
            free = f"{name}#{self._numbers[name]}"
        return free

    def _rules(self) -> tuple[RuleEntry, ...]:
        node = self._root.get("rules")
        if node is None:
            return ()
        if not isinstance(node.content, list):
            got = kind_of(node.plain())
            hint = "rules: [{domain: ..., to: ...}, {otherwise: direct}]"
            self._problems.add(("rules",), f"expected a list of rules, got {got}", hint)
            return ()
        found = []
        for at, item in enumerate(node.content):
            rule = self._read(RuleEntry, ("rules", at), item)
            if rule is not None:
                self._rule_places.append(at)
                rule._ref = RuleRef(self._problems.file, item.line, crosscheck.rule_text(item))
                found.append(rule)
        return tuple(found)

    def _opened_functions(
        self, rules: Sequence[RuleEntry], ways: Set[str]
    ) -> Mapping[PythonPlace, Function]:
        from byway.config.rules.scripts import open_functions  # of use to few

        placed = zip(self._rule_places, rules, strict=True)
        words = frozenset({*ways, *crosscheck.VERDICTS})
        return open_functions(placed, words, self._problems)

    def _read(self, model: type[S], path: Path, node: Node) -> S | None:
        """The model of a node, or None with its problems noted."""
        if not isinstance(node.content, dict):
            got = kind_of(node.plain())
            self._problems.add(path, f"expected a mapping, got {got}", _keys_of(model))
            return None
        empty = self._empty_values(path, node)
        try:
            read = model.model_validate(node.plain(), context=self._context)
        except ValidationError as error:
            for details in error.errors(include_url=False, include_input=True):
                if not (details["loc"] and details["loc"][0] in empty):
                    self._note(model, path, details)
            return None
        return None if empty else read

    def _empty_values(self, path: Path, node: Node) -> set[str]:
        """A key without a value is a slip, and as a rule's condition a dangerous one."""
        found = set()
        if isinstance(node.content, dict):
            for key, entry in node.content.items():
                if entry.value.content is None and (*path, key) not in _MAY_BE_NULL:
                    self._problems.add(
                        (*path, key), "has no value", "add a value, or remove the key", True
                    )
                    found.add(key)
                elif self._empty_values((*path, key), entry.value):
                    found.add(key)
        elif isinstance(node.content, list):
            for at, item in enumerate(node.content):
                found |= self._empty_values((*path, at), item)
        return found

    def _unknown_keys(self, path: Path, node: Node, known: Sequence[str]) -> None:
        if isinstance(node.content, dict):
            for key in node.content:
                if key not in known:
                    self._problems.add(
                        (*path, key), "unknown key", self._problems.suggestion(key, known), True
                    )

    def _note(self, model: type[Section], path: Path, details: ErrorDetails) -> None:
        """Tell one of the model's errors in a person's words."""
        loc = tuple(step for step in details["loc"] if isinstance(step, str | int))
        kind, context, value = details["type"], details.get("ctx", {}), details.get("input")
        where = (*path, *loc)
        if kind == "value_error" and isinstance(context.get("error"), Wrong):
            self._problems.wrong(where, context["error"])
        elif kind == "extra_forbidden":
            known = keys_of(_model_at(model, loc[:-1]))
            self._problems.add(
                where, "unknown key", self._problems.suggestion(str(loc[-1]), known), at_key=True
            )
        elif kind == "missing":
            self._problems.add(where[:-1], f"{loc[-1]} is missing")
        elif kind == "literal_error":
            words = re.findall(r"'([^']*)'", str(context.get("expected", "")))
            what = shown(value) if isinstance(value, str) else kind_of(value)
            self._problems.add(
                where, f"cannot be {what}", self._problems.suggestion(str(value), words)
            )
        elif kind in ("greater_than_equal", "less_than_equal"):
            low, high = _bounds(_model_at(model, loc[:-1]), str(loc[-1]))
            self._problems.add(where, f"{value} is out of bounds", f"{low} to {high}")
        else:
            wanted, hint = _WANTED.get(kind, ("another kind of value", ""))
            if kind == "bool_type" and str(value).lower() in _FLAG_WORDS:
                hint = f"write {_FLAG_WORDS[str(value).lower()]}"
            self._problems.add(where, f"expected {wanted}, got {kind_of(value)}", hint)


_WANTED = {
    "bool_type": ("true or false", ""),
    "int_type": ("a whole number", ""),
    "string_type": ("text", "write it in quotes"),
    "model_type": ("a mapping", ""),
    "model_attributes_type": ("a mapping", ""),
}
_FLAG_WORDS = {"yes": "true", "on": "true", "no": "false", "off": "false"}


def _become(node: Node, outbound: Mapping[str, object]) -> None:
    """Turn a link's node into the mapping it stands for; each part is where the link is."""
    node.content = _placed(outbound, node).content


def _placed(value: object, at: Node) -> Node:
    if isinstance(value, Mapping):
        made = {
            str(key): Entry(at.line, at.column, _placed(part, at)) for key, part in value.items()
        }
        return Node(made, at.line, at.column)
    if isinstance(value, list | tuple):
        return Node([_placed(part, at) for part in value], at.line, at.column)
    assert value is None or isinstance(value, str | int | float | bool)
    return Node(value, at.line, at.column)


def _model_at(model: type[Section], loc: Sequence[str | int]) -> type[Section]:
    """The model that a path inside another leads to."""
    for step in loc:
        fields = {field.alias or name: field for name, field in model.model_fields.items()}
        if step in fields:
            model = next(_sections_in(fields[str(step)].annotation), model)
    return model


def _sections_in(annotation: object) -> Iterator[type[Section]]:
    """The sections that a field may hold."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        yield annotation
    for part in get_args(annotation):
        yield from _sections_in(part)


def _bounds(model: type[Section], field: str) -> tuple[object, object]:
    low: object = None
    high: object = None
    for mark in model.model_fields[field].metadata:
        low = getattr(mark, "ge", low)
        high = getattr(mark, "le", high)
    return low, high


def _a(thing: str) -> str:
    return f"an {thing}" if thing[0] in "aeiou" else f"a {thing}"


def _keys_of(model: type[Section]) -> str:
    return f"its keys: {', '.join(keys_of(model))}"


def _sections() -> str:
    return f"sections: {', '.join(_SECTIONS)}"
