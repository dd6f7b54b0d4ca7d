"""Checks between sections: names that are referred to, chains, listeners, rule order."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence, Set
from typing import TypeVar

from byway import dialects
from byway.config.model import COMMAND, Config
from byway.config.rules.conditions import ASKING, RuleEntry
from byway.config.rules.setitems import check_items, check_part
from byway.config.rules.shadows import shadowed
from byway.dialects.card import In
from byway.dialects.reach import warn_of_files
from byway.flow import TCP_ONLY, Network, Target
from byway.values import hosts
from byway.values.problems import Path, Problems
from byway.values.section import Section, keys_of
from byway.values.texts import is_loopback
from byway.values.written import Node
from byway.values.wrong import Wrong, shown

VERDICTS = ("reject", "drop")
S = TypeVar("S", bound=Section)
_KEYS = set(keys_of(RuleEntry))
_CONDITIONS = set(ASKING)
_NEED_GEO = {"country": "country", "source_country": "country", "asn": "asn", "source_asn": "asn"}
_MAKERS_WORD = {"country": "Country", "asn": "ASN"}


def check(root: Node, problems: Problems, links: Set[str]) -> None:
    """Note every error between the parts. `links` are outbounds without a name."""
    inbounds, outbounds, groups, rules = (
        _entries(root, "inbounds"),
        _entries(root, "outbounds"),
        _entries(root, "groups"),
        root.get("rules"),
    )
    ways = dict.fromkeys(name for name in (*outbounds, *groups, "direct") if name not in links)
    ways_of_rules = ways | dict.fromkeys(VERDICTS)
    for name, node in inbounds.items():
        _users(("inbounds", name), node, problems)
        section = _section(node, dialects.entering(), dialects.inbound)
        if section is not None:
            _open(("inbounds", name), node, section, problems)
            section.check(("inbounds", name), node, problems)
    _listeners(inbounds, problems)
    for name, node in outbounds.items():
        leaving = _section(node, dialects.leaving(), dialects.outbound)
        if leaving is not None:
            leaving.check(("outbounds", name), node, problems)
        _way(("outbounds", name, "via"), node.get("via"), ways, links, problems, VERDICTS)
    for name, node in _entries(root, "sets").items():
        _way(("sets", name, "via"), node.get("via"), ways, links, problems, VERDICTS)
        check_items(name, node, root.get("geo"), problems)
        check_part(name, node, problems)
    others = {*outbounds, "direct"} - links
    for name, node in groups.items():
        _group(name, node, others, ways, links, problems)
    _loops(outbounds, groups, problems)
    dns = root.get("dns")
    for name, node in ({} if dns is None else _entries(dns, "servers")).items():
        way = node.get("via")
        _way(("dns", "servers", name, "via"), way, ways, links, problems, VERDICTS)
    if rules is not None and isinstance(rules.content, list):
        users = dict.fromkeys(user for node in inbounds.values() for user in _user_names(node))
        known: dict[str, Collection[str]] = {
            "inbound": inbounds,
            "user": users,
            "set": _entries(root, "sets"),
        }
        for at, rule in enumerate(rules.content):
            for path, conditions in _nested(("rules", at), rule):
                for word, names in known.items():
                    _refers((*path, word), conditions, word, names, problems)
                _refers((*path, "source_set"), conditions, "source_set", known["set"], problems)
                heard = conditions.get("sniffed")
                if heard is not None:
                    _refers((*path, "sniffed", "set"), heard, "set", known["set"], problems)
                    if heard.content == {}:
                        problems.add((*path, "sniffed"), "it has no condition")
                _geo(path, conditions, root.get("geo"), problems)
                if len(path) > 2 and _asks_nothing(conditions):
                    problems.add(path, "it has no condition")
            for key in ("to", "otherwise"):
                _way(("rules", at, key), rule.get(key), ways_of_rules, links, problems)
        _order(rules.content, problems)


def warn(config: Config, problems: Problems) -> None:
    """Note what is odd in a config without errors."""
    for word, server in (config.dns.servers if config.dns is not None else {}).items():
        if server.tls is not None:
            warn_of_files(("dns", "servers", word, "tls"), server.tls, problems)
    for name, inbound in config.inbounds.items():
        inbound.warn(("inbounds", name), problems)
    for name, outbound in config.outbounds.items():
        outbound.warn(("outbounds", name), problems)
    for at, earlier in shadowed(config.rules):
        line = config.rules[earlier].ref.line
        problems.warn(
            ("rules", at),
            f"unreachable: the rule on line {line} matches everything that this one matches",
        )
    for at, rule in enumerate(config.rules):
        if rule.enabled and rule.network == (Network.UDP,) and rule.way not in (*VERDICTS, ""):
            for hop in without_udp(config, rule.way):
                problems.warn(
                    ("rules", at, "to"),
                    f"this rule is for UDP, which {shown(hop)} does not support",
                    "use an outbound that supports UDP, such as direct",
                )


def _asks_nothing(conditions: Node) -> bool:
    return isinstance(conditions.content, dict) and not set(conditions.content) - {"resolve"}


def rule_text(rule: Node, limit: int = 3) -> str:
    """A rule in one line, as it was written; long lists are cut."""
    if not isinstance(rule.content, dict):
        return ""
    return ", ".join(
        f"{key}: {_written(entry.value, limit)}"
        for key, entry in rule.content.items()
        if key != "limit"  # it is no part of what the rule says of flows
    )


def _written(node: Node, limit: int) -> str:
    if isinstance(node.content, dict):
        return f"{{{rule_text(node, limit)}}}"
    if isinstance(node.content, list):
        items = [_written(item, limit) for item in node.content[:limit]]
        if len(node.content) > limit:
            items.append(f"{len(node.content) - limit} more")
        return f"[{', '.join(items)}]"
    if isinstance(node.content, bool):
        return "true" if node.content else "false"
    return str(node.content)


def _entries(root: Node, section: str) -> dict[str, Node]:
    node = root.get(section)
    if node is None or not isinstance(node.content, dict):
        return {}
    return {name: entry.value for name, entry in node.content.items()}


def _nested(path: Path, rule: Node) -> Iterator[tuple[Path, Node]]:
    """A rule, and the conditions inside it, each with its place."""
    yield path, rule
    for key in ("and", "or", "not"):
        node = rule.get(key)
        if node is not None and isinstance(node.content, list):
            for at, item in enumerate(node.content):
                yield from _nested((*path, key, at), item)
        elif node is not None:
            yield from _nested((*path, key), node)


def _user_names(inbound: Node) -> Iterator[str]:
    users = inbound.get("users")
    for user in users.items() if users is not None else []:
        name = user.get("name")
        if name is not None and isinstance(name.content, str):
            yield name.content


def _users(path: Path, inbound: Node, problems: Problems) -> None:
    """Names are unique in an inbound."""
    users, seen = inbound.get("users"), set()
    for at, user in enumerate(users.items() if users is not None else []):
        name = user.get("name")
        if name is None or not isinstance(name.content, str):
            continue
        where = (*path, "users", at, "name")
        if name.content in seen:
            problems.add(where, f"duplicate user {shown(name.content)}")
        seen.add(name.content)


def _open(path: Path, inbound: Node, section: type[In], problems: Problems) -> None:
    """Beyond loopback only with users, or when said so."""
    allowed, users = inbound.get("open"), inbound.get("users")
    if section.keeps_strangers_out:
        return
    if allowed is not None and allowed.content is True:
        return
    if users is not None and users.content not in (None, [], {}):
        return
    hint = "listen on 127.0.0.1, or set open: true"
    if "users" in section.model_fields:
        hint = f"add users, {hint}"
    for where, address in _addresses(path, inbound):
        if isinstance(address, Target) and not is_loopback(address):
            message = f"{address} is reachable from other hosts without authentication"
            problems.add(where, message, hint)


def _addresses(path: Path, inbound: Node) -> Iterator[tuple[Path, Target | str]]:
    """Where an inbound listens, as far as it can be read, with the place of each."""
    listen = inbound.get("listen")
    for at, item in enumerate(listen.items() if listen is not None else []):
        text = item.content
        if isinstance(text, str) and text.startswith("unix:"):
            yield (*path, "listen", at), text
        elif isinstance(text, str):
            try:
                yield (*path, "listen", at), hosts.listen(text)
            except Wrong:
                continue  # reported where the inbound was read


def _listeners(inbounds: dict[str, Node], problems: Problems) -> None:
    """No address twice; 0.0.0.0 and [::] take every address of their family."""
    taken: list[tuple[str, Target | str, Path]] = []
    for name, inbound in inbounds.items():
        for where, address in _addresses(("inbounds", name), inbound):
            for network in _networks(inbound):
                for other_network, other, other_path in taken:
                    if network == other_network and _collide(address, other):
                        line = problems.line(other_path)
                        problems.add(where, f"{address} is already in use, on line {line}")
                        break
                else:
                    taken.append((network, address, where))
                    continue
                break


def _networks(inbound: Node) -> list[str]:
    section = _section(inbound, dialects.entering(), dialects.inbound)
    taken = TCP_ONLY if section is None else section.networks_of(inbound)
    return [network.value for network in Network if network in taken]


def _section(node: Node, known: Collection[str], kind: Callable[[str], type[S]]) -> type[S] | None:
    """The section of an entry's type, as far as it can be read."""
    word = node.text("type")
    return kind(word) if word is not None and word in known else None


