"""The tree of a YAML text, held against what the YAML library itself makes of it."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from byway.config.read.load import load_text
from byway.config.read.tree import TreeError, grow, parse, resolve
from byway.errors import ConfigError

scalars = st.none() | st.booleans() | st.integers(-(10**17), 10**17) | st.text(max_size=12)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=20,
)


@given(values.filter(lambda value: value is not None))
def test_what_the_library_writes_in_quotes_reads_back(value: object) -> None:
    text = yaml.safe_dump(value, default_style='"', allow_unicode=False)
    if "!!" in text:  # scalars that are no text are written with tags in this style
        text = yaml.safe_dump(value)

    try:
        root, twice = parse(text)
    except TreeError as error:
        assert "merge keys" in error.message  # noqa: PT017 - the one text that is refused
        return

    assert not twice
    found = None if root is None else root.plain()
    assert found == value or _differs_in_spec(value)


def _differs_in_spec(value: object) -> bool:
    """Texts that YAML 1.1 leaves plain and 1.2 reads as numbers (`0o7`, `1e5`), or dates."""
    if isinstance(value, str):
        return not isinstance(resolve(value), str)
    if isinstance(value, list):
        return any(_differs_in_spec(item) for item in value)
    if isinstance(value, dict):
        return any(_differs_in_spec(item) for item in value.values())
    return False


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("~", None),
        ("NULL", None),
        ("nUll", "nUll"),
        ("true", True),
        ("FALSE", False),
        ("yes", "yes"),
        ("off", "off"),
        ("010", 10),
        ("0o10", 8),
        ("0x1F", 31),
        ("-7", -7),
        ("1_000", "1_000"),
        ("22:22", "22:22"),
        ("2026-01-01", "2026-01-01"),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("1.2.3.4", "1.2.3.4"),
        ("-.inf", float("-inf")),
        ("-", "-"),
        ("+", "+"),
        ("9" * 5000, float("inf")),
    ],
)
def test_plain_scalars_follow_the_core_schema(text: str, value: object) -> None:
    assert resolve(text) == value
    assert type(resolve(text)) is type(value)


def test_places_count_from_one_and_keys_have_their_own() -> None:
    root, twice = parse("a:\n  b: [x, y]\n  b: 2\n")

    assert root is not None
    a = root.get("a")
    assert a is not None
    assert isinstance(a.content, dict)
    entry = a.content["b"]
    assert (entry.line, entry.column) == (2, 3)
    assert [(item.line, item.column) for item in entry.value.items()] == [(2, 7), (2, 10)]
    assert [(again.path, again.line, again.column, again.first) for again in twice] == [
        (("a", "b"), 3, 3, 2)
    ]


def test_only_plain_values_grow() -> None:
    with pytest.raises(TypeError):
        grow({"a": {1, 2}})


@given(st.text(alphabet=st.sampled_from("ab:-[]{}&*!'\"#|>\n\t %@,0?<.")))
def test_any_text_is_a_config_or_a_config_error(text: str) -> None:
    try:
        load_text(text)
        return
    except ConfigError as error:
        problems = error.problems
    lines = text.count("\n") + 1
    assert problems
    assert all(1 <= problem.line <= lines + 1 for problem in problems)


sections = st.dictionaries(
    st.sampled_from(["log", "limits", "inbounds", "outbounds", "rules", "x"]),
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.sampled_from(
            [
                "direct",
                "reject",
                "mixed",
                "socks",
                "127.0.0.1:1080",
                "h:1",
                "GEHEIM",
                "u:GEHEIM@h:1",
                "socks5://u:GEHEIM@h:1",
                "http://u:GEHEIM@:1",
                "ftp://GEHEIM@h",
            ]
        ),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "type",
                        "listen",
                        "users",
                        "name",
                        "password",
                        "server",
                        "username",
                        "via",
                        "to",
                        "otherwise",
                        "port",
                        "ip",
                        "domain",
                        "a",
                        "direct",
                    ]
                ),
                inner,
                max_size=5,
            )
        ),
        max_leaves=25,
    ),
)


@given(sections)
def test_no_error_shows_the_password_of_a_link(data: dict[str, object]) -> None:
    try:
        config = load_text(yaml.safe_dump(data))
    except ConfigError as error:
        shown = str(error)
    else:
        shown = repr(config)

    assert "u:GEHEIM" not in shown
