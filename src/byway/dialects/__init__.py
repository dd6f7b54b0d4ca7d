"""One card per protocol: config sections, checks, links, client and server.

Comes in: what a person wrote (a section, a share link, another program's entry). Goes out: checked
sections, and the inbounds and outbounds that they stand for. On config time.
"""

from __future__ import annotations

from functools import lru_cache
from importlib import import_module
from typing import Literal

from byway.dialects.card import Card, FromForeign, In, Line, Out, Theirs, Written
from byway.values.wrong import Wrong

TABLE: dict[str, Line] = {
    "direct": Line("byway.dialects.direct", enters=False),
    "mixed": Line("byway.dialects.mixed", leaves=False),
    "http": Line("byway.dialects.http", schemes=("http",)),
    "socks": Line(
        "byway.dialects.socks", schemes=("socks5", "socks5h", "socks", "socks4", "socks4a")
    ),
    "forward": Line("byway.dialects.forward", leaves=False),
    "redirect": Line("byway.dialects.redirect", leaves=False),
    "tproxy": Line("byway.dialects.tproxy", leaves=False),
    "tun": Line("byway.dialects.tun", leaves=False),
    "dns": Line("byway.dialects.dns"),
    "shadowsocks": Line("byway.dialects.shadowsocks", schemes=("ss",)),
    "trojan": Line("byway.dialects.trojan", schemes=("trojan",)),
    "vless": Line("byway.dialects.vless", schemes=("vless",)),
}
"""The protocols by the word that `type:` has for them."""


def card(name: str) -> Card:
    """The card of a protocol in the table. Raises KeyError."""
    found = import_module(TABLE[name].module).CARD
    assert isinstance(found, Card)
    return found


def entering() -> tuple[str, ...]:
    """The types of inbounds."""
    return tuple(name for name, line in TABLE.items() if line.enters)


def leaving() -> tuple[str, ...]:
    """The types of outbounds."""
    return tuple(name for name, line in TABLE.items() if line.leaves)


def inbound(name: str) -> type[In]:
    """The section of a type of inbound. Raises KeyError."""
    found = card(name).inbound
    assert found is not None
    return found


def outbound(name: str) -> type[Out]:
    """The section of a type of outbound. Raises KeyError."""
    found = card(name).outbound
    assert found is not None
    return found


def schemes() -> dict[str, str]:
    """The schemes of share links, and the protocol of each."""
    return {scheme: name for name, line in TABLE.items() for scheme in line.schemes}


def foreign(program: Literal["clash", "sing_box"]) -> Theirs:
    """Another program's names for all protocols: the parts of every card together."""
    return _foreign(program, tuple(TABLE))


@lru_cache(maxsize=4)
def _foreign(program: str, names: tuple[str, ...]) -> Theirs:
    """Kept, since importers ask for each of many thousand entries."""
    leaving: dict[str, FromForeign] = {}
    entering: dict[str, FromForeign] = {}
    called: dict[str, str] = {}
    for name in names:
        theirs: Theirs = getattr(card(name), program)
        leaving |= theirs.leaving
        entering |= theirs.entering
        called |= theirs.called
    return Theirs(leaving, entering, called=called)


def ports(program: Literal["clash", "sing_box"]) -> dict[str, str]:
    """Another program's settings that open an inbound by themselves, and its type here."""
    found: dict[str, str] = {}
    for name in entering():
        theirs: Theirs = getattr(card(name), program)
        found |= dict.fromkeys(theirs.ports, name)
    return found


def sections(program: Literal["clash", "sing_box"]) -> frozenset[str]:
    """Another program's sections of a whole file that open an inbound, which has no port."""
    theirs: list[Theirs] = [getattr(card(name), program) for name in entering()]
    return frozenset(section for one in theirs for section in one.sections)


def read_document(text: str) -> list[tuple[str, Written]]:
    """The servers of a document (SIP008): labels and outbounds. Raises Wrong."""
    for name in leaving():
        if (read := card(name).document) is not None:
            return read(text)
    raise Wrong("no protocol supports server documents")


def serving_programs(scheme: str = "") -> tuple[str, ...]:
    """The types of inbounds that programs can be given as their proxy, by a URL of a scheme that
    begins so."""
    known = {name: inbound(name).program_schemes for name in entering()}
    return tuple(
        name for name, found in known.items() if found and any(s.startswith(scheme) for s in found)
    )
