"""The interfaces between the parts, on one screen. Stations know these, and not each other.

A handle is linear: a layer, or a relay, that takes a stream consumes it. A handle that is dropped
closes. End of stream is an exception (EOFError), never an empty read.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from byway.flow import Dial, Flow, Network, Step, Target, frozen


@frozen
class StreamInfo:
    """Where a stream runs. `local` and `remote` are None for unix and memory streams."""

    local: Target | None = None
    remote: Target | None = None


class Stream(Protocol):
    """Bytes both ways. One reader and one writer at a time. Cancelling a read loses nothing."""

    @property
    def info(self) -> StreamInfo: ...
    @property
    def home(self) -> int | None:
        """The loop of the engine that it lives on; None: on none."""

    async def read(self, limit: int = 65536) -> bytes:
        """1..limit bytes, as soon as there are any. Raises EOFError at the end."""

    async def read_exactly(self, n: int) -> bytes:
        """Just n bytes. Raises EOFError when the end comes first (what came stays readable)."""

    async def read_until(self, mark: bytes, limit: int) -> bytes:
        """Up to and including `mark`. Raises EOFError, or ValueError past `limit` bytes."""

    async def peek(self, limit: int, within: float) -> bytes:
        """The bytes that come within so many seconds (may be b""), left for the next read."""

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
    """The packets of one session on their way out: many targets, one mapping."""

    def close(self) -> None: ...


class Bucket(Protocol):
    """A budget that several flows share: bytes per second each way, and bytes in all."""

    @property
    def spent(self) -> bool:
        """Whether its quota is used up."""

    def charge(self, rising: bool, count: int) -> None:
        """Count what moved past the engine: `rising` from near to far."""


class Relay(Protocol):
    """Two ends being joined. Counters (bytes; `up` is near to far) can be read at any time, also
    after the end."""

    @property
    def up(self) -> int: ...
    @property
    def down(self) -> int: ...
    def wait(self) -> Awaitable[str]:
        """Wait for the end, and why it came, in a few words. For one task, which closes both sides
        when it is cancelled."""

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
    """Opens streams to targets."""

    async def connect(self, dial: Dial) -> Stream:
        """Raises Unreachable, Refused, PeerError, OSError, TimeoutError or EOFError."""


FarT = TypeVar("FarT")
PartT = TypeVar("PartT", covariant=True)


class Way(Dialer, Protocol):
    """A way out with nothing left to choose. Equal ways can share what one of them opened.

    Every dial by it ends with a call of `failed` or `worked`.
    """

    @property
    def chain(self) -> tuple[str, ...]:
        """The names of the hops in the order they are travelled, the groups that chose included."""

    @property
    def is_local(self) -> bool:
        """Whether it leaves from this host itself."""

    @property
    def steps(self) -> Sequence[Step]:
        """The steps of groups that led to it so far, those to ways that failed included."""

    async def associate(self, dial: Dial) -> Datagrams:
        """Send packets, to this target and others. Raises Refused with NOT_SUPPORTED where it
        carries none."""

    async def locate(self, dial: Dial) -> Target:
        """The target as packets by this way are sent to it. Raises Refused, Unreachable."""

    async def bind(self, dial: Dial) -> Binding:
        """Lend a port for one connection from the target (0.0.0.0: from anyone)."""

    def failed(self, error: BaseException) -> bool:
        """A dial by it failed. True: the next way is to be tried; False: the error is final."""

    def worked(self) -> None:
        """A dial by it reached its end."""

    def ended(self, up: int, down: int, began: float) -> None:
        """A TCP flow by it ended: bytes moved, and when it began (`time.monotonic`)."""


class Outbound(Protocol):
    """LEAVE at layer 4."""

    @property
    def name(self) -> str: ...
    @property
    def chain(self) -> tuple[str, ...]:
        """The names of the hops in the order they are travelled, this one last."""

    @property
    def networks(self) -> frozenset[Network]: ...
    @property
    def is_local(self) -> bool:
        """Whether it leaves from this host itself."""

    @property
    def only(self) -> Way | None:
        """The one way of it for every flow; None where each flow has ways of its own."""

    def ways(
        self, flow: Flow, steps: list[Step] | None = None, peek: bool = False
    ) -> Iterable[Way]:
        """The ways to try for a flow, the best first. It opens nothing; with `peek` it remembers
        nothing either. `steps` gets the steps of groups.

        Where groups choose, asking for one way more than there are raises what all of them said.
        """


MOST_HEARD = 16384
"""Bytes of a stream that are shown before it is judged."""

Enough = Callable[[Sequence[bytes]], bool]
"""Takes the first bytes so far (a stream's in one piece, each packet's). True: enough."""


class Arrival(Protocol[FarT]):
    """A flow that knocks, still unanswered. The router dials, then relays or refuses.

    Its far side is a stream, datagrams, or a binding, as the flow wants it; only the arrival knows.
    `flow` is exchanged before the dial, where the name of its target is found.
    """

    flow: Flow

    async def hear(self, enough: Enough, within: float) -> None:
        """Show the near side's first bytes, until they are enough or the time is over.

        A near side that waits for its answer gets its success reply first; a later failure closes.
        All of the bytes are relayed afterwards. Nothing to hear is no error. Raises OSError.
        """

    async def dial(self, way: Way) -> FarT: ...
    async def relay(self, far: FarT, buckets: Sequence[Bucket]) -> Relay:
        """Tell the near side yes and join it to `far`, which all `buckets` hold back. Consumes
        both."""

    async def refuse(self, why: BaseException | None) -> None:
        """Tell the near side no, in its own protocol; None drops it without an answer.

        Never fails: a near side that is gone needs no answer.
        """


class Carry(Protocol):
    """The road itself: brings one arrival to its end, and raises nothing but CancelledError."""

    def __call__(self, arrival: Arrival[FarT]) -> Coroutine[None, None, None]: ...


PORTLESS = ("unix:", "tun:")
"""How the addresses of an inbound begin that are no `address:port`."""


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


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """How much a Byway takes on at once, and how long it waits, by the config in force."""

    flows: int = 65536
    """In all, with what takes as many descriptors as one."""
    per_source: int = 4096
    held: int = 256
    """Connections of dropped flows that are held open."""
    drop: float = 0.0
    """Seconds that one of them is."""
    sniff: float = 0.3
    """Seconds for a flow's first bytes; a server that talks first costs its client so much."""


class InForce(Generic[PartT]):
    """The generation in force. A reload exchanges `now`, and nothing else needs to know.

    Each station names the part of it that it reads. What belongs to one flow is read once, when the
    flow arrives.
    """

    __slots__ = ("now",)

    def __init__(self, now: PartT) -> None:
        self.now = now


class Resolver(Protocol):
    """Names to addresses, best first. Raises Unreachable with NAME_UNKNOWN."""

    async def resolve(self, name: str) -> Sequence[bytes]: ...


class Endpoint(Protocol):
    """A VPN: it enters and leaves at layer 3. (Nothing implements it yet.)"""

    @property
    def name(self) -> str: ...
