"""Private namespaces, and the run they belong to. Nothing here leaves a name on the host.

A namespace lives as long as a process is in it, so each is held by a small process that waits on a
pipe from us: no `ip netns` names, no files under /etc or /run. A run's only trace on the host is
its directory under the temporary directory, whose name says who made it.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from byway.errors import BywayError
from byway.lab import guard

_PREFIX = "byway-lab"
_NAME = re.compile(rf"{_PREFIX}\.(\d+)\.(\d+)\.(\d+)\.(\d+)\.[0-9a-f]+")
_SBIN = ("/usr/local/sbin", "/usr/sbin", "/sbin")

# What a host sees of the machine: its own resolver files, a bare /run (no sockets of the machine's
# resolver, name cache or message bus, which would let a lookup slip out of the lab), its own name.
_HOLD = r"""
cd "$1"
for name in resolv.conf hosts nsswitch.conf; do
  place=$(readlink -f "/etc/$name")
  if [ -e "$place" ]; then mount --bind "$1/$name" "$place"; fi
done
mount -t tmpfs -o mode=755 lab /run
mkdir -p /run/sshd /run/vsftpd/empty
hostname "$2"
for f in all default; do
  echo 0 > /proc/sys/net/ipv6/conf/$f/disable_ipv6
  echo 0 > /proc/sys/net/ipv6/conf/$f/accept_dad
  echo 0 > /proc/sys/net/ipv6/conf/$f/accept_ra
