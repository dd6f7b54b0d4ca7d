"""Whose socket is it? The kernel tells the socket (`sockets`), /proc its process.

Linux only, and only for programs on this host. Nothing is asked unless a rule wants to know.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from byway.flow import Network, Process, Target
from byway.system.sockets import Socket, socket_of, sockets_at

MOST_HELD = 4096
"""Sockets whose process is remembered."""
MOST_RECENT = 16
"""Processes that are looked at first, as they had the last sockets."""
MOST_COMMAND = 32 << 10  # bytes of a command line
_MOST_FILES = 100_000  # file descriptors that one search looks at

NOBODY = Process()


class Owners:
    """Finds the processes of sockets.

    It remembers which descriptor of which process a socket was, and looks whether it still is: so
    it is right after a fork, an exec, an end, and when a number is used again.
    """

    def __init__(self) -> None:
        self._held: dict[int, tuple[str, str]] = {}
        self._recent: dict[str, None] = {}

    def of(self, source: Target, network: Network, end: Target | None = None) -> Process:
        """The process whose socket has this local address, and is connected to `end` or sends
        there (None: not known); `NOBODY` where none is to be seen.

        Takes milliseconds, more on hosts with many open files: ask from a thread.
        """
        try:
            found = socket_of(source, network, end)
        except OSError:
            return NOBODY
        if found is None:
            return NOBODY
        return self._process(found.inode, found.uid)

    def _process(self, inode: int, uid: int) -> Process:
        held = self._held.get(inode)
        if held is not None and (process := _holding(*held, inode, uid)) is not None:
            return process
        looked = 0
        for number in self._likely():
            for file in _files(number):
                looked += 1
                if _target(f"/proc/{number}/fd/{file}") == f"socket:[{inode}]":
                    process = _holding(number, file, inode, uid)
                    if process is not None:
                        self._remember(inode, number, file)
                        return process
            if looked > _MOST_FILES:
                break
        self._held.pop(inode, None)
        return Process(uid=uid)

    def _likely(self) -> Iterator[str]:
        """All processes; first those that had sockets lately, then the youngest."""
        recent = list(reversed(self._recent))
        yield from recent
        numbers = sorted(filter(str.isdigit, os.listdir("/proc")), key=int, reverse=True)
        yield from (number for number in numbers if number not in recent)

    def _remember(self, inode: int, number: str, file: str) -> None:
        held, recent = self._held, self._recent
        if len(held) >= MOST_HELD:
            held.clear()
        held[inode] = number, file
        recent.pop(number, None)
        recent[number] = None
        if len(recent) > MOST_RECENT:
            recent.pop(next(iter(recent)), None)


def owner_of(source: Target, network: Network, end: Target | None = None) -> Process:
    """`Owners.of`, with nothing remembered."""
    return Owners().of(source, network, end)


def is_ours(source: Target, network: Network | None = None, end: Target | None = None) -> bool:
    """Whether a socket of this process has this local address, which must be one of this host, and
    is connected to `end` or sends there. What is None may be any.

    Takes milliseconds, as `owner_of` does.
    """
    packed = source.packed
    if packed is None:
        return False
    ours: set[int] | None = None
    for kind in Network if network is None else (network,):
        with contextlib.suppress(OSError):
            for one in sockets_at(source.port, kind, len(packed) == 4):
                if _may_be(one, packed, end):
                    ours = _own_inodes() if ours is None else ours
                    if one.inode in ours:
                        return True
    return False


def _may_be(one: Socket, packed: bytes, end: Target | None) -> bool:
    if any(one.local[0]) and one.local[0] != packed:
        return False
    connected = one.remote[1] != 0
    return not (connected and end is not None and end.packed is not None) or one.remote == (
        end.packed,
        end.port,
    )


def _own_inodes() -> set[int]:
    """The inodes of all files that this process has open."""
    found = set()
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            found.add(os.fstat(int(number)).st_ino)
    return found


def process_of(number: int) -> Process:
    """A running process by its number. Raises LookupError when there is none."""
    try:
        uid = os.stat(f"/proc/{number}").st_uid
        folder = os.open(f"/proc/{number}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        raise LookupError(f"there is no process {number}") from None
    try:
        return _described(folder, uid)
    finally:
        os.close(folder)


def _files(number: str) -> list[str]:
    try:
        return os.listdir(f"/proc/{number}/fd")
    except OSError:
        return []  # gone, or another user's


def _target(path: str, folder: int | None = None) -> str:
    try:
        return os.readlink(path, dir_fd=folder)
    except OSError:
        return ""


def _holding(number: str, file: str, inode: int, uid: int) -> Process | None:
    """The process, when this descriptor of it is the socket. Its folder in /proc stays that of the
    same process, so that all that is read is of one."""
    try:
        folder = os.open(f"/proc/{number}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        if _target(f"fd/{file}", folder) != f"socket:[{inode}]":
            return None
        return _described(folder, uid)
    finally:
        os.close(folder)


def _described(folder: int, uid: int) -> Process:
    path = _target("exe", folder).removesuffix(" (deleted)")
    groups = _groups(_contents("cgroup", folder).decode("utf-8", "replace"))
    command = _contents("cmdline", folder).rstrip(b"\0").replace(b"\0", b" ")
    return Process(
        os.path.basename(path),
        path,
        uid,
        groups[0] if groups else "",
        command.decode("utf-8", "replace"),
        tuple(groups[1:]),
    )


def _contents(name: str, folder: int) -> bytes:
    try:
        file = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=folder)
    except OSError:
        return b""
    with os.fdopen(file, "rb", buffering=0) as opened:
        try:
            return opened.read(MOST_COMMAND) or b""
        except OSError:
            return b""


def _groups(text: str) -> list[str]:
    """The control groups in lines of `hierarchy:controllers:path`, each once: that of cgroup v2,
    then systemd's own of v1, then the others of v1."""
    found = [parts for line in text.splitlines() if len(parts := line.split(":", 2)) == 3]

    def order(parts: list[str]) -> tuple[bool, bool]:
        unified = parts[0] == "0" and parts[2] != "/"  # beside v1 it may be there and not be used
        return not unified, parts[1] != "name=systemd"

    return list(dict.fromkeys(parts[2] for parts in sorted(found, key=order)))
