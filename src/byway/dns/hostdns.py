"""The name servers of resolv.conf(5), asked without a thread: both families over one socket.

Imports dnspython, so it is imported with the first name that has to be asked for.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from byway.dns.hostfiles import Resolv
from byway.dns.manner import Manner
from byway.dns.message import (
    Answer,
    Failed,
    NoEdns,
    Question,
    Records,
    Stray,
    Truncated,
    Wanted,
    answer,
    question,
)
from byway.dns.packets import MOST_STRAYS, number
from byway.engine import Outcome
from byway.errors import PeerError, Reason, Unreachable, in_words
from byway.flow import frozen

PORT = 53
MOST_ALIASES = 8
MOST_KNOWN = 16  # servers whose manner is remembered
_PACKET = 65535


@dataclass(frozen=True, slots=True)
class Found:
    """What the DNS says of one absolute name."""

    outcome: Outcome
    addresses: tuple[bytes, ...] = ()


class HostDns:
    """Asks as the C library's resolver does: server after server, and all of them once more."""

    def __init__(self, port: int = PORT, mark: Callable[[], int | None] = lambda: None) -> None:
        """`mark` tells the firewall mark of its sockets."""
        self._mark = mark
        self._port = port
        self._turn = 0
        self._manners: dict[str, Manner] = {}

    async def find(self, name: str, resolv: Resolv) -> Found:
        """What the DNS says of a name, completed by the search list where it is not absolute.

        Raises Unreachable where no server can tell. A cancel leaves nothing behind.
        """
        last = Found(Outcome.UNKNOWN)
        for full in resolv.tried(name):
            try:
                found = await self._asked(full, resolv)
            except ValueError:
                continue  # the completed name is none of the DNS
            if found.outcome is Outcome.FOUND:
                return found
            if found.outcome is Outcome.EMPTY or last.outcome is not Outcome.EMPTY:
                last = found
        return last

    async def records(self, name: str, wanted: Records, resolv: Resolv) -> Answer:
        """What the first server says of records of an absolute name. Raises Unreachable."""
        errors = dict[str, str]()
        for server in resolv.servers * resolv.attempts:
            said: dict[Wanted, Answer] = {}
            try:
                async with asyncio.timeout(resolv.timeout):
                    address = _address(server, self._port, self._mark())
                    await self._understood(server, address, {wanted: name}, resolv, said)
            except (OSError, EOFError, PeerError) as error:
                errors[server] = in_words(error) or "no answer in time"
            else:
                return said[wanted]
        why = "; ".join(f"{server}: {error}" for server, error in errors.items())
        raise Unreachable(f"cannot resolve {name}: {why}", name, Reason.TIMED_OUT)

    async def _asked(self, name: str, resolv: Resolv) -> Found:
        families: tuple[Wanted, ...] = (4, 6) if resolv.ipv6 else (4,)
        first, errors = 0, dict[str, str]()
        if resolv.rotate:
            first, self._turn = self._turn % len(resolv.servers), self._turn + 1
        servers = (*resolv.servers[first:], *resolv.servers[:first])
        for _ in range(resolv.attempts):
            for server in servers:
                said: dict[Wanted, Answer] = {}
                try:
                    async with asyncio.timeout(resolv.timeout):
                        await self._tell(server, name, families, resolv, said)
                except (OSError, EOFError, PeerError) as error:  # TimeoutError is one
                    if any(one.addresses for one in said.values()):
                        return _joined(said)  # it does not answer for one family
                    silent = isinstance(error, TimeoutError)
                    errors[server] = "no answer in time" if silent else in_words(error)
                else:
                    return _joined(said)
        why = "; ".join(f"{server}: {error}" for server, error in errors.items())
        raise Unreachable(f"cannot resolve {name}: {why}", name, Reason.TIMED_OUT)

    async def _tell(
        self,
        server: str,
        name: str,
        families: Sequence[Wanted],
        resolv: Resolv,
        said: dict[Wanted, Answer],
    ) -> None:
        """Fill in what a server says of each family, and follow aliases that it leaves to us."""
        address = _address(server, self._port, self._mark())
        names: dict[Wanted, str] = dict.fromkeys(families, name)
        for _ in range(MOST_ALIASES):
            at_once = [[family] for family in names] if resolv.single else [list(names)]
            for group in at_once:
                asked = {family: names[family] for family in group}
                await self._understood(server, address, asked, resolv, said)
            names = {
                family: one.alias
                for family, one in said.items()
                if family in names and one.alias is not None
            }
            if not names:
                return
        raise Failed("too many aliases")

    async def _understood(
        self,
        server: str,
        address: _Address,
        names: dict[Wanted, str],
        resolv: Resolv,
        said: dict[Wanted, Answer],
    ) -> None:
        """One exchange, and another without EDNS for a server that does not know it."""
        manner = self._manners.get(server)
        if manner is None:
            if len(self._manners) >= MOST_KNOWN:
                self._manners.clear()
            manner = self._manners[server] = Manner()
        try:
            await _exchange(address, names, resolv, manner.edns and resolv.edns, said)
        except NoEdns:
            manner.forgo()
            try:
                await _exchange(address, names, resolv, False, said)
            except Failed:
                manner.resume()
                raise


