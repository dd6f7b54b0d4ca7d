"""The host's own resolver: what nsswitch.conf(5) says, by servers of resolv.conf(5) and by threads.

`files` and `dns`, which is what most names need, are done here, hundreds at once without a thread.
For modules that only the C library knows (mDNS, resolve, wins, ldap ...) it is asked itself
(getaddrinfo), in a thread for each look-up, bounded in number.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import socket
import sys
import threading
from collections import Counter, deque
from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, TypeVar

from byway.dns.hostfiles import HostFiles, HostNames
from byway.dns.hosts import LOCALHOST
from byway.dns.lookups import ASKER, Asker, Lookups, askers_of, given_up
from byway.dns.ordering import ordered
from byway.engine import Outcome
from byway.errors import Reason, Unreachable, in_words

if TYPE_CHECKING:
    from byway.dns.hostdns import HostDns
    from byway.dns.message import Answer, Records

ADDRESS_TYPES = (1, 28)  # A and AAAA
THREADS = 64  # a look-up by the C library holds one for as long as it takes, ten seconds and more
THREADS_EACH = 16  # of one client, those included for which nobody waits any more
WAITING = 2048  # look-ups at once
EACH = 256  # that one client waits for
KEPT = 5.0  # seconds: the C library tells no lifetime; an answer serves one page load, not more
KEPT_UNKNOWN = 1.0  # seconds that a failure is
MOST = 4096

T = TypeVar("T")
_Answer = tuple[bytes, ...]
_BY_LINK = ("mdns", "mdns4", "mdns6")  # know `.local`, or what /etc/mdns.allow says
_SHORT = ("wins", "mymachines")  # know names of one label
_OWN = ("localhost", "_gateway", "_outbound")  # what `myhostname` knows, with the host's own name


class SystemResolver:
    """Resolves as every other program of this host does (hosts file, search list, mDNS, DNS).

    Belongs to the event loop it is first used in. Threads die with the process: a look-up that
    hangs keeps nobody from leaving.

    What is known, also that a name is unknown, changes only between two turns of the loop. So the
    dial that follows a verdict at once sees the addresses that were judged, whatever the name's
    server answers next.
    """

    def __init__(
        self,
        threads: int = THREADS,
        kept: float = KEPT,
        files: HostFiles | None = None,
        dns: HostDns | None = None,
        mark: Callable[[], int | None] = lambda: None,
    ) -> None:
        self._kept = kept
        self._files = files or HostFiles()
        self._dns = dns
        self._mark = mark
        self._library = _Library(threads)
        self._tasks: set[asyncio.Task[object]] = set()
        self._lookups: Lookups[_Answer | Unreachable] = Lookups(self._begin, WAITING, EACH)
        self._known: dict[str, _Answer | Unreachable] = {}
        self._waiting: Counter[str] = Counter()  # how many wait for a name

    async def resolve(self, name: str) -> Sequence[bytes]:
        """The addresses of a name, best first (RFC 6724). Raises Unreachable (NAME_UNKNOWN).

        A name with a final dot is absolute. Several who ask for one name at once share a look-up. A
        cancelled wait leaves it running, as long as nobody else needs its place.
        """
        known = self._known.get(name)
        if known is None:
            askers = askers_of(ASKER.get())
            lookup = self._lookups.join(name, name, lambda: self._looked_up(name, askers))
            self._waiting[name] += 1
            try:
                await asyncio.wait((lookup.task,))
                known = given_up(name) if lookup.task.cancelled() else lookup.task.result()
            finally:
                self._lookups.leave(lookup)
                self._waiting[name] -= 1
                if not self._waiting[name]:
                    del self._waiting[name]
        if known is None:
            raise Unreachable(f"cannot resolve {name}", name)
        if isinstance(known, Unreachable):
            raise Unreachable(str(known), known.hop, known.reason)
        return known

    async def records(self, name: str, wanted: Records) -> Answer:
        """What the name servers of this host say of records of an absolute name; addresses are
        those that `resolve` finds. Raises Unreachable."""
        if wanted.kind in ADDRESS_TYPES:
            return await self._address_records(name, wanted)
        names = await self._files.names()
        return await (await self._asker()).records(name, wanted, names.resolv)

    async def _address_records(self, name: str, wanted: Records) -> Answer:
        from byway.dns.message import of_addresses

        try:
            found = await self.resolve(f"{name.removesuffix('.')}.")  # who asks has searched
        except Unreachable as error:
            if error.reason is not Reason.NAME_UNKNOWN:
                raise
            return of_addresses(name, wanted, None, self._kept)
        return of_addresses(name, wanted, found, self._kept)

    def by(self, use: Sequence[str]) -> SystemResolver:
        """Itself: where it is used alone there are no name servers to choose from."""
        return self

    def close(self) -> None:
        """Give up all look-ups. Threads in one end after it."""
        self._lookups.close()

    def _begin(self, work: Coroutine[None, None, T]) -> asyncio.Task[T | None]:
        # Kept here, since it serves without a TaskGroup, too; what it raises is its result.
        task: asyncio.Task[T | None] = asyncio.Task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _looked_up(self, name: str, askers: Asker) -> _Answer | Unreachable:
        """The answer, remembered for a moment."""
        known: _Answer | Unreachable
        try:
            known = await self._found(name, askers)
        except Unreachable as error:
            known = error
        except (OSError, ValueError) as error:
            why = in_words(error)
            known = Unreachable(f"cannot resolve {name!r}: {why}", name, Reason.NAME_UNKNOWN)
        if len(self._known) >= MOST:
            self._known.clear()
        self._known[name] = known
        failed = isinstance(known, Unreachable)
        kept = min(self._kept, KEPT_UNKNOWN) if failed else self._kept
        asyncio.get_running_loop().call_later(kept, self._forget, name, known)
        return known

    def _forget(self, name: str, known: _Answer | Unreachable) -> None:
        """Not before those who waited have gone on: they may ask again within their turn."""
        if self._waiting[name]:
            asyncio.get_running_loop().call_soon(self._forget, name, known)
        elif self._known.get(name) is known:
            del self._known[name]

    async def _found(self, name: str, askers: Asker) -> _Answer:
        """Service after service, as nsswitch.conf(5) has them. Raises Unreachable, OSError."""
        if (packed := _old_spelling(name)) is not None:
            return (packed,)
        names, bare = await self._files.names(), name.removesuffix(".").lower()
        if not bare.isascii() or not bare:
            raise OSError("no host name")
        error = Unreachable(f"cannot resolve {name}: it is unknown", name, Reason.NAME_UNKNOWN)
        for service in names.services:
            status = "notfound"
            found: _Answer = ()
            if service.name == "files":
                found = names.hosts.get(bare, ())
            elif service.name == "dns":
                try:
                    found = await self._by_dns(name, names)
                except Unreachable as failure:
                    error = failure
                    status = "notfound" if failure.reason is Reason.NAME_UNKNOWN else "tryagain"
            elif knows(service.name, bare, names.aware):
                return await self._library.look_up(name, askers)  # and all the other services
            else:
                status = "unavail"
            if found:
                return ordered(found, names.policy)
            if status in service.returns:
                break
        if bare == "localhost" or bare.endswith(".localhost"):
            return LOCALHOST.addresses  # RFC 6761, section 6.3
        raise error

    async def _by_dns(self, name: str, names: HostNames) -> _Answer:
        bare = name.removesuffix(".").lower()
        if bare.rpartition(".")[2] in ("localhost", "invalid"):  # RFC 6761: nobody is asked
            raise Unreachable(f"cannot resolve {name}: no such name", name, Reason.NAME_UNKNOWN)
        found = await (await self._asker()).find(name, names.resolv)
        if found.outcome is Outcome.FOUND:
            return found.addresses
        what = "has no address" if found.outcome is Outcome.EMPTY else "no such name"
        raise Unreachable(f"cannot resolve {name}: {what}", name, Reason.NAME_UNKNOWN)

    async def _asker(self) -> HostDns:
        if self._dns is None:
            if "dns.message" not in sys.modules:  # it takes a moment, which the loop need not wait
                await asyncio.to_thread(importlib.import_module, "byway.dns.hostdns")
            from byway.dns.hostdns import HostDns

            self._dns = HostDns(mark=self._mark)
        return self._dns


def knows(module: str, name: str, aware: bool) -> bool:
    """Whether a module of the C library's may know a name; `aware`: there is an mdns.allow."""
    if module.startswith("mdns"):
        allowed = aware and module in _BY_LINK
        return allowed or name == "local" or name.endswith(".local")
    if module in _SHORT:
        return "." not in name
    if module == "myhostname":
        own = socket.gethostname().lower()
        return name in (*_OWN, own) or name.endswith(".localhost")
    return True


