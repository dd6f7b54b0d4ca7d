"""mihomo's binary lists (mrs): names or ranges of addresses, packed by Zstandard."""

from __future__ import annotations

import zstandard

from byway.rules.gathering import Bad
from byway.rules.published.reading import MOST_BYTES, Cursor, names_of, prefixes_of

_V4 = bytes(10) + b"\xff\xff"  # before an IPv4 address in sixteen bytes


def lines(data: bytes) -> bytes:
    """Its entries as Clash writes them. Raises Bad for what is no such list."""
    cursor = Cursor(_unpacked(data))
    if cursor.take(4) != b"MRS\x01":
        raise Bad("it is no list of mihomo (mrs), or of a newer kind")
    behavior = cursor.byte()
    cursor.take(8)  # how many lines its source had
    cursor.take(cursor.fixed(8))
    if cursor.byte() != 1:
        raise Bad("its entries are of a newer kind")
    if behavior == 0:
        leaves, bitmap = (cursor.take(8 * cursor.fixed(8)) for _ in range(2))
        return names_of(leaves, bitmap, cursor.take(cursor.fixed(8)), "mihomo")
    if behavior == 1:
        return _prefixes(cursor)
    raise Bad("it holds neither names nor addresses")


def _unpacked(data: bytes) -> bytes:
    try:
        with zstandard.ZstdDecompressor(max_window_size=MOST_BYTES).stream_reader(data) as stream:
            found = stream.read(MOST_BYTES + 1)
    except zstandard.ZstdError:
        raise Bad("it is not packed by Zstandard, or is damaged") from None
    if len(found) > MOST_BYTES:
        raise Bad(f"it unpacks to more than {MOST_BYTES >> 20} MiB")
    return found


def _prefixes(cursor: Cursor) -> bytes:
    found: list[str] = []
    for _ in range(cursor.fixed(8)):
        first, last = cursor.take(16), cursor.take(16)
        if first.startswith(_V4) and last.startswith(_V4):
            first, last = first[12:], last[12:]
        found += prefixes_of(first, last)
    return "\n".join(found).encode()
