"""The files that V2Ray and its kin share: geosite.dat has lists of names, geoip.dat of prefixes."""

from __future__ import annotations

import difflib

from byway.engine.sets import dat_codes, dat_names, dat_prefixes
from byway.rules.gathering import Bad


def names(data: bytes, part: str) -> bytes:
    """The lines of a list of names; `google@ads` is what has the attribute `ads`, of several
    attributes all. Raises Bad where there is no such list, or what is no such file."""
    code, *attributes = part.split("@")
    try:
        found = dat_names(data, code, [one for one in attributes if one])
        return _found(found, data, code)
    except ValueError as error:
        raise _no_file(error, "geosite.dat") from None


def prefixes(data: bytes, part: str) -> bytes:
    """The lines of a list of prefixes. Raises Bad as `names` does."""
    try:
        return _found(dat_prefixes(data, part), data, part)
    except ValueError as error:
        raise _no_file(error, "geoip.dat") from None


def _found(lines: bytes | None, data: bytes, code: str) -> bytes:
    if lines is not None:
        return lines
    near = difflib.get_close_matches(code.upper(), map(str.upper, dat_codes(data)), 1)
    hint = f": did you mean {near[0].lower()}?" if near else ""
    raise Bad(f"it has no list {code!r}{hint}")


def _no_file(error: ValueError, name: str) -> Bad:
    return error if isinstance(error, Bad) else Bad(f"it is no {name}, or is damaged")
