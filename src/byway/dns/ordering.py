"""Which of a name's addresses is dialled first (RFC 6724, section 6), as getaddrinfo has it."""

from __future__ import annotations

import errno
import socket
from collections.abc import Sequence
from dataclasses import dataclass

from byway.flow import packed_address

_MAPPED = bytes(10) + b"\xff\xff"
_GLOBAL, _SITE, _LINK = 14, 5, 2  # scopes, as in multicast addresses
_Row = tuple[bytes, int, int]  # a prefix, its length, and what it stands for


@dataclass(frozen=True, slots=True)
class Policy:
    """The tables of gai.conf(5): what each prefix is worth, and which belong together."""

    precedences: tuple[_Row, ...]
    labels: tuple[_Row, ...]


def _rows(table: Sequence[tuple[str, int]]) -> tuple[_Row, ...]:
    found = []
    for text, value in table:
        address, _, length = text.partition("/")
        packed = packed_address(address)
        assert packed is not None
        found.append((packed, int(length), value))
    return tuple(sorted(found, key=lambda row: -row[1]))


DEFAULT = Policy(
    _rows([("::1/128", 50), ("::/0", 40), ("2002::/16", 30), ("::/96", 20), ("::ffff:0:0/96", 10)]),
    _rows(
        [
            *(("::1/128", 0), ("::/0", 1), ("2002::/16", 2), ("::/96", 3), ("::ffff:0:0/96", 4)),
            *(("fec0::/10", 5), ("fc00::/7", 6), ("2001:0::/32", 7)),
        ]
    ),
)


def read_policy(text: str) -> Policy:
    """gai.conf(5). A file that has rows of one kind replaces all of that kind."""
    tables: dict[str, list[tuple[str, int]]] = {"precedence": [], "label": []}
    for line in text.splitlines():
        word, *rest = line.partition("#")[0].split() or [""]
        if word not in tables or len(rest) != 2 or not rest[1].isdigit():
            continue
        address, slash, length = rest[0].partition("/")
        bits = 128 if not slash else int(length) if length.isdigit() else 129
        if ":" in address and packed_address(address) is not None and bits <= 128:
            tables[word].append((f"{address}/{bits}", int(rest[1])))
    precedences, labels = (_rows(tables[word]) for word in ("precedence", "label"))
    return Policy(precedences or DEFAULT.precedences, labels or DEFAULT.labels)


def ordered(found: Sequence[bytes], policy: Policy = DEFAULT) -> tuple[bytes, ...]:
    """The addresses, best first. Asks the kernel's routes, and sends nothing."""
    if len(found) < 2:
        return tuple(found)
    return tuple(sorted(found, key=lambda packed: _rank(packed, policy)))


def _rank(packed: bytes, policy: Policy) -> tuple[object, ...]:
    """Less is better: rules 1, 2, 5, 6, 8 and 9; what is equal stays in its order."""
    source = _source(packed)
    if source is None:
        return (True,)
    to, by = _six(packed), _six(source)
    scope = _scope(to)
    common = _common(to, by) if len(packed) == 16 else 0
    return (
        False,
        scope != _scope(by),
        _row(to, policy.labels) != _row(by, policy.labels),
        -_row(to, policy.precedences),
        scope,
        -common,
    )


def _source(packed: bytes) -> bytes | None:
    """The address that the kernel would send from; None where there is no way."""
    family = socket.AF_INET if len(packed) == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as probe:
            probe.connect((socket.inet_ntop(family, packed), 9))
            return socket.inet_pton(family, probe.getsockname()[0].partition("%")[0])
    except OSError as error:
        # A link-local address without its link is not unreachable, only not to be judged.
        return packed if error.errno == errno.EINVAL else None


def _six(packed: bytes) -> bytes:
    return packed if len(packed) == 16 else _MAPPED + packed


def _scope(packed: bytes) -> int:
    """RFC 6724, section 3.1 and 3.2."""
    if packed[:12] == _MAPPED:
        return _LINK if packed[12] == 127 or packed[12:14] == b"\xa9\xfe" else _GLOBAL
    if packed[0] == 0xFF:
        return packed[1] & 0xF
    if packed == bytes(15) + b"\1" or (packed[0] == 0xFE and packed[1] & 0xC0 == 0x80):
        return _LINK
    return _SITE if packed[0] == 0xFE and packed[1] & 0xC0 == 0xC0 else _GLOBAL


def _row(packed: bytes, table: Sequence[_Row]) -> int:
    number = int.from_bytes(packed)
    for prefix, length, value in table:
        shift = 128 - length
        if number >> shift == int.from_bytes(_six(prefix)) >> shift:
            return value
    return 0


def _common(one: bytes, other: bytes) -> int:
    """How many bits they share, of their first 64 (the rest names a host)."""
    return 64 - (int.from_bytes(one[:8]) ^ int.from_bytes(other[:8])).bit_length()
