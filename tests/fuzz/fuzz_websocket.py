"""Any bytes to a server of WebSockets, and any answer of one: a handshake, or all untouched.

Run: python tests/fuzz/fuzz_websocket.py -max_total_time=20
"""

from __future__ import annotations

import sys

import atheris  # type: ignore[import-untyped,import-not-found,unused-ignore]

with atheris.instrument_imports(include=["byway"]):
    from byway.errors import PeerError
    from byway.interfaces import Stream
    from byway.protocols import websocket
    from byway.streams.memory import play, scripted

BEGUN = b"GET /ws HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"


def one_input(data: bytes) -> None:
    """The first byte picks the end, the second where the rest is cut."""
    if len(data) < 3:
        return
    kind, cut, said = data[0] % 4, data[1], data[2:]
    if kind == 1:
        said = BEGUN + said
    near, far = scripted(*[part for part in (said[:cut], said[cut:]) if part], end=True)
    try:
        if kind < 3:
            play(accepted(near, said, websocket.Wanted("/ws", early="" if kind == 2 else "x")))
        else:
            play(websocket.connect(near, "/", "a.example", (), bytes(16)))
    except (PeerError, EOFError):
        pass
    far.close()


async def accepted(stream: Stream, said: bytes, wanted: websocket.Wanted) -> None:
    """What was not asked for is left as it came."""
    early = await websocket.accept(stream, wanted)
    rest = b""
    try:
        while True:
            rest += await stream.read()
    except EOFError:
        pass
    if (early is None and rest != said) or not said.endswith(rest):
        raise AssertionError(rest)


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
