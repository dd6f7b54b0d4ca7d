"""The conditions beyond names and prefixes, each against a slow reference that is plainly right."""

from __future__ import annotations

import ipaddress
import re
import time
from datetime import datetime, timedelta
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from byway.flow import Flow, Network, Target
from byway.rules import NO_FACTS, Fact, Facts
from byway.rules.matchers import (
    PRIVATE,
    Address,
    Answer,
    AnyOf,
    Not,
    SourcePort,
    Version,
)
from byway.rules.moments import DAYS, During, Span
from byway.rules.names import Keyword, Regex, Wildcard

letters = st.sampled_from("ab.")
names = st.text(letters, min_size=1, max_size=8).filter(lambda t: ".." not in f".{t}.")
packed = st.binary(min_size=4, max_size=4) | st.binary(min_size=16, max_size=16)


def to(host: str, source: str | None = None) -> Flow:
    near = None if source is None else Target.parse(source)
    return Flow(1, Network.TCP, "mixed", near, Target.of(host, 443))


@given(names, st.lists(st.text(letters, min_size=1, max_size=3), min_size=1, max_size=3))
def test_a_keyword_is_a_part_of_the_name(name: str, words: list[str]) -> None:
    slow = any(name[at : at + len(word)] == word for word in words for at in range(len(name)))

    assert Keyword(tuple(words)).match(to(name), NO_FACTS) is slow


def like(pattern: str, text: str) -> bool:
    """The reference: try every way to share the text out."""

    @cache
    def rest(p: int, t: int) -> bool:
        if p == len(pattern):
            return t == len(text)
        if pattern[p] == "*":
            return any(rest(p + 1, at) for at in range(t, len(text) + 1))
        return t < len(text) and pattern[p] in ("?", text[t]) and rest(p + 1, t + 1)

    return rest(0, 0)


@given(names, st.lists(st.text("ab.*?", min_size=1, max_size=8), min_size=1, max_size=3))
def test_wildcards_match_as_the_slow_way_says(name: str, patterns: list[str]) -> None:
    matcher = Wildcard(tuple(patterns))

    slow = [pattern for pattern in patterns if like(pattern, name)]
    assert matcher.match(to(name), NO_FACTS) is bool(slow)
    if slow:
        assert matcher.found(name) == slow[0]


@given(
    names,
    st.lists(
        st.sampled_from(["^a", "b$", "a+b", r"\.", "(a|b)+$", "^[ab]{2,4}[.]", "aa?b*", "ba|ab"]),
        min_size=1,
        max_size=3,
    ),
)
def test_regexes_find_what_the_standard_library_finds(name: str, patterns: list[str]) -> None:
    matcher = Regex(tuple(patterns))

    slow = [pattern for pattern in patterns if re.search(pattern, name)]
    assert matcher.match(to(name), NO_FACTS) is bool(slow)
    if slow:
        assert matcher.found(name) == slow[0]


@pytest.mark.parametrize(
    "matcher",
    [Regex(("(a+)+$", "(a|aa)+$")), Wildcard(("*a" * 60 + "*b", "*" + "?a*" * 40 + "b"))],
)
def test_no_pattern_holds_up_the_road(matcher: Regex | Wildcard) -> None:
    name = to("a" * 60 + "." + "a" * 60 + "." + "a" * 60 + "." + "a" * 60 + "x")

    began = time.process_time()
    for _ in range(100):
        assert matcher.match(name, NO_FACTS) is False
    assert time.process_time() - began < 1


@pytest.mark.parametrize("pattern", ["(a", "a**", "(?=a)", r"(a)\1", "["])
def test_what_is_no_regex_of_linear_time_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        Regex((pattern,))


@pytest.mark.parametrize("matcher", [Keyword(("1",)), Wildcard(("*",)), Regex(("1",))])
def test_an_address_is_no_name(matcher: Keyword | Wildcard | Regex) -> None:
    assert matcher.match(to("10.1.1.1"), NO_FACTS) is False


@given(packed, st.sampled_from([4, 16]))
def test_the_version_is_the_one_of_the_address(address: bytes, size: int) -> None:
    target = Target.from_packed(address, 1)
    assert target.packed is not None
    found = Version(size).match(to("name"), Facts((target.packed,)))

    assert found is (len(target.packed) == size)
    assert Version(size).match(to(target.host), NO_FACTS) is found
    assert Version(size).match(to("name"), NO_FACTS) is Fact.ADDRESS
    assert Version(size).match(to("name"), Facts(())) is False


