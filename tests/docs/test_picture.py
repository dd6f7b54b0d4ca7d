"""The picture in the README shows what the verbs print today."""

from __future__ import annotations

import pytest

from byway.lab import missing
from picture import PICTURE, drawn, masked, record, text_of

SHOWN = PICTURE.read_text(encoding="utf-8")


def test_a_drawing_gives_its_text_back() -> None:
    text = "$ byway why a.example\n\n-> <byway.yaml:1>  to: a & b"

    assert text_of(drawn(text)) == text
    assert drawn(text_of(SHOWN)) == SHOWN


def test_what_differs_between_recordings_is_masked() -> None:
    head = "     3  {} video.example:443  vps  7.3M   7.3M  {}  byway.yaml:9"

    assert masked(head.format("4.3s", "3.4M/s")) == masked(head.format("  1m", "     -"))
    assert masked("7.3M") != masked("7.4M")


@pytest.mark.lab
def test_the_picture_shows_what_the_verbs_print() -> None:
    if reason := missing():
        pytest.skip(reason)

    assert masked(text_of(SHOWN)) == masked(record().rstrip()), "make picture"