def _collide(one: Target | str, other: Target | str) -> bool:
    if isinstance(one, str) or isinstance(other, str):
        return one == other
    if one.port != other.port or one.port == 0:
        return False
    if one.packed is None or other.packed is None or len(one.packed) != len(other.packed):
        return False
    return one.packed == other.packed or not any(one.packed) or not any(other.packed)


def _way(
    path: Path,
    node: Node | None,
    known: Collection[str],
    links: Set[str],
    problems: Problems,
    verdicts: Sequence[str] = (),
) -> None:
    if node is None or not isinstance(node.content, str) or not node.content:
        return
    word = node.content
    if word in verdicts:
        problems.add(path, f"{word} is a verdict, not an outbound", "it is allowed only in rules")
    elif word not in known and word not in links:
        problems.add(path, f"there is no outbound {shown(word)}", problems.suggestion(word, known))


def _refers(path: Path, rule: Node, word: str, known: Collection[str], problems: Problems) -> None:
    """Names in a condition exist: a rule that can never match is a slip."""
    node = rule.get(word)
    for at, item in enumerate(node.items() if node is not None else []):
        name = item.content
        if word == "inbound" and name == COMMAND:
            continue
        if isinstance(name, str) and name not in known:
            hint = problems.suggestion(name, known) if known else f"no {word} is configured"
            problems.add((*path, at), f"there is no {word} {shown(name)}", hint)


