"""The accept loop that all inbounds share: several addresses, one task per connection."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from byway.engine import EngineListener, EngineStream, Flows, ListenOptions
from byway.errors import BywayError, EngineError, in_words
from byway.flow import Target
from byway.inbounds.entry import Entry, Greet, Visit
from byway.interfaces import Carry
from byway.ledger.deadline import Deadline

Address = Target | str
"""Where to listen: an address, or the path of a unix socket."""

RETRY = 0.2  # seconds between two tries to accept where the host is short of something


class StreamInbound:
    """Listens for connections, greets each within the time limit, and has its flow carried."""

    def __init__(
        self,
        entry: Entry,
        listen: Sequence[Address],
        greet: Greet,
        options: ListenOptions | None = None,
    ) -> None:
        self.name = entry.name
        self._means = entry.means
        self._listen = tuple(listen)
        self._greet = greet
        self._options = options or ListenOptions()
        self._patience = Deadline(
            entry.means.handshake, "the client sent too little before the handshake timeout"
        )
        self._listeners: list[EngineListener] = []
        self._closed = False

    @property
    def addresses(self) -> Sequence[str]:
        """Where it listens, with the real ports once it is open."""
        bound = [listener.address for listener in self._listeners] or [None] * len(self._listen)
        return [
            f"unix:{wanted}" if isinstance(wanted, str) else str(real or wanted)
            for wanted, real in zip(self._listen, bound, strict=True)
        ]

    async def open(self) -> None:
        """Bind every address, or none. Raises OSError with the address in it."""
        engine = self._means.engine
        for address in self._listen:
            try:
                if isinstance(address, str):
                    listener = engine.listen_unix(address, self._options)
                else:
                    listener = engine.listen(address, self._options)
            except OSError as error:
                self.close()
                why = in_words(error)
                raise OSError(error.errno, f"cannot listen on {address}: {why}") from error
            self._listeners.append(listener)

    async def serve(self, carry: Carry) -> None:
        """Accept until closed or cancelled. After a close, returns when the last flow has ended."""
        async with Flows(self._means.engine) as flows, asyncio.TaskGroup() as listening:
            for listener in self._listeners:
                listening.create_task(self._accept(listener, flows, carry))

    def is_placed_as(self, other: StreamInbound) -> bool:
        """Whether both listen alike, so that this one can become the other."""
        return (self._listen, self._options) == (other._listen, other._options)

    def become(self, other: StreamInbound) -> None:
        """Greet from now on as `other` does; listeners and flows stay as they are."""
        self._greet, self._means, self._patience = other._greet, other._means, other._patience

    def close(self) -> None:
        """Stop accepting; flows that are under way go on."""
        self._closed = True
        for listener in self._listeners:
            listener.close()

    async def _accept(self, listener: EngineListener, flows: Flows, carry: Carry) -> None:
        while not self._closed:
            try:
                streams = await listener.accept()
            except (OSError, EngineError) as error:
                if self._closed:
                    return
                self._means.log.error(
                    "cannot accept", inbound=self.name, error=error, retry=f"{RETRY}s"
                )
                await asyncio.sleep(RETRY)
                continue
            for stream in streams:
                flows.start(self._meet(stream, carry))

    async def _meet(self, stream: EngineStream, carry: Carry) -> None:
        """One connection from its greeting to its end. Raises nothing but CancelledError."""
        source = stream.source  # a greeting that fails closes the stream, which then has none
        try:
            with self._patience:
                arrival = await self._greet(stream)
            if isinstance(arrival, Visit):
                await arrival.stay(carry)
            else:
                await carry(arrival)
        except Exception as error:
            self._unmet(source, error)
        finally:
            stream.close()

    def _unmet(self, source: Target | None, error: Exception) -> None:
        log = self._means.log
        if not isinstance(error, (BywayError, OSError, EOFError)):
            log.fault(error, inbound=self.name, source=source)
        elif isinstance(error, EOFError):
            log.debug("client closed without sending a request", inbound=self.name, source=source)
        else:
            log.info("handshake failed", inbound=self.name, source=source, error=error)
