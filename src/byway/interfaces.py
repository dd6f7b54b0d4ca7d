"""The nouns of the road, on one screen. Stations know these, and not each other.

A handle is linear: a layer, or a relay, that takes a stream consumes it. A handle that is dropped
closes. End of stream is an exception (EOFError), never an empty read.
"""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from byway.flow import Flow, Network, Target


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """Where a stream runs. `local` and `remote` are None for unix and memory streams."""

    local: Target | None = None
    remote: Target | None = None


class Stream(Protocol):
    """Bytes both ways. One reader and one writer at a time. Cancelling a read loses nothing."""

    @property
    def info(self) -> StreamInfo: ...
    async def read(self, limit: int = 65536) -> bytes:
        """1..limit bytes, as soon as there are any. Raises EOFError at the end."""

    async def read_exactly(self, n: int) -> bytes:
        """Just n bytes. Raises EOFError when the end comes first (what came stays readable)."""

    async def read_until(self, mark: bytes, limit: int) -> bytes:
        """Up to and including `mark`. Raises EOFError, or ValueError past `limit` bytes."""

    async def peek(self, limit: int, within: float) -> bytes:
        """What comes within so many seconds (may be b""), left in place to be read again."""

    def unread(self, data: bytes) -> None:
        """Put bytes back in front of what is to be read."""

    async def write(self, data: bytes) -> None:
        """Send all of it (what was held goes first). A cancelled write may have sent a part."""

    def hold(self, data: bytes) -> None:
        """Send with the first relayed chunk or next write, or alone after a few milliseconds."""

    async def end(self) -> None:
        """Half-close: what was written arrives, then the other side reads the end."""

    def close(self) -> None:
        """Close both ways, at once and for good. Idempotent."""


class Datagrams(Protocol):
    """A way out for the packets of one session: many targets, one mapping."""

    @property
    def bare(self) -> Datagrams:
        """What the engine itself made and takes: this, or what an outbound stands in front of."""

    async def locate(self, target: Target) -> Target:
        """The target in a form this way can carry (a direct way resolves names)."""

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Ending:
    """How a relay ended: the reason in a few words, and the bytes moved. `up` is near to far."""

    reason: str
    up: int
    down: int


class Relay(Protocol):
    """Two ends being joined. Counters can be read at any time, also after the end."""

    @property
    def up(self) -> int: ...
    @property
    def down(self) -> int: ...
    async def wait(self) -> Ending:
        """Wait for the end. Cancelling closes both sides."""

    def cut(self, reason: str) -> None:
        """End it now; `wait` then returns with this reason."""


class Listener(Protocol):
    """A bound address. `accept` gives what arrived since last asked, at least one."""

    @property
    def address(self) -> Target | None: ...
    async def accept(self) -> Sequence[Stream]: ...
    def close(self) -> None: ...


class Binding(Protocol):
    """A port lent by an outbound for one connection from outside (SOCKS BIND)."""

    @property
    def address(self) -> Target: ...
    async def accept(self) -> tuple[Stream, Target]:
        """Wait for the one peer; the listener is closed then. Returns stream and peer."""

    def close(self) -> None: ...


class Dialer(Protocol):
    """Whoever can open a stream to a target: an outbound, or a chain of them."""

    async def connect(self, target: Target) -> Stream:
        """Raises Unreachable, Refused, PeerError, OSError, TimeoutError or EOFError."""


class Outbound(Dialer, Protocol):
    """LEAVE at layer 4. `guarded` is the same way, closed to this host's own addresses."""

    @property
    def name(self) -> str: ...
    @property
    def chain(self) -> tuple[str, ...]:
        """The names of the hops in the order they are travelled, this one last."""

    @property
    def networks(self) -> frozenset[Network]: ...
    def guarded(self) -> Outbound: ...
    async def associate(self) -> Datagrams:
        """Raises Refused with NOT_SUPPORTED where the way carries no packets."""

    async def bind(self, target: Target) -> Binding:
        """Lend a port for one connection from `target` (0.0.0.0: from anyone)."""


class Opener(Protocol):
    """Opens what a peer sealed under the key of one direction; nonces count what was opened."""

    def open(self, sealed: bytes) -> bytes:
        """The plain bytes. Raises PeerError when they are not authentic."""


@dataclass(frozen=True, slots=True)
class Framing:
    """How a shadowsocks stream is sealed and opened from here on; what it must know of its ends.

    A client's first write holds the address, `head` bytes long. A server has opened the request's
    head itself, and hands its opener over. The last five are of the 2022 edition.
    """

    method: str
    key: bytes = field(repr=False)  # from which the keys of both directions are made
    salt: bytes  # ours
    opener: Opener | None = None  # at a server
    now: float = 0.0  # seconds since 1970; headers are stamped and checked by it
    request: bytes = b""  # at a server: the request's salt
    identity: bytes = b""  # at a client: what stands between salt and header
    head: int = 0
    padding: bytes = b""  # at a client: for a header that leaves without payload


class Framings(Protocol):
    """Ciphers and framings, lent to the protocols by the engine (or by a pure double in tests)."""

    def opener(self, method: str, key: bytes, salt: bytes) -> Opener: ...
    def blake3(self, data: bytes) -> bytes:
        """The 32-byte hash."""

    def blake3_derive(self, context: str, material: bytes, length: int) -> bytes:
        """BLAKE3's key derivation."""

    def aes_block(self, key: bytes, block: bytes, *, decrypt: bool = False) -> bytes:
        """One block of 16 bytes, without a mode."""

    def shadowsocks(self, stream: Stream, framing: Framing) -> Stream:
        """A framed stream over `stream`, which it consumes. Its reading ends with PeerError where
        what comes is not authentic. What was unread on `stream` is sealed still."""


FarT = TypeVar("FarT")


class Arrival(Protocol[FarT]):
    """A flow that knocks, still unanswered. The router dials, then relays or refuses.

    Its far side is a stream, datagrams, or a binding, as the flow wants it; only the arrival knows.
    """

    @property
    def flow(self) -> Flow: ...
    async def dial(self, outbound: Outbound) -> FarT: ...
    async def relay(self, far: FarT) -> Relay:
        """Tell the near side yes and join it to `far`. Consumes both."""

    async def refuse(self, why: BaseException | None) -> None:
        """Tell the near side no, in its own protocol; None drops it without an answer.

        Never fails: a near side that is gone needs no answer.
        """


class Carry(Protocol):
    """The road itself: brings one arrival to its end, and raises nothing but CancelledError."""

    def __call__(self, arrival: Arrival[FarT]) -> Coroutine[None, None, None]: ...


class Inbound(Protocol):
    """ENTER: listens, speaks the near side's protocol, hands arrivals to the road."""

    @property
    def name(self) -> str: ...
    @property
    def addresses(self) -> Sequence[str]: ...
    async def open(self) -> None:
        """Bind. Raises OSError with the address in it."""

    async def serve(self, carry: Carry) -> None:
        """Accept until cancelled; owns the tasks of its flows."""

    def close(self) -> None: ...


class Resolver(Protocol):
    """Names to addresses, best first. Raises Unreachable with NAME_UNKNOWN."""

    async def resolve(self, name: str) -> Sequence[bytes]: ...


class Endpoint(Protocol):
    """A VPN: it enters and leaves at layer 3. (Nothing implements it yet.)"""

    @property
    def name(self) -> str: ...