@given(packed)
def test_private_is_at_least_what_the_standard_library_calls_so(address: bytes) -> None:
    target = Target.from_packed(address, 1)
    there = ipaddress.ip_address(target.packed or b"")

    private = Address(PRIVATE).match(to(target.host), NO_FACTS)
    if there.is_loopback or there.is_link_local or there.is_multicast or there.is_unspecified:
        assert private is True
    if there.is_global and not there.is_multicast:
        assert private is False


def test_private_ends_where_its_networks_end() -> None:
    private = Address(PRIVATE)
    for inside in ("10.255.255.255", "172.31.0.1", "192.168.0.0", "100.127.0.1", "fdff::", "::1"):
        assert private.match(to(inside), NO_FACTS) is True
    for outside in ("11.0.0.0", "172.32.0.1", "192.169.0.0", "100.128.0.1", "fe00::", "::2"):
        assert private.match(to(outside), NO_FACTS) is False


@given(st.integers(0, 65535), st.integers(0, 65535), st.integers(0, 65535))
def test_a_source_port_is_in_its_range(port: int, one: int, other: int) -> None:
    first, last = min(one, other), max(one, other)
    matcher = SourcePort(((first, last),))

    assert matcher.match(to("h", f"10.0.0.1:{port}"), NO_FACTS) is (first <= port <= last)
    assert matcher.match(to("h"), NO_FACTS) is False


@given(
    st.lists(st.integers(0, 6), min_size=1, max_size=3, unique=True),
    st.integers(0, 1439),
    st.integers(1, 1440),
    st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1)),
)
def test_a_span_is_walked_minute_by_minute(
    days: list[int], first: int, last: int, moment: datetime
) -> None:
    if first == last:
        return
    text = f"{','.join(DAYS[day] for day in days)} {clock(first)}-{clock(last)}"

    slow = False
    length = (last - first) % 1440 or 1440
    for back in range(2):
        day = (moment - timedelta(days=back)).replace(hour=0, minute=0, second=0, microsecond=0)
        begun = day + timedelta(minutes=first)
        inside = begun <= moment < begun + timedelta(minutes=length)
        slow = slow or (day.weekday() in days and inside)

    assert During((Span.parse(text),)).match(to("h"), Facts(moment=moment)) is slow


def clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"


def test_spans_read_what_people_write() -> None:
    monday = datetime(2026, 11, 23, 12, 0)

    def holds(text: str, moment: datetime = monday) -> Answer:
        return During((Span.parse(text),)).match(to("h"), Facts(moment=moment))

    assert holds("mon") is True
    assert holds("tue-sun") is False
    assert holds("Sat-Mon 9:00-12:01") is True
    assert holds("09:00-12:00") is False
    assert holds("sun 22:00-06:00", monday.replace(hour=5)) is True
    assert holds("mon 22:00-06:00", monday.replace(hour=5)) is False
    assert During(()).match(to("h"), NO_FACTS) is Fact.MOMENT


@pytest.mark.parametrize("text", ["", "noday", "mon-", "25:00-26:00", "10:00", "9-17", "9:00-9:00"])
def test_what_is_no_span_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        Span.parse(text)


class Says:
    """A condition with a fixed answer."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer

    def match(self, flow: Flow, facts: Facts) -> Answer:
        return self.answer


answers = st.sampled_from([True, False, Fact.ADDRESS])


@given(st.lists(answers))
def test_any_is_the_or_of_three_valued_logic(given_answers: list[Answer]) -> None:
    slow: Answer = False
    if True in given_answers:
        slow = True
    elif Fact.ADDRESS in given_answers:
        slow = Fact.ADDRESS

    assert AnyOf(tuple(map(Says, given_answers))).match(to("h"), NO_FACTS) is slow


@given(answers)
def test_not_turns_an_answer_and_keeps_a_question(answer: Answer) -> None:
    turned = Not(Says(answer)).match(to("h"), NO_FACTS)

    assert turned is (answer if isinstance(answer, Fact) else not answer)
