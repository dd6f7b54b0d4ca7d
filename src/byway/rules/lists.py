"""The forms of rule sets: plain lines, hosts files, AdGuard's block lists, dnsmasq's files; and the
table of all."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from byway.flow import packed_address
from byway.rules import clash, singbox
from byway.rules.gathering import (
    Bad,
    Gathering,
    host,
    is_prefix,
    keyword,
    labelled,
    prefix,
    regex,
    wildcard,
)
from byway.rules.geo import NOWHERE, World
from byway.rules.published.patterns import pattern_regex
from byway.rules.sets import Takes

# Names that hosts files give to this host itself, and not in order to block them.
_OWN = {"localhost", "localhost.localdomain", "local", "broadcasthost"}
_BLOCKING = {"0.0.0.0", "127.0.0.1", "::", "::1"}  # noqa: S104 - nothing is bound
_COMMENT = re.compile(r"\s[#;].*")


def gather(form: str, text: str, world: World = NOWHERE) -> Gathering:
    """Read a whole list in a form of `BY_LINE`. Never fails: what cannot be read is in `bad`."""
    into = Gathering(world=world)
    if form == "sing-box":
        singbox.read(text, into)
    else:
        read_lines(form, enumerate(text.split("\n"), 1), into)
    return into


def read_lines(form: str, lines: Iterable[tuple[int, str]], into: Gathering) -> None:
    """Read lines of a list, each with its number. Their order and their neighbours say nothing."""
    read = BY_LINE[form]
    for line, text in lines:
        entry = text.strip()
        if entry:
            try:
                read(entry, into, line)
            except Bad as error:
                into.refuse(line, entry, error)


def read_line(text: str, into: Gathering, line: int) -> None:
    """One entry of a `lines` list. Raises Bad.

    `a` takes a name and all below it, `=a` just this; `keyword:`, `regex:`, prefixes, wildcards.
    """
    kind, colon, rest = text.partition(":")
    match kind.lower():
        case "keyword" if colon:
            into.condition(keyword(rest), line, text)
        case "regex" | "regexp" if colon:
            into.condition(regex(rest), line, text)
        case "full" if colon:
            into.name(rest, Takes.ITSELF, line)
        case "domain" if colon:
            into.name(rest, Takes.SUFFIX, line)
        case _ if text.startswith("="):
            into.name(text[1:], Takes.ITSELF, line)
        case _ if is_prefix(text):
            into.prefix(text, line)
        case _ if text.startswith(("+.", ".")) or "*" in text or "?" in text:
            labelled(text, into, line)
        case _:
            into.name(text, Takes.SUFFIX, line)


def _lines_line(entry: str, into: Gathering, line: int) -> None:
    if entry[0] not in "#;":
        read_line(_COMMENT.sub("", entry).strip(), into, line)


def _hosts_entry(entry: str, into: Gathering, line: int) -> None:
    words = entry.partition("#")[0].split()
    if words:
        _hosts_line(words, into, line)


def _hosts_line(words: list[str], into: Gathering, line: int) -> None:
    address, *names = words
    if packed_address(address.partition("%")[0]) is None:
        raise Bad("a line of a hosts file begins with an address")
    if not names:
        raise Bad("an address without a name")
    wanted = [name for name in names if name not in _OWN and not name.startswith("ip6-")]
    if not wanted or wanted == [address]:
        return
    if address not in _BLOCKING:
        raise Bad(f"gives an address to a name, and blocks nothing ({address})")
    for name in wanted:
        into.name(name, Takes.ITSELF, line)


def _adblock_line(entry: str, into: Gathering, line: int) -> None:
    """One rule of AdGuard's DNS filtering syntax."""
    if entry == "#" or entry.startswith(("!", "# ", "[Ad")):
        return
    if "##" in entry or "#@#" in entry or "#$#" in entry or "#?#" in entry:
        raise Bad("hides parts of pages, which is not supported")
    if len(entry) > 2 and entry.startswith("/") and entry.endswith("/"):
        into.condition(regex(entry[1:-1]), line, entry)
        return
    body, _, options = entry.partition("$")
    if options not in ("", "important", "all"):
        raise Bad(f"the modifier {options} is not supported")
    spared = body.startswith("@@")
    body = body.removeprefix("@@")
    words = body.split()
    if len(words) > 1 and not spared:
        _hosts_line(words, into, line)
        return
    takes = Takes.SUFFIX if body.startswith("||") else Takes.ITSELF
    pattern = body.lstrip("|").removesuffix("|").removesuffix("^")
    if "/" in pattern and not is_prefix(pattern):
        raise Bad("matches a path, not a name")
    if spared:
        into.spared.append((host(pattern.removeprefix("*.")), int(takes), line))
    elif is_prefix(pattern):
        into.literal.append((prefix(pattern), line))
    elif "*" in pattern:
        both = (pattern, f"*.{pattern}") if takes == Takes.SUFFIX else (pattern,)
        into.condition(wildcard(*both), line, entry)
    else:
        into.name(pattern, takes, line)


def _unpacked_line(entry: str, into: Gathering, line: int) -> None:
    """A line that a binary list was read to: nothing in it is a comment."""
    if entry.startswith("{"):
        singbox.read_line(entry, into, line)
    elif entry.startswith("adguard:"):
        into.condition(regex(pattern_regex(entry.removeprefix("adguard:"))), line, entry)
    else:
        read_line(entry, into, line)


_NAMING = ("address", "server", "local", "ipset", "nftset")


def _dnsmasq_line(entry: str, into: Gathering, line: int) -> None:
    """One option of dnsmasq; of those that name hosts, the names with all below them."""
    key, sign, value = entry.partition("=")
    if entry[0] == "#" or (sign and key.strip() not in _NAMING):
        return
    names = value.strip().split("/")[1:-1]
    if not names:
        raise Bad("names no host")
    for name in names:
        if name.startswith("*") and not name.startswith("*."):
            into.condition(wildcard(name), line, entry)
        else:
            into.name(name.removeprefix("*").removeprefix("."), Takes.SUFFIX, line)


BY_LINE: dict[str, Callable[[str, Gathering, int], None]] = {
    "lines": _lines_line,
    "clash": clash.read_line,
    "hosts": _hosts_entry,
    "adblock": _adblock_line,
    "dnsmasq": _dnsmasq_line,
    "unpacked": _unpacked_line,
    "sing-box": singbox.read_line,
}