@frozen
class _Address:
    """A server's address, as a socket takes it."""

    family: int
    place: tuple[object, ...]
    mark: int | None

    def socket(self, kind: int) -> socket.socket:
        """A socket to it, not connected yet. Raises OSError."""
        own = socket.socket(self.family, kind | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        try:
            if self.mark is not None:
                own.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, self.mark)
        except OSError:
            own.close()
            raise
        return own


def _address(server: str, port: int, mark: int | None) -> _Address:
    """A server's family and address, with the number of its link. Raises OSError."""
    numeric = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
    ((family, _, _, _, address), *_) = socket.getaddrinfo(
        server, port, type=socket.SOCK_DGRAM, flags=numeric
    )
    return _Address(family, address, mark)


async def _exchange(
    address: _Address,
    names: dict[Wanted, str],
    resolv: Resolv,
    edns: bool,
    said: dict[Wanted, Answer],
) -> None:
    """Ask for these names, and note what is said of each family."""
    asked: dict[bytes, Question] = {}
    for family, name in names.items():
        one = question(name, family, number(asked), edns=edns, trusting=resolv.trusts)
        asked[one.id] = one
    if not resolv.tcp:
        await _by_packets(address, asked, said)
    for one in asked.values():  # what did not fit
        said[one.family] = await _by_stream(address, one)


async def _by_packets(
    address: _Address, asked: dict[bytes, Question], said: dict[Wanted, Answer]
) -> None:
    """Takes out of `asked` what was answered; what was cut off stays."""
    loop = asyncio.get_running_loop()
    waiting = dict(asked)
    with address.socket(socket.SOCK_DGRAM) as own:
        own.connect(address.place)  # others' packets do not come in then
        for one in asked.values():
            await loop.sock_sendall(own, one.wire)
        for _ in range(MOST_STRAYS):
            wire = await loop.sock_recv(own, _PACKET)
            found = waiting.get(wire[:2])
            if found is None:
                continue
            try:
                said[found.family] = answer(found, wire)
                del asked[found.id]
            except Stray:
                continue
            except Truncated:
                pass  # asked by a stream
            del waiting[found.id]
            if not waiting:
                return
    # Who is flooded asks by TCP (RFC 5452, section 9.2).


async def _by_stream(address: _Address, asked: Question) -> Answer:
    """RFC 7766. Raises OSError, EOFError, Stray, Failed."""
    loop = asyncio.get_running_loop()
    with address.socket(socket.SOCK_STREAM) as own:
        await loop.sock_connect(own, address.place)
        await loop.sock_sendall(own, len(asked.wire).to_bytes(2) + asked.wire)
        data = b""
        while len(data) < 2 or len(data) < 2 + int.from_bytes(data[:2]):
            piece = await loop.sock_recv(own, _PACKET)
            if not piece:
                raise EOFError("the server closed the connection")
            data += piece
    try:
        return answer(asked, data[2 : 2 + int.from_bytes(data[:2])])
    except Truncated:
        raise Failed("the server truncated its answer over TCP") from None


def _joined(said: dict[Wanted, Answer]) -> Found:
    """Both families as one. A name exists where it does for one of them."""
    addresses = tuple(packed for one in said.values() for packed in one.addresses)
    if addresses:
        return Found(Outcome.FOUND, addresses)
    unknown = all(one.outcome is Outcome.UNKNOWN for one in said.values())
    return Found(Outcome.UNKNOWN if unknown else Outcome.EMPTY)
