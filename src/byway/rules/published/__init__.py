"""Sets as other programs publish them: binary lists, and lists of many files, read to lines.

Comes in: the bytes of a list. Goes out: lines in a form that sets are read and cached from, so
that whatever a list was packed in, its entries are judged, counted and found alike.
"""

from __future__ import annotations

from byway.rules.gathering import Bad

LINES_OF = {"srs": "unpacked", "mrs": "clash", "geosite": "unpacked", "geoip": "unpacked"}
"""The forms that are no text, and the form of the lines that each is read to."""
BINARY = frozenset(LINES_OF)
CHOOSING = ("geosite", "geoip")
"""Forms of files that hold many lists, of which one is named."""


def unpacked(form: str, data: bytes, part: str = "") -> bytes:
    """The lines of one of the `BINARY` lists. `part` names the list of a file that holds many.
    Raises Bad for what is no such list."""
    match form:
        case "srs":
            from byway.rules.published import srs

            return srs.lines(data)
        case "mrs":
            from byway.rules.published import mrs

            return mrs.lines(data)
        case "geosite":
            from byway.rules.published import dat

            return dat.names(data, part)
        case "geoip":
            from byway.rules.published import dat

            return dat.prefixes(data, part)
    raise Bad(f"no binary form is called {form}")
