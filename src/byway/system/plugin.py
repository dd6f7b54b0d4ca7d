"""Plugins: other people's programs that carry a protocol's stream (SIP003).

A plugin is told by its environment between which two addresses to stand: at the client it listens
on a loopback port and dials the server, at the server it listens where clients come and dials a
loopback port. Only TCP goes through it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Callable
from functools import cache
from pathlib import Path

from byway.errors import in_words
from byway.flow import Target

READY = 5.0  # seconds that a plugin has to begin to listen
PAUSES = (0.2, 1.0, 5.0, 15.0)  # seconds before it is started again, longer each time
STEADY = 60.0  # seconds after which a plugin that ran counts as sound again
LAST_WORDS = 2.0  # seconds to end by itself when asked to
LOOK = 0.02  # seconds between two looks at whether it listens

PASSED_ON = (
    "PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR",
    "LD_LIBRARY_PATH", "SSL_CERT_FILE", "SSL_CERT_DIR", "V2RAY_LOCATION_ASSET",
    "XRAY_LOCATION_ASSET",
)  # fmt: skip
"""All of our environment that a plugin gets: the rest may hold secrets of other programs."""

Tell = Callable[[str], None]


class Plugin:
    """One plugin process, kept running. `remote` and `local` are the SS_* addresses; `group` is
    the system's group that it runs as, None: ours.

    At a server, `open` starts it. At a client `local` is None: a port is chosen at each start, and
    the first `ready` has `serve` start it.
    """

    def __init__(
        self,
        program: str,
        options: str,
        remote: Target,
        local: Target | None,
        tell: Tell,
        group: int | None = None,
    ) -> None:
        self._program = program
        self._options = options
        self._remote = remote
        self._local = local
        self._tell = tell
        self._group = group
        self._process: asyncio.subprocess.Process | None = None
        self._closing = False
        self._wanted = asyncio.Event()
        self._settled: asyncio.Future[Target | None] | None = None  # while it is being started
        self._problem = ""  # why it does not run, until it is tried again
        self._place: Target | None = None  # where it listens now

    async def ready(self) -> Target:
        """Where it listens. The first call has it started; between two tries all calls fail.

        Something else runs `serve`. Raises OSError, which names the plugin.
        """
        if self._place is not None:
            return self._place
        if self._problem or self._closing:
            raise OSError(0, self._problem or f"plugin {self._program} is closed")
        if self._settled is None:
            self._settled = asyncio.get_running_loop().create_future()
        self._wanted.set()
        place = await asyncio.shield(self._settled)  # a dial that is given up ends no other's
        if place is None:
            raise OSError(0, self._problem or f"plugin {self._program} is closed")
        return place

    async def open(self) -> None:
        """Start it and wait until it listens. Raises OSError."""
        local = self._local or loopback_port()
        place = local if self._local is None else self._remote
        _prctl()
        try:
            self._process = process = await asyncio.create_subprocess_exec(
                self._program,
                env=self._environment(local),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is ours to pass on
                preexec_fn=_end_with_parent,
                group=self._group,
            )
        except OSError as error:
            why = in_words(error, file=False)
            raise OSError(error.errno, f"cannot start plugin {self._program}: {why}") from error
        try:
            async with asyncio.timeout(READY):
                while not listens(place.port):
                    if process.returncode is not None:
                        said = await self._said(process)
                        raise OSError(
                            0, f"plugin {self._program} ended with {process.returncode}: {said}"
                        )
                    await asyncio.sleep(LOOK)
        except BaseException as error:
            await self._ended()
            if isinstance(error, TimeoutError):
                raise OSError(
                    0, f"plugin {self._program} does not listen on port {place.port}"
                ) from error
            raise
        self._wanted.set()
        self._place = place

    async def serve(self) -> None:
        """Start it when it is wanted, pass on what it says, and start it again when it ends; until
        closed or cancelled."""
        loop, failures, problem = asyncio.get_running_loop(), 0, ""
        try:
            while not self._closing:
                begun = loop.time()
                if self._process is None:
                    await self._wanted.wait()
                    begun = loop.time()
                    problem = await self._tried()
                if self._process is not None:
                    problem = f"plugin {self._program} ended with {await self._watched()}"
                if self._closing:
                    return
                failures = 0 if loop.time() - begun > STEADY else failures + 1
                pause = PAUSES[min(failures, len(PAUSES)) - 1] if failures else PAUSES[0]
                self._place, self._process, self._problem = None, None, problem
                self._settle()
                self._tell(f"{problem}; again in {pause} s")
                await asyncio.sleep(pause)
                self._problem = ""
        finally:
            await self.close()
            self._settle()

    async def close(self) -> None:
        """End it, where `serve` does not run (which ends it by itself). Idempotent."""
        self._closing = True
        await self._ended()

    async def _tried(self) -> str:
        """Start it: why it does not run, or ""."""
        try:
            await self.open()
        except OSError as error:
            if self._local is None:
                self._wanted.clear()  # until the next flow wants it
            return in_words(error, file=False)
        self._settle()
        return ""

    def _settle(self) -> None:
        """Let those who wait know."""
        waiting, self._settled = self._settled, None
        if waiting is not None and not waiting.done():
            waiting.set_result(self._place)

    def _environment(self, local: Target) -> dict[str, str]:
        variables = {
            "SS_REMOTE_HOST": self._remote.full,
            "SS_REMOTE_PORT": str(self._remote.port),
            "SS_LOCAL_HOST": local.host,
            "SS_LOCAL_PORT": str(local.port),
        }
        if self._options:
            variables["SS_PLUGIN_OPTIONS"] = self._options
        return {name: os.environ[name] for name in PASSED_ON if name in os.environ} | variables

    async def _ended(self) -> None:
        """Asked first, then made to."""
        process, self._process = self._process, None
        self._place = None
        if process is None:
            return
        for number, patience in ((signal.SIGTERM, LAST_WORDS), (signal.SIGKILL, None)):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, number)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(patience):
                    await self._said(process)
                    await process.wait()
                    return

    async def _watched(self) -> int | str:
        """Tell its lines until it ends: its status."""
        process = self._process
        if process is None:
            return "nothing"
        assert process.stdout is not None
        while said := await process.stdout.read(4096):
            for line in said.decode("utf-8", "replace").splitlines():
                self._tell(f"plugin {self._program}: {line[:500]}")
        return await process.wait()

    async def _said(self, process: asyncio.subprocess.Process) -> str:
        """Its last words, to the end of its output."""
        assert process.stdout is not None
        said = b""
        while more := await process.stdout.read(4096):
            said = (said + more)[-500:]
        return said.decode("utf-8", "replace").strip()


def loopback_port() -> Target:
    """A loopback address with a port that nobody has now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as probe:
        probe.bind(("127.0.0.1", 0))
        return Target.of("127.0.0.1", probe.getsockname()[1])


def listens(port: int) -> bool:
    """Whether somebody listens on a TCP port of this host, found without connecting to it."""
    wanted = f":{port:04X}"
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with contextlib.suppress(OSError):
            for line in Path(table).read_text(encoding="ascii").splitlines()[1:]:
                words = line.split()
                if words[1].endswith(wanted) and words[3] == _LISTEN:
                    return True
    return False


@cache
def _prctl() -> Callable[[int, int], int]:
    """The system call. To be asked for before a fork, so that the child imports nothing."""
    import ctypes

    prctl: Callable[[int, int], int] = ctypes.CDLL(None).prctl
    return prctl


def _end_with_parent() -> None:
    """In the child, before it becomes the plugin: be killed when Byway is."""
    _prctl()(_PR_SET_PDEATHSIG, signal.SIGKILL)


_LISTEN = "0A"
_PR_SET_PDEATHSIG = 1
