"""Packet sessions: one per source, many targets, judged once per (session, target)."""

from __future__ import annotations

from collections.abc import Sequence

from byway import _engine
from byway.engine.answers import EngineMessages
from byway.engine.relay import EngineRelay, raw_buckets
from byway.errors import EngineError
from byway.flow import Target
from byway.interfaces import Bucket, Datagrams


class EngineDatagrams:
    """A way out for the packets of one session."""

    __slots__ = ("raw",)

    def __init__(self, raw: _engine.Datagrams) -> None:
        self.raw = raw

    def close(self) -> None:
        """End its flows. Idempotent."""
        self.raw.close()


class PacketAsk:
    """A new (session, target) pair. Answer it once; dropped unanswered, it is refused. Raises
    ValueError for a name that no host can have."""

    __slots__ = ("_raw", "session", "source", "target", "user")

    def __init__(self, raw: _engine.Ask) -> None:
        self._raw = raw
        self.session = raw.session
        self.source = Target.from_packed(*raw.source)
        self.user = raw.user  # which of several users of the listener, by place
        self.target = _target(*raw.target)

    def relay(self, far: Datagrams, target: Target, buckets: Sequence[Bucket] = ()) -> EngineRelay:
        """Let it go by `far` to `target`, as located. Packets that waited go first; those faster
        than the buckets allow are dropped. `far` is shared by the session's targets, not consumed.
        Raises EngineError when answered before."""
        raw = self._raw.relay(raw_datagrams(far), target.full, target.port, raw_buckets(buckets))
        return EngineRelay(raw)

    def waiting(self) -> Sequence[bytes]:
        """The packets that wait for the answer, as they came; none once it was answered."""
        return self._raw.waiting()

    def refuse(self) -> None:
        """Say no; remembered until the session ends. Idempotent."""
        self._raw.refuse()


class PacketListener:
    """A bound packet socket."""

    __slots__ = ("__weakref__", "_raw")

    def __init__(self, raw: _engine.PacketListener) -> None:
        self._raw = raw

    @property
    def address(self) -> Target:
        """Where it listens. Raises EngineError once it is closed."""
        address = self._raw.address
        if address is None:
            raise EngineError("the listener is closed")
        return Target.from_packed(*address)

    async def accept(self) -> Sequence[PacketAsk]:
        """The pairs that came up since last asked, at least one. EngineError once it is closed."""
        while True:
            got = self._raw.accept()
            came = got if isinstance(got, list) else await got
            if asks := [ask for raw in came if (ask := _ask(raw)) is not None]:
                return asks

    def answer_by(self, messages: EngineMessages, scope: int) -> None:
        """Have queries to port 53 answered by this table before anybody is asked."""
        self._raw.answer_by(messages.raw, scope)

    def stats(self) -> dict[str, int]:
        """Sessions, flows, packets, what was dropped and why (`forged`: not sealed with a key of
        ours; `replayed`: seen before, or of another time), and which offloads are on."""
        return dict(self._raw.stats())

    def close(self) -> None:
        """End its sessions and unbind. Idempotent."""
        self._raw.close()


class PacketCaller:
    """The caller's end of a packet session inside this process: what a client's socket would be."""

    __slots__ = ("_raw",)

    def __init__(self, raw: _engine.Caller) -> None:
        self._raw = raw

    def send(self, packet: bytes) -> bool:
        """Send a packet, as the codec writes it. False when it is dropped: half a megabyte waits
        already, it is longer than 65,535 bytes, or the session is over."""
        return self._raw.send(packet)

    async def receive(self) -> Sequence[bytes]:
        """The packets that came since last asked, at least one; of those that nobody takes half a
        megabyte waits. A cancel loses none. Raises EOFError when the session is over, EngineError
        when another one receives already, or once this is closed."""
        got = self._raw.receive()
        return got if isinstance(got, list) else await got

    def close(self) -> None:
        """End the session. Idempotent."""
        self._raw.close()


def _ask(raw: _engine.Ask) -> PacketAsk | None:
    """The ask; a name that no host can have is refused at once."""
    try:
        return PacketAsk(raw)
    except ValueError:
        raw.refuse()
        return None


def _target(host: str, port: int, packed: bytes | None) -> Target:
    """The engine sees to ASCII names. Raises ValueError for others that are none."""
    if packed is not None:
        return Target.from_packed(packed, port)
    return Target.named(host, port) if host.isascii() else Target.from_name(host.encode(), port)


def raw_datagrams(datagrams: Datagrams) -> _engine.Datagrams:
    """The extension's handle. Raises TypeError for datagrams that are not the engine's."""
    if not isinstance(datagrams, EngineDatagrams):
        raise TypeError(f"not datagrams of the engine: {datagrams!r}")
    return datagrams.raw
