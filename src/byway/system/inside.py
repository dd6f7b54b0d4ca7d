"""A network of one command's own: namespaces, a NIC in them, and names asked for by way of it.

The process that enters stays this user; outside nothing changes, and nothing is left when its last
process has ended. An ordinary user enters a user namespace first, in which it may set up a network;
these rights end when the command begins.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import tempfile
from collections.abc import Sequence

from byway.system.links import bring_up
from byway.system.tun import Tun, open_tun

NAMESERVER = ("198.18.0.2", "fd62:7977:6179::2")
"""Whom programs inside ask for names: neighbours of the NIC, so that Byway gets the questions."""

_NEWNS, _NEWUSER, _NEWNET = 0x00020000, 0x10000000, 0x40000000
_BIND, _REC, _PRIVATE = 4096, 16384, 1 << 18
_ASIDE = ("/run/systemd/resolve/io.systemd.Resolve", "/run/nscd/socket", "/var/run/nscd/socket")
"""Sockets by which the C library would have names resolved outside."""
_HINTS = {
    errno.EPERM: "user namespaces are not allowed here: sysctl kernel.unprivileged_userns_clone=1,"
    " or kernel.apparmor_restrict_unprivileged_userns=0",
    errno.ENOSPC: "there are too many user namespaces: sysctl user.max_user_namespaces",
    errno.EINVAL: "this kernel has no user or network namespaces",
}

_libc = ctypes.CDLL(None, use_errno=True)


class NotInside(OSError):  # noqa: N818 - says what is so
    """No namespaces can be had; the text says why and what would help."""


def enter(name: str, mtu: int, addresses: Sequence[str]) -> Tun:
    """Move this process (one thread, no event loop) into namespaces of its own, and make the NIC
    there. Raises NotInside, or OSError for the NIC."""
    import pyroute2  # noqa: F401 - inside, this user may have no right to read it

    uid, gid = os.geteuid(), os.getegid()
    _unshare(_NEWNET | _NEWNS | (0 if uid == 0 else _NEWUSER))
    if uid != 0:
        for file, text in (
            ("setgroups", b"deny"),
            ("uid_map", f"{uid} {uid} 1".encode()),
            ("gid_map", f"{gid} {gid} 1".encode()),
        ):
            with open(f"/proc/self/{file}", "wb") as writing:
                writing.write(text)
    tun = open_tun(name)
    bring_up("lo", 65536, ())
    bring_up(tun.name, mtu, addresses)
    _lead_all(tun.name)
    _ask_inside()
    return tun


def _lead_all(name: str) -> None:
    from byway.system.plan import HostError
    from byway.system.routing import MAIN, Route

    for family, prefix in ((4, "0.0.0.0/0"), (6, "::/0")):
        try:
            Route(family, prefix, name, MAIN).apply()
        except HostError:
            if family == 4:
                raise


def _ask_inside() -> None:
    """Names are asked for by way of the NIC, whatever the host has."""
    _mount(None, "/", _REC | _PRIVATE)
    with contextlib.suppress(FileNotFoundError):
        with tempfile.NamedTemporaryFile("wb", prefix="byway-resolv-", delete=False) as file:
            file.write("".join(f"nameserver {one}\n" for one in NAMESERVER).encode())
            file.write(b"options timeout:5 attempts:2\n")
        os.chmod(file.name, 0o644)
        try:
            _mount(file.name, os.path.realpath("/etc/resolv.conf", strict=True), _BIND)
        finally:
            os.unlink(file.name)
    for path in _ASIDE:
        if os.path.exists(path):
            _mount("/dev/null", path, _BIND)


def _unshare(flags: int) -> None:
    if _libc.unshare(flags) != 0:
        number = ctypes.get_errno()
        why = _HINTS.get(number, os.strerror(number).lower())
        raise NotInside(number, f"no network of its own can be had: {why}")


def _mount(source: str | None, target: str, flags: int) -> None:
    given = None if source is None else source.encode()
    if _libc.mount(given, target.encode(), None, flags, None) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"cannot mount over {target}: {os.strerror(number).lower()}")
