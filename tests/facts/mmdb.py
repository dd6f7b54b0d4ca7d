"""Writes MaxMind DB files for tests, as the specification of the format (version 2.0) has them."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from pathlib import Path

Value = str | int | bool | Mapping[str, "Value"] | list["Value"]
Tree = list["Tree | int | None"]  # two branches each; a number is a record's, None is nothing

_MARK = b"\xab\xcd\xefMaxMind.com"
_STRING, _UINT16, _UINT32, _MAP, _UINT64, _ARRAY, _BOOLEAN = 2, 5, 6, 7, 9, 11, 14


def write(
    path: Path,
    records: Mapping[str, Value],
    kind: str = "Test-Country",
    version: int = 6,
    record_size: int = 28,
) -> str:
    """Write prefixes with their records; the path as text. IPv4 lives below ::/96 of IPv6."""
    data, places = bytearray(), []
    root: Tree = [None, None]
    for number, (text, record) in enumerate(records.items()):
        places.append(len(data))
        data += encoded(record)
        network = ipaddress.ip_network(text)
        size, head = network.max_prefixlen, int(network.network_address)
        lead = 96 if version == 6 and network.version == 4 else 0
        _put(root, head, size, lead, network.prefixlen, number)
    nodes = _numbered(root)
    tree = b"".join(
        _node([_pointer(one, len(nodes), nodes, places) for one in node], record_size)
        for node in nodes.values()
    )
    about: dict[str, Value] = {
        "binary_format_major_version": 2,
        "binary_format_minor_version": 0,
        "build_epoch": 1_700_000_000,
        "database_type": kind,
        "description": {"en": "for tests"},
        "ip_version": version,
        "languages": ["en"],
        "node_count": len(nodes),
        "record_size": record_size,
    }
    path.write_bytes(tree + bytes(16) + data + _MARK + encoded(about))
    return str(path)


def encoded(value: Value) -> bytes:
    """A value of the data section."""
    match value:
        case bool():
            return _control(_BOOLEAN, int(value))
        case int():
            kind = _UINT16 if value < 2**16 else _UINT32 if value < 2**32 else _UINT64
            packed = value.to_bytes(8).lstrip(b"\0")
            return _control(kind, len(packed)) + packed
        case str():
            packed = value.encode()
            return _control(_STRING, len(packed)) + packed
        case list():
            return _control(_ARRAY, len(value)) + b"".join(map(encoded, value))
    parts = (encoded(key) + encoded(part) for key, part in value.items())
    return _control(_MAP, len(value)) + b"".join(parts)


def _control(kind: int, size: int) -> bytes:
    more = b"" if size < 29 else bytes([size - 29])
    first, extended = (kind << 5, b"") if kind < 8 else (0, bytes([kind - 7]))
    return bytes([first | min(size, 29)]) + extended + more


def _put(root: Tree, head: int, size: int, lead: int, bits: int, number: int) -> None:
    path = [0] * lead + [head >> (size - 1 - at) & 1 for at in range(bits)]
    node = root
    for bit in path[:-1]:
        branch = node[bit]
        if not isinstance(branch, list):
            branch = node[bit] = [branch, branch]  # what is inside a prefix stays as it was
        node = branch
    node[path[-1]] = number


def _numbered(root: Tree) -> dict[int, Tree]:
    found, waiting = {id(root): root}, [root]
    while waiting:
        for branch in waiting.pop():
            if isinstance(branch, list):
                found[id(branch)] = branch
                waiting.append(branch)
    return found


def _pointer(
    branch: Tree | int | None, count: int, nodes: Mapping[int, Tree], places: list[int]
) -> int:
    if branch is None:
        return count
    if isinstance(branch, int):
        return count + 16 + places[branch]
    return list(nodes).index(id(branch))


def _node(pair: list[int], record_size: int) -> bytes:
    left, right = pair
    if record_size == 28:
        middle = left >> 24 << 4 | right >> 24
        return (left & 0xFFFFFF).to_bytes(3) + bytes([middle]) + (right & 0xFFFFFF).to_bytes(3)
    return left.to_bytes(record_size // 8) + right.to_bytes(record_size // 8)