done
ip link set lo up
echo ready
exec cat
"""


class Unavailable(BywayError):  # noqa: N818 - a state, as Refused and Unreachable are
    """The lab cannot run here; the text says what is missing and what would help."""


class Run:
    """One lab's stay on the machine: its directory, its guard, and its spaces."""

    def __init__(self) -> None:
        sweep_stale()
        self.rootless = os.geteuid() != 0
        self.id = secrets.token_hex(4)
        self.directory = _base() / ".".join((_PREFIX, *map(str, _owner(os.getpid())), self.id))
        self.directory.mkdir(mode=0o755)
        self._guard = subprocess.Popen(
            [sys.executable, "-I", "-S", guard.__file__, str(self.directory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        self._spaces: list[Space] = []
        self._base: subprocess.Popen[bytes] | None = None
        self._user: list[str] = []
        try:
            _await_ready(self._guard, "the guard")
            if self.rootless:
                hold = ["unshare", "--user", "--map-root-user", "sh", "-c", "echo ready; exec cat"]
                self._base = _hold(hold, "a user namespace")
                self._user = ["--user", "--preserve-credentials"]
        except BaseException:
            self.close()
            raise

    def space(self, name: str) -> Space:
        """Make new namespaces under this name. Raises Unavailable with the reason."""
        space = Space(self, name)
        self._spaces.append(space)
        return space

    def enter(self, pid: int | None, *namespaces: str) -> list[str]:
        """The words that, put before a command, run it in the namespaces of `pid`."""
        target = pid if pid is not None else self._base.pid if self._base else None
        if target is None or not (self._user or namespaces):
            return []
        return ["nsenter", "--target", str(target), *self._user, *namespaces]

    def close(self) -> None:
        """End every process of the run and remove every trace. Idempotent."""
        holders = [space.holder for space in self._spaces]
        if self._base is not None:
            holders.append(self._base)
        for process in holders:
            _release(process)
        if self._guard.stdin is not None:
            self._guard.stdin.close()
        for process in (*holders, self._guard):
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(guard.PATIENCE + 5)
            if process.stdout is not None:
                process.stdout.close()
        self._spaces.clear()
        self._base = None
        shutil.rmtree(self.directory, ignore_errors=True)


class Space:
    """The network, mount and UTS namespaces of one host."""

    def __init__(self, run: Run, name: str) -> None:
        self.name = name
        self.directory = run.directory / name
        self.directory.mkdir()
        (self.directory / "resolv.conf").write_text("")
        (self.directory / "hosts").write_text("127.0.0.1 localhost\n::1 localhost\n")
        (self.directory / "nsswitch.conf").write_text(
            "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\n"
        )
        unshare = ["unshare", "--net", "--mount", "--uts", "--propagation", "private"]
        hold = [*unshare, "sh", "-ec", _HOLD, "hold", str(self.directory), name]
        self.holder = _hold([*run.enter(None), *hold], f"the namespaces of {name}")
        self._enter = run.enter(self.holder.pid, "--net", "--mount", "--uts")

    @property
    def pid(self) -> int:
        """A process that lives in these namespaces as long as they do."""
        return self.holder.pid

    def command(self, argv: list[str], cwd: str = "/") -> list[str]:
        """The command line that runs `argv` inside. nsenter becomes the program: no child."""
        return [*self._enter, f"--wdns={cwd}", "--", *argv]

    def script(self, text: str) -> None:
        """Run a shell script inside. Raises Unavailable with its complaint when it fails."""
        done = subprocess.run(
            self.command(["sh", "-e"]),
            input=text,
            text=True,
            capture_output=True,
            env=environment(),
        )
        if done.returncode:
            raise Unavailable(f"setting up {self.name} failed: {done.stderr.strip()}\n{text}")


def missing() -> str:
    """Why a lab cannot run here, or "" when it can (found by trying, in milliseconds)."""
    for tool in ("ip", "nft", "unshare", "nsenter", "mount"):
        if not _which(tool):
            return f"the program {tool} is not installed (Debian: iproute2, nftables, util-linux)"
    try:
        run = Run()
    except Unavailable as error:
        return str(error)
    try:
        run.space("probe")
    except Unavailable as error:
        return str(error)
    finally:
        run.close()
    return ""


def sweep_stale() -> list[Path]:
    """Clean up after runs of ours whose process is gone and whose guard was killed too."""
    swept = []
    for directory in _base().glob(f"{_PREFIX}.*"):
        match = _NAME.fullmatch(directory.name)
        if match is None:
            continue
        uid, pidns, pid, start = map(int, match.groups())
        try:
            ours = directory.lstat().st_uid == os.geteuid()
        except FileNotFoundError:  # another lab that starts now was faster
            continue
        ours = ours and (uid, pidns) == _owner(os.getpid())[:2]
        if ours and _owner(pid) != (uid, pidns, pid, start):
            guard.sweep(directory)
            swept.append(directory)
    return swept


def environment() -> dict[str, str]:
    """Our environment without proxies, and with the places where system programs live."""
    env = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}
    path = env.get("PATH", "/usr/local/bin:/usr/bin:/bin").split(":")
    env["PATH"] = ":".join([*path, *(place for place in _SBIN if place not in path)])
    return env


def _which(tool: str) -> str | None:
    return shutil.which(tool, path=environment()["PATH"])


def _base() -> Path:
    base = Path(tempfile.gettempdir()).resolve()
    return Path("/tmp") if base.is_relative_to("/run") else base  # a host's /run is its own


def _owner(pid: int) -> tuple[int, int, int, int]:
    """Who a process is, unmistakably: user, pid namespace, pid, start time (proc(5)); or zeros."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
        start = int(stat.rpartition(")")[2].split()[19])
        return os.geteuid(), os.stat(f"/proc/{os.getpid()}/ns/pid").st_ino, pid, start
    except OSError:
        return 0, 0, 0, 0


def _hold(argv: list[str], what: str) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        argv,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,  # Ctrl-C at the terminal is for us to handle
        env=environment(),
    )
    try:
        _await_ready(process, what)
    except BaseException:
        _release(process)
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
        raise
    return process


def _await_ready(process: subprocess.Popen[bytes], what: str) -> None:
    lines = []
    for line in process.stdout or ():
        if line == b"ready\n":
            return
        lines.append(line.decode(errors="replace").strip())
    hint = "" if os.geteuid() == 0 else " (not root: unprivileged user namespaces must be allowed)"
    raise Unavailable(f"cannot make {what}{hint}: {'; '.join(lines) or 'no reason given'}")


def _release(process: subprocess.Popen[bytes]) -> None:
    if process.stdin is not None:
        with contextlib.suppress(OSError):
            process.stdin.close()
