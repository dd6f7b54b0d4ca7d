"""Texts in the columns of a terminal, where a Chinese character or an emoji takes two (UAX 11)."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator

_JOINER, _EMOJI_STYLE = "\u200d", "\ufe0f"


def width(text: str) -> int:
    """How many columns a text takes."""
    return len(text) if text.isascii() else sum(columns for _, columns in _clusters(text))


def padded(text: str, columns: int) -> str:
    """The text with spaces behind it, up to so many columns."""
    return text + " " * (columns - width(text))


def clipped(text: str, columns: int) -> str:
    """The text in at most so many columns; what does not fit is shown by a mark."""
    if width(text) <= columns:
        return text
    return _fitting(list(_clusters(text)), columns - 1) + "…"


def last(text: str, columns: int) -> str:
    """The end of a text in at most so many columns: of a chain, its last hop."""
    if width(text) <= columns:
        return text
    kept, room = "", columns - 1
    for piece, wide in reversed(list(_clusters(text))):
        if wide > room:
            break
        kept, room = piece + kept, room - wide
    return "…" + kept


def _fitting(pieces: list[tuple[str, int]], room: int) -> str:
    kept = ""
    for piece, wide in pieces:
        if wide > room:
            break
        kept, room = kept + piece, room - wide
    return kept


def _clusters(text: str) -> Iterator[tuple[str, int]]:
    """One drawn character with its marks, and the columns that it takes."""
    piece, wide = "", 0
    for c in text:
        if piece and _joins(piece, c):
            piece += c
            if c == _EMOJI_STYLE:
                wide = 2
            continue
        if piece:
            yield piece, wide
        piece, wide = c, _columns(c)
    if piece:
        yield piece, wide


def _joins(piece: str, c: str) -> bool:
    """Whether a character is drawn over the ones before it."""
    if c.isascii():
        return False
    if piece[-1] == _JOINER or unicodedata.category(c) in ("Mn", "Me", "Cf"):
        return True
    is_skin_colour = 0x1F3FB <= ord(c) <= 0x1F3FF
    return is_skin_colour and unicodedata.category(piece[0]) == "So"


def _columns(c: str) -> int:
    if c.isascii():
        return 1
    if unicodedata.category(c) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(c) in "WF" else 1
