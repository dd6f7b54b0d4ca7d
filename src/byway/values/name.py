"""The names that a person gives to inbounds, outbounds, groups and sets: in any script, but sound.

A name is shown in terminals, logs and web pages, and decides where traffic goes. So nothing in it
is invisible or turns the direction of text, and no two names of a config look alike (Unicode
Technical Standard 39). Names are compared and kept in normal form C.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator

NAME_PATTERN = r"^[^\x00-\x1f\x7f\"<>\\`]{1,64}$"
"""What every name answers to, for the JSON Schema; `fault` knows the rest."""

HINT = "1 to 64 letters of any script, digits, signs and emoji, with single spaces between"
MOST = 64  # characters
MOST_MARKS = 3  # on one letter

_EMOJI_JOINER, _EMOJI_STYLE, _KEYCAP, _BLACK_FLAG = "\u200d", "\ufe0f", "\u20e3", "\U0001f3f4"
_REFUSED = frozenset('"<>\\`')
_BLANK = frozenset("\u115f\u1160\u2800\u3164\uffa0\u17b4\u17b5\u034f")  # that look like nothing
_LOOKALIKE_SCRIPTS = frozenset({"LATIN", "CYRILLIC", "GREEK", "COPTIC", "ARMENIAN", "CHEROKEE"})
_TAGS = re.compile("\U0001f3f4[\U000e0030-\U000e0039\U000e0061-\U000e007a]{1,8}\U000e007f")
_EMOJI = "[\u2190-\u2bff\U0001f000-\U0001faff]\ufe0f?[\U0001f3fb-\U0001f3ff]?"
_EMOJI_SEQUENCE = re.compile(f"({_TAGS.pattern}|{_EMOJI}(?:\u200d{_EMOJI})+)")
# Letters of other scripts that are drawn as Latin ones are: the part of Unicode's confusables
# that keyboards have.
_LOOKS = str.maketrans(
    "аВсСԁеЕһНіІјЈкКӏԼМпоОрРԛѕЅТԝхХуУАαΑΒΕΖΗιΙΚκΜΝνοΟρΡΤτυΥΧχаձոսցօոհ",
    "aBcCdeEhHiIjJkKlLMnoOpPqsSTwxXyYAaABEZHiIKkMNvoOpPTtuYXxaanugonh",
)


def fault(text: str) -> str:
    """Why a text cannot be a name; an empty text when it can. It is in normal form C."""
    if not text or len(text) > MOST:
        return "is empty" if not text else f"is longer than {MOST} characters"
    if text != text.strip(" ") or "  " in text:
        return "has spaces at an end, or two together"
    if "://" in text:
        return "looks like a link"
    plain = _TAGS.sub(_BLACK_FLAG, text)
    marks, before = 0, " "
    for c in plain:
        if c in _REFUSED:
            return f"has {c} in it"
        if _is_hidden(c, before):
            return f"has a character in it that cannot be seen ({_code(c)})"
        is_mark = unicodedata.category(c)[0] == "M" and c not in (_EMOJI_STYLE, _KEYCAP)
        marks = marks + 1 if is_mark else 0
        if marks and (before == " " or marks > MOST_MARKS):
            return f"has too many marks on one letter ({_code(c)})"
        before = c
    return _mixed(text)


def look(text: str) -> str:
    """What a name looks like: two names with the same look are not to be told apart."""
    if text.isascii():
        return text
    shown = unicodedata.normalize("NFKC", text).translate(_LOOKS)
    return "".join(c for c in shown if c not in "\ufe0e\ufe0f\u200d")


def normal(text: str) -> str:
    """The form in which names are kept and compared."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def like(theirs: str) -> str:
    """A sound name as near to this text as may be; an empty text where nothing is left of it."""
    text = " ".join(unicodedata.normalize("NFC", theirs).split()).replace("://", "-")
    kept, before = [], " "
    for c in _without_tags(text):
        if c in _REFUSED:
            c = "-"
        if not _is_hidden(c, before):
            kept.append(c)
            before = c
    text = " ".join("".join(kept)[:MOST].split())
    if text and not fault(text):
        return text
    text = " ".join(_unmixed(word) if _mixed(word) else word for word in text.split(" "))
    text = re.sub("[\u0300-\u036f]+", "", text)[:MOST].strip()
    return text if not fault(text) else ""


def visible(text: str) -> str:
    """The text without anything that a terminal or a line reader could take for a command."""
    if text.isprintable():
        return text
    parts = _EMOJI_SEQUENCE.split(text)  # every second one is such a sequence
    return "".join(part if at % 2 else _escaped(part) for at, part in enumerate(parts))


def _escaped(text: str) -> str:
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _without_tags(text: str) -> Iterator[str]:
    """The characters, but a flag of a region (a flag with tags) as one."""
    at = 0
    for found in _TAGS.finditer(text):
        yield from text[at : found.start()]
        yield found[0]
        at = found.end()
    yield from text[at:]


def _is_hidden(c: str, before: str) -> bool:
    """Whether a character shows nothing of itself, or turns what is around it."""
    if len(c) > 1 or " " <= c <= "~":
        return False
    if c in (_EMOJI_STYLE, "\ufe0e", _EMOJI_JOINER, _KEYCAP):
        ground = before[-1]
        if c == _EMOJI_JOINER:
            return not (_is_emoji(ground) or ground == _EMOJI_STYLE)
        return not (_is_emoji(ground) or ground in "0123456789#*" or ground == _EMOJI_STYLE)
    kind = unicodedata.category(c)
    if kind == "Cn" and 0x1F000 <= ord(c) <= 0x1FAFF:
        return False  # an emoji that is newer than this Python
    return (
        kind in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Zs")
        or c in _BLANK
        or 0xFE00 <= ord(c) <= 0xFE0F
        or 0x180B <= ord(c) <= 0x180F
        or 0xE0100 <= ord(c) <= 0xE01EF
    )


def _is_emoji(c: str) -> bool:
    return unicodedata.category(c) in ("So", "Sk", "Sm", "Po", "Cn") and not c.isascii()


def _mixed(text: str) -> str:
    """What is wrong with a word of several scripts whose letters look alike."""
    if text.isascii():
        return ""
    for word in re.findall(r"[^\W\d_]+", text):
        scripts = _LOOKALIKE_SCRIPTS.intersection(_scripts(word))
        if len(scripts) > 1:
            both = " and ".join(sorted(script.title() for script in scripts))
            return f"mixes {both} letters in one word, which look alike"
    return ""


def _scripts(word: Iterable[str]) -> Iterator[str]:
    for c in word:
        first, _, rest = unicodedata.name(c, "").partition(" ")
        yield rest.partition(" ")[0] if first in ("FULLWIDTH", "MATHEMATICAL") else first


def _unmixed(word: str) -> str:
    """The word in Latin letters that look alike, or with a dash where another script begins."""
    if not _mixed(plain := look(word)):
        return plain
    made, before = "", ""
    for c in word:
        script = next(_scripts(c)) if c.isalpha() else before
        made += f"-{c}" if before and script != before else c
        before = script
    return made


def _code(c: str) -> str:
    return f"U+{ord(c):04X}"
