"""Tables as values: their text, and what does not get into it."""

from __future__ import annotations

import json

import pytest

from byway.system.firewall.clauses import Clause, Term, lines_of
from byway.system.firewall.table import (
    Chain,
    Hook,
    Set,
    Table,
    address_sets,
    by_family,
    interface,
)

TABLE = Table(
    "byway",
    'a "test" of it',
    (
        Chain("base", ("meta mark 5 accept",), Hook("filter", "output", -300, "drop")),
        Chain("plain", ()),
    ),
    (Set("some", "ipv4_addr", ("10.0.0.0/8",)), Set("ports", "inet_service", ("80",), False)),
)


def test_a_table_is_plain_data_and_comes_back() -> None:
    assert Table.from_json(json.loads(json.dumps(TABLE.to_json()))) == TABLE


def test_the_text() -> None:
    assert (
        TABLE.text(owned=True)
        == """\
table inet byway {
  flags owner
  comment "byway: a ?test? of it"
  set some {
    type ipv4_addr
    flags interval
    elements = { 10.0.0.0/8 }
  }
  set ports {
    type inet_service
    elements = { 80 }
  }
  chain base {
    type filter hook output priority -300; policy drop;
    meta mark 5 accept
  }
  chain plain {
  }
}
"""
    )


@pytest.mark.parametrize(
    "name", ['eth0"; drop', "a b", "", "sixteen-letters-", "a/b", "x*y", "{", "a\n"]
)
def test_no_other_text_gets_in_by_a_name(name: str) -> None:
    with pytest.raises(ValueError, match="is no name"):
        interface(name)
    with pytest.raises(ValueError, match="is no name"):
        Table(name or " ", "", ()).text()


@pytest.mark.parametrize("name", ["eth0", "wlan0.1", "br-1a2b", "tun*"])
def test_names_of_interfaces(name: str) -> None:
    assert interface(name) == f'"{name}"'


def test_prefixes_by_family() -> None:
    found = by_family(["10.1.2.3/8", "10.9.0.0/16", "fd00::/8", "fd01::/16", "192.0.2.1"])
    assert found == (("10.0.0.0/8", "192.0.2.1/32"), ("fd00::/8",))
    with pytest.raises(ValueError, match="does not appear to be"):
        by_family(["10.0.0.0/8; flush ruleset"])
    assert address_sets("x", [])[0] == Set("x4", "ipv4_addr", ())


def test_a_clause_has_a_line_for_each_family_that_it_can_hold_in() -> None:
    to = Term("to", ("10.0.0.0/8",))
    lines, sets = lines_of([Clause((to,), "drop")], "own", 7, forwarded=False)
    assert lines == ("meta nfproto ipv4 ip daddr @own0_0 counter drop",)
    assert sets == (Set("own0_0", "ipv4_addr", ("10.0.0.0/8",)),)
    lines, _ = lines_of([Clause((Term("to", to.values, True),), "take")], "own", 7, False)
    assert lines == (
        "meta nfproto ipv4 ip daddr != @own0_0 counter return",
        "meta nfproto ipv6 counter return",
    )


def test_what_is_forwarded_has_no_user_and_what_is_ours_no_mac() -> None:
    uid, mac = Term("uid", ("7",)), Term("mac", ("02:00:00:00:00:01",))
    for term, forwarded in ((uid, True), (mac, False)):
        other = Term(term.what, term.values, negated=True)
        assert lines_of([Clause((term,), "direct")], "x", 7, forwarded)[0] == ()
        assert lines_of([Clause((other,), "drop")], "x", 7, forwarded)[0] == ("counter drop",)
    (line,), _ = lines_of([Clause((uid,), "direct")], "x", 7, False)
    assert line == "meta skuid { 7 } counter ct mark set 0x7 meta mark set 0x7 accept"
