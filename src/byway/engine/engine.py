"""The engine as a value: one per App, bound to the event loop that made it."""

from __future__ import annotations

import asyncio
import math
import os
from collections.abc import Callable, Coroutine, Sequence
from weakref import WeakSet

from byway import _engine, interfaces
from byway._engine import Meter, Turnstile
from byway.engine.datagrams import (
    EngineDatagrams,
    PacketCaller,
    PacketListener,
    raw_datagrams,
)
from byway.engine.layers import EngineCiphers, NotTls, TlsClient, TlsServer
from byway.engine.options import (
    Body,
    Codec,
    DialOptions,
    Framing,
    ListenOptions,
    PacketOptions,
    SealedPackets,
)
from byway.engine.relay import EngineRelay, raw_buckets
from byway.engine.session import EngineSession, SessionProtocol
from byway.engine.stream import EngineListener, EngineStream
from byway.engine.tls_words import explained
from byway.errors import PeerError
from byway.flow import Target
from byway.interfaces import Datagrams, Stream


class Engine:
    """Sockets, relays and packet sessions. Make it inside a running loop; `close` it there.

    After a fork it refuses to work (EngineError); so does every handle once it is closed.
    """

    def __init__(self, threads: int | None = None) -> None:
        loop = asyncio.get_running_loop()
        self._loop = loop
        self._raw = _engine.Engine(threads or len(os.sched_getaffinity(0)), loop)
        loop.add_reader(self._raw.fileno(), self._raw.drain)
        self.ciphers = EngineCiphers(self._raw)
        """Ciphers, and the framing of sealed chunks, for the protocols."""
        self._closed = False
        self._packets: WeakSet[PacketListener] = WeakSet()

    async def connect(
        self,
        addresses: Sequence[Target],
        options: DialOptions | None = None,
        near: int | None = None,
    ) -> EngineStream:
        """Open a TCP stream to the first address that answers (RFC 8305), in the order given.

        Every target must hold an address. It lives on the loop `near`, which is the `home` of the
        stream that it will be joined to; None: on any. Raises OSError (the first attempt's) or
        TimeoutError. A cancel closes whatever was under way.
        """
        pairs = [(target.host, target.port) for target in addresses]
        return EngineStream(await self._raw.connect(pairs, _dial(options), near))

    async def connect_unix(self, path: str) -> EngineStream:
        """Open a stream to a unix socket. Raises OSError."""
        return EngineStream(await self._raw.connect_unix(path))

    def start(
        self,
        flow: Coroutine[object, None, None],
        ended: Callable[[_engine.Task], None],
    ) -> _engine.Task:
        """Carry a flow by a task of the engine's own; see `Flows`."""
        return self._raw.start(flow, ended)

    def listen(self, address: Target, options: ListenOptions | None = None) -> EngineListener:
        """Listen on a TCP address (port 0: any). Raises OSError."""
        return EngineListener(self._raw.listen((address.host, address.port), _listen(options)))

    def listen_unix(
        self, path: str, options: ListenOptions | None = None, mode: int = 0o600
    ) -> EngineListener:
        """Listen on a unix socket, replacing a dead one's file. Raises OSError."""
        return EngineListener(self._raw.listen_unix(path, mode, _listen(options)))

    def pair(self) -> tuple[EngineStream, EngineStream]:
        """Two streams joined by a unix socket pair."""
        one, other = self._raw.pair()
        return EngineStream(one), EngineStream(other)

    def relay(
        self,
        near: Stream,
        far: Stream,
        idle: float = math.inf,
        buckets: Sequence[interfaces.Bucket] = (),
    ) -> EngineRelay:
        """Join two of the engine's streams, at once, in Rust. Consumes both; what was unread, held
        or unfinished goes first. It ends plainly when nothing has moved for `idle` seconds, and
        with the reason "quota" when one of its buckets has nothing left."""
        return EngineRelay(self._raw.relay(_raw(near), _raw(far), idle, raw_buckets(buckets)))

    @staticmethod
    def bound_pipes(most: int) -> None:
        """Have at most so many pipes for splicing in this process; what finds none is copied."""
        _engine.Engine.set_pipes(most)

    async def tls_client(self, stream: Stream, client: TlsClient) -> EngineStream:
        """Shake hands as a TLS client. Consumes the stream; a cancel closes it.

        Raises PeerError (certificate, alert, no TLS at all), EOFError, OSError. There is no limit
        of time inside. A stream that ends without TLS's own word reads as ConnectionResetError.
        """
        try:
            return EngineStream(await self._raw.tls_client(_raw(stream), client.raw))
        except PeerError as error:
            raise explained(error) from None

    async def tls_server(self, stream: Stream, server: TlsServer) -> EngineStream:
        """Shake hands as a TLS server. Consumes the stream; a cancel closes it.

        Raises NotTls, which gives the untouched stream back, when the first byte is none that TLS
        begins with, or nothing comes; else as `tls_client`, with the other side told what a web
        server tells it.
        """
        try:
            layered = EngineStream(await self._raw.tls_server(_raw(stream), server.raw))
        except PeerError as error:
            raise explained(error) from None
        if layered.tls is None:
            raise NotTls(layered)
        return layered

    def session(self, stream: Stream, protocol: SessionProtocol, client: bool) -> EngineSession:
        """Many streams over this one, which it consumes; `client` made the connection."""
        return EngineSession(self._raw.session(_raw(stream), protocol, client))

    def with_status(self, stream: Stream) -> EngineStream:
        """The same stream, which it consumes unread: its other side says in a first byte whether
        it leads anywhere. Reads raise ConnectionRefusedError where it does not."""
        return EngineStream(self._raw.with_status(_raw(stream), False))

    def with_answer(self, stream: Stream) -> EngineStream:
        """The same stream, which it consumes unread: its other side begins with a zero, a length
        and as many bytes, which are taken off. Reads raise PeerError for another beginning."""
        return EngineStream(self._raw.with_status(_raw(stream), True))

    def web_socket(self, stream: Stream, *, client: bool) -> EngineStream:
        """The data of a WebSocket, whose handshake is done, as a stream; consumes the one below.
        Reads raise PeerError for what breaks RFC 6455. Its end is a close frame, which most peers
        take for the end of both ways."""
        return EngineStream(self._raw.web_socket(_raw(stream), client))

    def datagrams(self, options: DialOptions | None = None) -> EngineDatagrams:
        """A direct way out for packets: one local port per address family, for all targets."""
        return EngineDatagrams(self._raw.datagrams(_dial(options)))

    def wrap_socks5(self, inner: Datagrams, relay: Target, control: Stream) -> EngineDatagrams:
        """A way through the SOCKS5 relay at `relay` (RFC 1928, section 7), over `inner`. Consumes
        both; it ends with its control stream. It carries names."""
        wrapped = self._raw.wrap_socks5(
            raw_datagrams(inner), (relay.host, relay.port), _raw(control)
        )
        return EngineDatagrams(wrapped)

    def wrap_sealed(
        self, inner: Datagrams, server: Target, method: str, keys: Sequence[bytes]
    ) -> EngineDatagrams:
        """A way through the shadowsocks server at `server`, over `inner`, which it consumes. The
        keys are the server's, before it those of servers on the way (SIP023). It carries names.
        Raises ValueError for keys that cannot be."""
        wrapped = self._raw.wrap_sealed(
            raw_datagrams(inner), (server.host, server.port), method, list(keys)
        )
        return EngineDatagrams(wrapped)

    def framed(self, stream: Stream, framing: Framing, tail: bytes) -> EngineDatagrams:
        """A way for packets inside `stream`, which it consumes and ends with. It carries names.

        What the stream holds goes out with the first packets: then the target of the first one (in
        SOCKS5's form, but of "xudp" in its own), and `tail`. A stream that is slower than its
        packets drops some: at most half a megabyte waits for it.
        """
        return EngineDatagrams(self._raw.framed(_raw(stream), framing, tail))

    def take_packets(
        self,
        stream: Stream,
        framing: Framing | Target,
        options: PacketOptions | None = None,
        quiet: float = 300.0,
    ) -> tuple[PacketListener, EngineRelay]:
        """Take packets out of a stream, as one session; and its life. Consumes the stream.

        A target in place of a framing is that of all packets (connected UDP over TCP). The stream
        ends, and all flows with it, when its other side ends or breaks the framing, when it had no
        flows for `quiet` seconds, or when its life is cut or the listener closed.
        """
        fixed = None if isinstance(framing, str) else (framing.host, framing.port)
        name = framing if isinstance(framing, str) else "uot"
        limits = _packets(options)
        raw, life = self._raw.take_packets(_raw(stream), name, fixed, quiet, limits)
        return self._counted(raw), EngineRelay(life)

    def listen_packets(
        self,
        address: Target,
        codec: Codec,
        options: PacketOptions | None = None,
    ) -> PacketListener:
        """Listen for packets. Raises OSError, and ValueError for keys that cannot be."""
        place = (address.host, address.port)
        limits = _packets(options)
        if codec == "diverted":
            return self._counted(self._raw.listen_diverted(place, limits))
        return self._counted(self._raw.listen_packets(place, _codec(codec), limits))

    def open_tun(
        self,
        fd: int,
        offloads: tuple[bool, bool, bool],
        mtu: int,
        after_dial: bool,
        listen: ListenOptions,
        packets: PacketOptions,
    ) -> tuple[EngineListener, PacketListener]:
        """Read a TUN: what comes by it, as connections and as packets. `offloads` are those that
        are on: checksums, TCP, UDP. With `after_dial`, a connection is answered when it is read,
        written or joined. The caller's descriptor, which must not block, stays its own. Raises
        OSError."""
        raw, door = self._raw.open_tun(
            fd, (offloads, mtu, after_dial), _listen(listen), _packets(packets)
        )
        return EngineListener(raw), self._counted(door)

    def packet_pair(
        self, codec: Codec, options: PacketOptions | None = None
    ) -> tuple[PacketListener, PacketCaller]:
        """A packet session whose client is in this process, without a socket: who is asked about
        its targets, and the client's end. Closing either ends it. ValueError for keys that cannot
        be."""
        listener, caller = self._raw.packet_pair(_codec(codec), _packets(options))
        return self._counted(listener), PacketCaller(caller)

    def _counted(self, raw: _engine.PacketListener) -> PacketListener:
        listener = PacketListener(raw)
        self._packets.add(listener)
        return listener

    async def send_body(
        self,
        source: Stream,
        sink: Stream,
        body: Body,
        idle: float = math.inf,
        meter: Meter | None = None,
        buckets: Sequence[interfaces.Bucket] = (),
        rising: bool = False,
    ) -> int:
        """Move one HTTP body; neither stream is consumed. Returns its payload bytes.

        `meter` counts them as they go; the sink may be read meanwhile. What it draws from its
        buckets is `rising` or not. Raises PeerError on bad framing, EOFError on a short body,
        TimeoutError when nothing has moved for `idle` seconds, Refused when one of its buckets has
        nothing left, OSError. After a cancel, or any of these, both streams are only good for
        closing.
        """
        meter = meter or Meter()
        return await self._raw.send_body(
            _raw(source),
            _raw(sink),
            body.length,
            body.chunked,
            body.dechunk,
            body.without,
            idle,
            meter,
            raw_buckets(buckets),
            rising,
        )

    async def rehearse_panic(self) -> None:
        """For tests: a fault on an engine thread. Raises EngineError, and harms nothing else."""
        await self._raw.rehearse_panic()

    def stats(self) -> dict[str, int]:
        """Waiting operations, crossings since the start, threads; of the whole process relays,
        directions that turned to splicing since the start, pipes for it."""
        waiting, crossings, threads = self._raw.stats()
        held = self.held()
        counts = {name: held[name] for name in ("relays", "spliced", "pipes")}
        return {"waiting": waiting, "crossings": crossings, "threads": threads, **counts}

    @staticmethod
    def held() -> dict[str, int]:
        """What the engines of this process hold: counts, and bytes where the name says so."""
        return dict(_engine.Engine.held())

    def memory(self) -> dict[str, int]:
        """Bytes that engines of this process hold, by part: large sets, salts that were seen,
        relays (without what is on its way in them)."""
        held = self.held()
        return {f"{name}s": held[f"{name}_bytes"] for name in ("set", "salt", "relay")}

    def packets(self) -> dict[str, int]:
        """What all packet listeners did, and how many of them have which offload."""
        total: dict[str, int] = {"listeners": 0}
        for listener in self._packets:
            if counts := listener.stats():
                total["listeners"] += 1
                for name, count in counts.items():
                    total[name] = total.get(name, 0) + count
        return total

    async def close(self) -> None:
        """End the engine's threads; every relay and wait ends. Idempotent."""
        if self._closed:
            return
        self._closed = True
        self._loop.remove_reader(self._raw.fileno())
        self._raw.close()
        await asyncio.sleep(0)  # the drain that resumed us may hold the last of its descriptors