def _geo(path: Path, rule: Node, section: Node | None, problems: Problems) -> None:
    """A condition on the world needs a file that knows it."""
    for key, word in _NEED_GEO.items():
        if rule.get(key) is not None and (section is None or section.get(word) is None):
            hint = f"geo: {{{word}: a file of the kind GeoLite2-{_MAKERS_WORD[word]}.mmdb}}"
            problems.add((*path, key), f"there is no geo.{word}", hint, at_key=True)


def _group(
    name: str,
    group: Node,
    others: Collection[str],
    ways: Collection[str],
    links: Set[str],
    problems: Problems,
) -> None:
    """A name of its own, and members that are there, each of them once."""
    path: Path = ("groups", name)
    if name in others:
        line = problems.line(("outbounds", name))
        where = f", on line {line}" if line else ""
        hint = "groups and outbounds share one namespace"
        problems.add(
            path, f"duplicate name: the outbound {shown(name)} exists{where}", hint, at_key=True
        )
    members, names = group.get("members"), list[str]()
    for at, item in enumerate(members.items() if members is not None else []):
        where_at = (*path, "members", at)
        _way(where_at, item, ways, links, problems, VERDICTS)
        if isinstance(item.content, str) and item.content in names:
            problems.add(where_at, f"duplicate member {shown(item.content)}")
        names.append(str(item.content))
    default = group.get("default")
    if names and default is not None and str(default.content) not in names:
        word = str(default.content)
        hint = problems.suggestion(word, names)
        problems.add((*path, "default"), f"{shown(word)} is not a member", hint)


