"""What a limit may say, and what is told of one that is wrong."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from byway.config import changes, load_text
from byway.config.limited import alike, terms_of
from byway.errors import ConfigError
from byway.ledger.limits import Terms


def wrong(limit: str) -> str:
    """What is told of a limit of a user."""
    text = f"""inbounds:
  in:
    type: mixed
    listen: 127.0.0.1:1080
    users: [{{name: ann, password: x, limit: {limit}}}]
"""
    with pytest.raises(ConfigError) as error:
        load_text(text, "b.yaml")
    (problem,) = error.value.problems
    assert problem.line == 5
    assert problem.column >= 45
    return f"{problem.key}: {problem.message} ({problem.hint})"


@pytest.mark.parametrize(
    ("limit", "told"),
    [
        ("{}", "users[0].limit: the limit is empty (add up, down, quota or flows)"),
        ("{per: 1d}", "limit.per: per requires quota (add quota)"),
        ("{up: 5}", "limit.up: a rate needs its unit (for example 5MB/s, or 5Mbit/s)"),
        ("{up: 5MB}", "limit.up: '5MB' is not a rate (for example 500KB/s, 1.5MB/s, 8Mbit/s)"),
        ("{up: -1MB/s}", "'-1MB/s' is not a rate"),
        ("{down: 1B/s}", "limit.down: '1B/s' is out of bounds (1KB/s to 100GB/s)"),
        ("{down: 999999GB/s}", "out of bounds"),
        ("{quota: 100}", "limit.quota: a size needs its unit (for example 100B)"),
        ("{quota: 0B}", "'0B' is out of bounds"),
        ("{quota: 1GB, per: 30}", "limit.per: a duration needs its unit"),
        ("{flows: 0}", "limit.flows: 0 is out of bounds (1 to 10000000)"),
        ("{flow: 5}", "limit.flow: unknown key (did you mean flows?"),
        ("5MB/s", "limit: expected a mapping, got text"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(limit: str, told: str) -> None:
    assert told in wrong(limit)


EVERYWHERE = """
inbounds:
  in:
    type: mixed
    listen: 127.0.0.1:1080
    limit: {flows: 7}
    users:
      - {name: ann, password: x, limit: {up: 8Mbit/s, down: 1.5MB/s}}
      - {name: bob, password: x}
outbounds:
  direct: {type: direct, limit: {quota: 2TB, per: 30d}}
groups:
  pick: {type: select, members: direct, limit: {up: 4KiB/s}}
rules:
  - {port: 80, to: pick, limit: {quota: 10KB}}
  - {port: 80, to: pick}
  - {otherwise: direct, limit: {flows: 1}}
"""


def test_limits_are_read_from_every_place() -> None:
    config = load_text(EVERYWHERE.replace("  - {port: 80, to: pick}\n", ""), "b.yaml")
    assert list(terms_of(config)) == [
        Terms("inbound in", "b.yaml:3", flows=7),
        Terms("user ann of inbound in", "b.yaml:3", up=1_000_000, down=1_500_000),
        Terms("outbound direct", "b.yaml:11", quota=2 * 10**12, per=30 * 86400.0),
        Terms("outbound pick", "b.yaml:13", up=4096),
        Terms("rule port: 80, to: pick", "b.yaml:15", quota=10_000),
        Terms("rule otherwise: direct", "b.yaml:16", flows=1),
    ]


def test_a_limit_is_no_part_of_what_it_stands_in() -> None:
    old = load_text(EVERYWHERE, "b.yaml")
    new = load_text(EVERYWHERE.replace("flows: 7", "flows: 8").replace("10KB", "9KB"), "b.yaml")
    assert alike(old.inbounds["in"], new.inbounds["in"])
    assert [rule.ref.text for rule in old.rules] == [rule.ref.text for rule in new.rules]
    assert changes(old, new) == ("~ inbound in: limit", "~ limit of rule port: 80, to: pick")
    renamed = load_text(EVERYWHERE.replace("name: bob", "name: eve"), "b.yaml")
    assert not alike(old.inbounds["in"], renamed.inbounds["in"])


@given(
    number=st.integers(min_value=1, max_value=10**6),
    unit=st.sampled_from(["KB/s", "MB/s", "KiB/s", "MiB/s", "Mbit/s", "kbit/s"]),
)
def test_rates_are_bytes_a_second(number: int, unit: str) -> None:
    each = {"KB/s": 1000, "MB/s": 10**6, "KiB/s": 1024, "MiB/s": 2**20, "Mbit/s": 125_000}
    count = number * each.get(unit, 125)
    text = f"inbounds: {{in: {{type: http, listen: '[::1]:0', limit: {{up: {number}{unit}}}}}}}"
    if 1000 <= count <= 10**11:
        (terms,) = terms_of(load_text(text))
        assert terms.up == count
    else:
        with pytest.raises(ConfigError, match="out of bounds"):
            load_text(text)