def _raw(stream: Stream) -> _engine.Stream:
    if not isinstance(stream, EngineStream):
        raise TypeError(f"not a stream of the engine: {stream!r}")
    return stream.raw


def _codec(
    codec: Codec,
) -> tuple[str, int] | tuple[str, bytes, list[tuple[bytes, tuple[str, int] | None]]] | None:
    if codec == "diverted":
        raise ValueError("packets are diverted by a firewall, to a socket")
    if isinstance(codec, str):
        return None
    if isinstance(codec, SealedPackets):
        users = [
            (user.key, None if user.relay is None else (user.relay.host, user.relay.port))
            for user in codec.users
        ]
        return (codec.method, codec.key, users)
    return (codec.host, codec.port)


def _dial(
    options: DialOptions | None,
) -> tuple[float, float, str | None, str | None, int | None]:
    options = options or _DIAL
    return (options.timeout, options.stagger, options.bind, options.interface, options.mark)


def _packets(
    options: PacketOptions | None,
) -> tuple[float, int, int, int, tuple[str, int] | None, int | None]:
    options = options or PacketOptions()
    only = None if options.only is None else (options.only.host, options.only.port)
    bounds = (options.idle, options.sessions, options.targets, options.waiting)
    return (*bounds, only, options.mark)


def _listen(
    options: ListenOptions | None,
) -> tuple[int, float, int, int, Turnstile | None, bool, int | None]:
    options = options or _LISTEN
    limits = (options.per_source, options.total, options.turnstile)
    return (options.backlog, options.first, *limits, options.transparent, options.mark)


_DIAL = DialOptions()
_LISTEN = ListenOptions()