def _loops(outbounds: dict[str, Node], groups: dict[str, Node], problems: Problems) -> None:
    """`via` and `members` must lead out; each loop is reported once, where it is closed."""
    leads: dict[str, list[tuple[str, Path]]] = {}
    for name, node in outbounds.items():
        way = node.get("via")
        if way is not None and isinstance(way.content, str):
            leads[name] = [(way.content, ("outbounds", name, "via"))]
    for name, node in groups.items():
        members = node.get("members")
        leads[name] = [
            (str(item.content), ("groups", name, "members", at))
            for at, item in enumerate(members.items() if members is not None else [])
        ]
    done: set[str] = set()
    for start in leads:
        if start in done:
            continue
        trail = {start: iter(leads[start])}  # in the order of the way from the start to here
        while trail:
            name = next(reversed(trail))
            for further, path in trail[name]:
                if further in trail:
                    way_back = list(trail)
                    loop = [*way_back[way_back.index(further) :], further]
                    hint = "the last hop of a chain has no via"
                    if path[0] == "groups":
                        hint = "a group cannot be reached through itself"
                    problems.add(path, f"loop: {' -> '.join(loop)}", hint)
                elif further in leads and further not in done:
                    trail[further] = iter(leads[further])
                    break
            else:
                done.add(name)
                del trail[name]


def _order(rules: Sequence[Node], problems: Problems) -> None:
    """Each rule has conditions and a way; `otherwise` is last, and alone."""
    for at, rule in enumerate(rules):
        if not isinstance(rule.content, dict):
            continue
        path, keys = ("rules", at), set(rule.content)
        if "otherwise" in keys and keys - {"otherwise", "limit"}:
            message = "otherwise must be the only key of its rule"
            problems.add((*path, "otherwise"), message, at_key=True)
        elif "otherwise" in keys and at < len(rules) - 1:
            hint = "make it the last rule"
            problems.add(path, "no rule after otherwise can be reached", hint)
        elif "python" in keys:
            if "to" in keys:
                hint = "remove to; conditions beside python are allowed"
                problems.add(
                    (*path, "to"), "the function returns the destination", hint, at_key=True
                )
        elif "otherwise" not in keys and keys <= _KEYS:
            if "to" not in keys:
                hint = "add to: an outbound, reject or drop"
                problems.add(path, "this rule has no destination", hint)
            if not keys & _CONDITIONS:
                hint = "add a condition, or use otherwise: for everything else"
                problems.add(path, "the rule has no condition", hint)
    last = rules[-1].content if rules else None
    ended = any(rule.get("otherwise") is not None for rule in rules)
    if isinstance(last, dict) and set(last) <= _KEYS and not ended:
        hint = "add: - otherwise: direct"
        problems.add(("rules", len(rules) - 1), "the last rule must be otherwise", hint)


def without_udp(config: Config, name: str) -> Iterator[str]:
    """The hops of a way that carry no UDP."""
    way: str | None = name
    while way is not None:
        if way in config.groups:
            members = config.groups[way].members
            if all(any(without_udp(config, member)) for member in members):
                yield way
            return
        outbound = config.outbounds[way]
        if outbound.packets_in_stream:
            return  # whatever the way there carries
        if Network.UDP not in outbound.networks:
            yield way
        way = None if outbound.hop is None else outbound.hop[1]
