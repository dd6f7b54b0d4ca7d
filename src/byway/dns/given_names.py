"""Which names addresses were told for: so that a flow to an address is known by its name. Pure."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence

from byway.flow import Target, source_key

MOST = 16384
KEPT_LEAST = 60.0  # seconds: clients use an address longer than its time
KEPT_MOST = 3600.0

ANYBODY = b"*"

_Key = tuple[bytes, bytes]


class GivenNames:
    """The last name that each client was told each address for; the oldest make room."""

    def __init__(self, most: int = MOST, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._clock = clock
        self._names: OrderedDict[_Key, tuple[str, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._names)

    def note(
        self, client: Target | None, addresses: Sequence[bytes], name: str, lifetime: float
    ) -> None:
        """A client was told these addresses of a name, good for so many seconds."""
        until = self._clock() + min(max(lifetime, KEPT_LEAST), KEPT_MOST)
        for packed in addresses:
            for key in ((_client(client), packed), (ANYBODY, packed)):
                self._names.pop(key, None)
                self._names[key] = name, until
        while len(self._names) > self._most:
            self._names.popitem(last=False)

    def name(self, client: Target | None, packed: bytes) -> str | None:
        """The name for which this client was told an address, else the last for which anybody was:
        clients share answers that are remembered. None: nobody was, or long ago."""
        for key in ((_client(client), packed), (ANYBODY, packed)):
            found = self._names.get(key)
            if found is None:
                continue
            name, until = found
            if until >= self._clock():
                return name
            del self._names[key]
        return None


def _client(source: Target | None) -> bytes:
    """Whoever asks; programs of this host are one, by whatever address."""
    key = source_key(source)
    if key is None or (source is not None and source.packed is not None and _is_own(source.packed)):
        return b""
    return key


def _is_own(packed: bytes) -> bool:
    return packed[0] == 127 if len(packed) == 4 else packed == bytes(15) + b"\x01"