class _Library:
    """getaddrinfo, in a thread for each look-up. Not every client's may be in use at once."""

    def __init__(self, threads: int) -> None:
        self._most = threads
        self._each = min(THREADS_EACH, max(1, threads // 2))
        self._running: dict[object, int] = {}
        self._count = 0
        self._waiting: deque[tuple[asyncio.Future[_Answer], str, Asker]] = deque()

    async def look_up(self, name: str, askers: Asker) -> _Answer:
        """Raises Unreachable. A cancelled wait gives up its turn; a thread that runs ends late."""
        answer: asyncio.Future[_Answer] = asyncio.get_running_loop().create_future()
        job = (answer, name, askers)
        self._waiting.append(job)
        self._start()
        try:
            return await answer
        except asyncio.CancelledError:
            with contextlib.suppress(ValueError):
                self._waiting.remove(job)
            raise

    def _start(self) -> None:
        """Begin what may begin, in the order it came."""
        held: deque[tuple[asyncio.Future[_Answer], str, Asker]] = deque()
        while self._waiting and self._count < self._most:
            answer, name, askers = job = self._waiting.popleft()
            if answer.done():
                continue  # nobody waits for it
            if any(self._running.get(asker, 0) >= self._each for asker in askers):
                held.append(job)
                continue
            self._count += 1
            for asker in askers:
                self._running[asker] = self._running.get(asker, 0) + 1
            loop = asyncio.get_running_loop()
            words = (name, answer, loop, self._ended, askers)
            thread = threading.Thread(
                target=_look_up, args=words, name="byway-resolver", daemon=True
            )
            thread.start()
        self._waiting.extendleft(reversed(held))

    def _ended(self, askers: Asker) -> None:
        self._count -= 1
        for asker in askers:
            self._running[asker] -= 1
            if not self._running[asker]:
                del self._running[asker]
        self._start()


def _look_up(
    name: str,
    answer: asyncio.Future[_Answer],
    loop: asyncio.AbstractEventLoop,
    ended: Callable[[Asker], None],
    askers: Asker,
) -> None:
    found: _Answer = ()
    error: Unreachable | None = None
    try:
        found = _addresses(name)
    except OSError as failure:
        error = Unreachable(
            f"cannot resolve {name}: {in_words(failure)}", name, Reason.NAME_UNKNOWN
        )
    except Exception as failure:  # a codec's; a thread must not die of a name
        error = Unreachable(f"cannot resolve {name!r}: {failure}", name, Reason.NAME_UNKNOWN)

    def settle() -> None:
        if not answer.done():
            if error is not None:
                answer.set_exception(error)
            else:
                answer.set_result(found)
        ended(askers)

    with contextlib.suppress(RuntimeError):  # the loop is closed
        loop.call_soon_threadsafe(settle)


def _addresses(name: str) -> _Answer:
    found: dict[bytes, None] = {}
    for family, _, _, _, address in socket.getaddrinfo(name, 0, type=socket.SOCK_STREAM):
        if family == socket.AF_INET:
            found[socket.inet_aton(str(address[0]))] = None
        elif family == socket.AF_INET6:
            text = str(address[0]).partition("%")[0]
            found[socket.inet_pton(socket.AF_INET6, text)] = None
    if not found:
        raise OSError("it has no addresses")
    return tuple(found)


def _old_spelling(name: str) -> bytes | None:
    """127.1, 0x7f000001 and the like, which the C library takes for addresses."""
    if name[:1].isdigit():
        with contextlib.suppress(OSError):
            return socket.inet_aton(name)
    return None
