"""A network with nothing but loopback in it, for whatever must never send a packet elsewhere.

`enter` moves the calling thread there, and all that it starts from then on. As a command it runs
another one inside: python tests/nowhere.py COMMAND WORD...
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000
_SIOCSIFFLAGS, _IFF_UP = 0x8914, 0x1
_libc = ctypes.CDLL(None, use_errno=True)


def enter() -> None:
    """Move this thread into a network of its own. Raises OSError where that is not allowed: to a
    user who is not root, also when the process has further threads."""
    user, group = os.geteuid(), os.getegid()
    try:
        _call(_libc.unshare, _CLONE_NEWNET)
    except PermissionError:
        _call(_libc.unshare, _CLONE_NEWUSER | _CLONE_NEWNET)
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", _IFF_UP))


@contextmanager
def entered() -> Iterator[None]:
    """Be there for a while. Raises as `enter` does. Threads that began inside stay inside."""
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        enter()
        try:
            yield
        finally:
            _call(_libc.setns, before, _CLONE_NEWNET)
    finally:
        os.close(before)


def links() -> Sequence[str]:
    """The names of the links that this thread sees."""
    return [name for _, name in socket.if_nameindex()]


def _call(function: object, *words: int) -> None:
    assert callable(function)
    if function(*words) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


if __name__ == "__main__":
    try:
        enter()
    except OSError as error:
        sys.exit(f"cannot make a network of its own: {error} (needs root, or user namespaces)")
    os.execvp(sys.argv[1], sys.argv[1:])
