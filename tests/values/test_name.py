"""Names that people give: any script, nothing hidden, nothing that looks like another."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from byway.values.name import MOST, fault, like, look, visible

ENGLAND = "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f"
FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467"


@pytest.mark.parametrize(
    "name",
    [
        "home", "vps-2", "节点选择", "🚀 节点选择", "🇭🇰 香港 01 | IEPL", "♻️ 自动选择", "1️⃣ erste",
        f"{ENGLAND} England", FAMILY, "🏳️\u200d🌈", "香港（1）", "Россия DE-1", "ไทย", "हिन्दी",
        "한국", "日本·東京", "[SS] HK: 1/2", "Tiếng Việt", "x" * MOST,
    ],
)  # fmt: skip
def test_a_name_is_kept_and_shown_as_it_is(name: str) -> None:
    assert fault(name) == ""
    assert like(name) == name
    assert visible(name) == name


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "empty"),
        ("x" * (MOST + 1), "longer"),
        (" a", "spaces"),
        ("a  b", "spaces"),
        ("socks5://h:1", "link"),
        ("a\nb", "U+000A"),
        ("a\x1b[31m", "U+001B"),
        ("a\u202eb", "U+202E"),
        ("a\u2066b", "U+2066"),
        ("a\u200eb", "U+200E"),
        ("a\u200bb", "U+200B"),
        ("a\u200db", "U+200D"),
        ("a\ufeffb", "U+FEFF"),
        ("a\u00adb", "U+00AD"),
        ("a\u00a0b", "U+00A0"),
        ("a\u3000b", "U+3000"),
        ("a\u2028b", "U+2028"),
        ("a\ufe0fb", "U+FE0F"),
        ("a\u3164", "U+3164"),
        ("a\U000e0061", "U+E0061"),
        ("a\ue000", "U+E000"),
        ("a\ud800", "U+D800"),
        ("e\u0301\u0302\u0303\u0304", "marks"),
        ("\u0301e", "marks"),
        ("a>b", "has >"),
        ('a"b', 'has "'),
        ("d\u0456rect", "Cyrillic and Latin"),
        ("\u03bfffice", "Greek and Latin"),
    ],
)
def test_no_name(text: str, why: str) -> None:
    assert why in fault(text)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("d\u0456rect", "direct"),
        ("\u0430\u0440\u0440", "app"),
        ("ｄｉｒｅｃｔ", "direct"),
        ("♻️ A", "♻ A"),
    ],
)
def test_what_looks_alike(one: str, other: str) -> None:
    assert one != other
    assert look(one) == look(other)


@given(st.text(max_size=80))
def test_any_text_becomes_a_sound_name_or_none(text: str) -> None:
    made = like(text)
    assert made == "" or fault(made) == ""
    assert unicodedata.is_normalized("NFC", made)
    assert like(made) == made


@given(st.text(max_size=80))
def test_what_is_shown_commands_no_terminal(text: str) -> None:
    rest = visible(text).replace("\u200d", "")
    assert "".join(c for c in rest if not 0xE0000 <= ord(c) <= 0xE007F).isprintable()
