"""What a list is, told by its first lines."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from byway.rules.gathering import Bad
from byway.rules.guess import form_of
from byway.rules.lists import BY_LINE
from byway.rules.published import BINARY


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("example.com\n=www.example.org\n", "lines"),
        ("# a list\n10.0.0.0/8\n", "lines"),
        ('\ufeff\n {"version": 1, "rules": []}', "sing-box"),
        ("# by somebody\npayload:\n  - 'example.com'\n", "clash"),
        ("DOMAIN-SUFFIX,example.com\n", "clash"),
        ("+.example.com\nexample.org\n", "clash"),
        ("IP-CIDR,10.0.0.0/8,no-resolve\n", "clash"),
        ("# a hosts file\n127.0.0.1 localhost\n0.0.0.0 ads.example\n", "hosts"),
        ("ads.example\nb.example\n0.0.0.0/8\n", "lines"),
        ("! Title: ads\n||ads.example^\n", "adblock"),
        ("[Adblock Plus 2.0]\nads.example\n", "adblock"),
        ("example.com\r\nb.example\r\n", "lines"),
    ],
)
def test_a_form_is_told_by_its_lines(text: str, form: str) -> None:
    assert form_of(text.encode()) == form


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty"),
        (b"\xef\xbb\xbf \n", "empty"),
        (b"\n<!DOCTYPE html><html>", "a web page"),
        (b"\x7fELF\0\0", "binary"),
    ],
)
def test_what_is_no_list_is_refused(data: bytes, words: str) -> None:
    with pytest.raises(Bad, match=words):
        form_of(data)


@given(st.binary(max_size=200))
def test_any_bytes_have_a_form_or_none(data: bytes) -> None:
    with contextlib.suppress(Bad):
        assert form_of(data) in {*BY_LINE, *BINARY}
