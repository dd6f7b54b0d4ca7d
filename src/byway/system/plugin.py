"""Plugins of shadowsocks: other people's programs that carry its stream (SIP003).

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

from byway.flow import Target

READY = 5.0  # seconds that a plugin has to begin to listen
PAUSES = (0.2, 1.0, 5.0, 15.0)  # seconds before it is started again, longer each time
STEADY = 60.0  # seconds after which a plugin that ran counts as sound again
LAST_WORDS = 2.0  # seconds to end by itself when asked to
LOOK = 0.02  # seconds between two looks at whether it listens

Tell = Callable[[str], None]


class Plugin:
    """One plugin process, kept running. `remote` and `local` are the SS_* addresses."""

    def __init__(
        self, program: str, options: str, remote: Target, local: Target, serving: bool, tell: Tell
    ) -> None:
        self._program = program
        self._environment = {
            "SS_REMOTE_HOST": remote.host,
            "SS_REMOTE_PORT": str(remote.port),
            "SS_LOCAL_HOST": local.host,
            "SS_LOCAL_PORT": str(local.port),
        }
        if options:
            self._environment["SS_PLUGIN_OPTIONS"] = options
        self._port = remote.port if serving else local.port
        self._tell = tell
        self._process: asyncio.subprocess.Process | None = None
        self._closing = False

    async def open(self) -> None:
        """Start it and wait until it listens. Raises OSError."""
        _prctl()
        try:
            self._process = process = await asyncio.create_subprocess_exec(
                self._program,
                env={**os.environ, **self._environment},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is ours to pass on
                preexec_fn=_end_with_parent,
            )
        except OSError as error:
            why = error.strerror or str(error)
            raise OSError(error.errno, f"cannot start plugin {self._program}: {why}") from error
        try:
            async with asyncio.timeout(READY):
                while not listens(self._port):
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
                    0, f"plugin {self._program} does not listen on port {self._port}"
                ) from error
            raise

    async def serve(self) -> None:
        """Pass on what it says, and start it again when it ends; until closed or cancelled."""
        loop, failures = asyncio.get_running_loop(), 0
        try:
            while not self._closing:
                begun = loop.time()
                status = await self._watched()
                if self._closing:
                    return
                failures = 0 if loop.time() - begun > STEADY else failures + 1
                pause = PAUSES[min(failures, len(PAUSES)) - 1] if failures else PAUSES[0]
                self._tell(f"plugin {self._program} ended with {status}; again in {pause} s")
                await asyncio.sleep(pause)
                try:
                    await self.open()
                except OSError as error:
                    self._tell(error.strerror or str(error))
        finally:
            await self.close()

    async def close(self) -> None:
        """End it, where `serve` does not run (which ends it by itself). Idempotent."""
        self._closing = True
        await self._ended()

    async def _ended(self) -> None:
        """Asked first, then made to."""
        process, self._process = self._process, None
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
