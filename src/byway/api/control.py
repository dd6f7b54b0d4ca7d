"""The door of the control interface: its sockets, access, one task per connection.

The code of the answers is imported at the first request: without one, only a socket is paid for.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
from types import TracebackType
from typing import TYPE_CHECKING, Self

from byway.api.places import default_place
from byway.app import App, Reread
from byway.errors import in_words

if TYPE_CHECKING:
    from byway.api.conversation import Conversation

MOST = 32  # connections of one door at once; more wait in the kernel's queue
BACKLOG = 16


class Control:
    """The control interface of one App, open while it is entered. That it is off is no failure.

    The unix socket is for processes of the same user or root. `metrics` is a TCP port, and gives
    `/metrics` alone.
    """

    def __init__(self, app: App, reread: Reread) -> None:
        self._app = app
        self._reread = reread
        self._tasks: set[asyncio.Task[None]] = set()
        self._doors: list[socket.socket] = []
        self._conversation: Conversation | None = None
        self._inode = 0
        self.path: str | None = None

    async def __aenter__(self) -> Self:
        self._group = await asyncio.TaskGroup().__aenter__()
        config = self._app.now.config.control
        place: str | None = config.socket
        if place == "auto":
            place = default_place(os.environ, os.getuid())
        if place not in (None, "off"):
            self._open(str(place))
        if config.metrics is not None:
            self._open_metrics(config.metrics.host, config.metrics.port)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for task in tuple(self._tasks):
            task.cancel()
        for door in self._doors:
            door.close()
        self._unlink()
        cancelled = kind is not None and issubclass(kind, asyncio.CancelledError)
        await self._group.__aexit__(*((kind, error, trace) if cancelled else (None, None, None)))

    def _open(self, path: str) -> None:
        """Make the socket where none is, or a dead one. It is closed to others from the start."""
        log = self._app.log
        beside = f"{path}.{os.getpid()}"
        door = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            if _answers(path):
                raise OSError("another Byway answers there")
            with contextlib.suppress(FileNotFoundError):
                os.unlink(beside)
            door.bind(beside)
            os.chmod(beside, 0o600)
            door.listen(BACKLOG)
            self._inode = os.stat(beside).st_ino
            os.rename(beside, path)
        except OSError as error:
            door.close()
            with contextlib.suppress(OSError):
                os.unlink(beside)
            why = in_words(error)
            tell = log.info if self._app.now.config.control.socket == "auto" else log.warning
            tell("control is off", socket=path, error=why, hint="set control.socket")
            return
        self.path = path
        log.info("control", socket=path)
        self._serve(door, metrics=False)

    def _open_metrics(self, host: str, port: int) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        door = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            door.bind((host, port))
            door.listen(BACKLOG)
        except OSError as error:
            door.close()
            why = in_words(error)
            self._app.log.warning("metrics are off", address=f"{host}:{port}", error=why)
            return
        self._app.log.info("metrics", address=f"{host}:{door.getsockname()[1]}")
        self._serve(door, metrics=True)

    def _serve(self, door: socket.socket, metrics: bool) -> None:
        door.setblocking(False)
        self._doors.append(door)
        # A room of its own: those who hold the one door full do not stand in the other.
        self._start(self._accept(door, metrics, asyncio.Semaphore(MOST)))

    def _start(self, work: Work) -> None:
        task = self._group.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _accept(self, door: socket.socket, metrics: bool, room: asyncio.Semaphore) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await room.acquire()
            try:
                link, _ = await loop.sock_accept(door)
            except OSError:  # no descriptor is left; the flows have them
                room.release()
                await asyncio.sleep(1)
                continue
            except BaseException:
                room.release()
                raise
            self._start(self._meet(link, metrics, room))

    async def _meet(self, link: socket.socket, metrics: bool, room: asyncio.Semaphore) -> None:
        try:
            with link:
                link.setblocking(False)
                if metrics or _may_speak(link):
                    if self._conversation is None:
                        from byway.api.conversation import Conversation

                        self._conversation = Conversation(self._app, self._reread)
                    await self._conversation.hold(link, metrics)
        except (OSError, TimeoutError):
            pass  # it left
        except Exception as error:
            self._app.log.fault(error, interface="control")
        finally:
            room.release()

    def _unlink(self) -> None:
        """Take our socket away, unless another has taken its place."""
        if self.path is not None:
            with contextlib.suppress(OSError):
                if os.stat(self.path).st_ino == self._inode:
                    os.unlink(self.path)


if TYPE_CHECKING:
    from collections.abc import Coroutine

    Work = Coroutine[None, None, None]


def _answers(path: str) -> bool:
    """Whether a path is listened at. Raises OSError where there is no socket but something."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as probe:
        probe.settimeout(1)
        try:
            probe.connect(path)
        except (FileNotFoundError, ConnectionRefusedError):
            return False
        except TimeoutError:
            return True
        return True


def _may_speak(link: socket.socket) -> bool:
    """Whether the other process is of this user, or root (SO_PEERCRED, unix(7))."""
    credentials = link.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return struct.unpack("3i", credentials)[1] in (0, os.getuid())
