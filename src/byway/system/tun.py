"""A virtual NIC of this process: made here, and gone with it."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import struct
from dataclasses import dataclass

PLACE = "/dev/net/tun"
MAX_NAME = 15  # characters (IFNAMSIZ, without its end)

_TUNSETIFF = 0x400454CA
_TUNSETOFFLOAD = 0x400454D0
_IFF_TUN, _IFF_NO_PI, _IFF_VNET_HDR = 0x0001, 0x1000, 0x4000
_CHECKSUMS, _TCP4, _TCP6, _UDP4, _UDP6 = 0x01, 0x02, 0x04, 0x20, 0x40
_WHY = {
    errno.ENOENT: f"there is no {PLACE}: the kernel's module tun is not loaded",
    errno.ENXIO: f"{PLACE} has no driver: the kernel's module tun is not loaded",
    errno.ENODEV: f"{PLACE} has no driver: the kernel's module tun is not loaded",
    errno.EACCES: f"{PLACE} may not be opened by this user",
    errno.EPERM: "a TUN needs root, or the capability CAP_NET_ADMIN",
    errno.EBUSY: "another program has a TUN of this name",
    errno.EINVAL: "an interface of another kind has this name",
}


@dataclass(frozen=True, slots=True)
class Offloads:
    """What the kernel does in place of us: finish checksums, join and cut TCP, join and cut UDP."""

    checksums: bool = False
    tcp: bool = False
    udp: bool = False

    @property
    def on(self) -> tuple[bool, bool, bool]:
        """All three."""
        return self.checksums, self.tcp, self.udp


class Tun:
    """An open TUN. `fd` does not block."""

    def __init__(self, name: str, fd: int, offloads: Offloads) -> None:
        self.name = name
        self.fd = fd
        self.offloads = offloads

    def close(self) -> None:
        """Give it up; the device goes once nobody has it open. Idempotent."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)


def open_tun(name: str = "") -> Tun:
    """Make a TUN of this name (none: the kernel chooses). Raises OSError that says why."""
    try:
        fd = os.open(PLACE, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise _explained(error, name) from error
    try:
        flags = _IFF_TUN | _IFF_NO_PI | _IFF_VNET_HDR
        asked = struct.pack("16sH22x", name.encode(), flags)
        got = fcntl.ioctl(fd, _TUNSETIFF, asked)
        made = got[:16].rstrip(b"\0").decode()
        return Tun(made, fd, _probed(fd))
    except OSError as error:
        os.close(fd)
        raise _explained(error, name) from error


def _probed(fd: int) -> Offloads:
    """Turn on what the kernel has, one by one: what it does not know, it refuses with all else."""
    on, found = 0, []
    for bits in (_CHECKSUMS, _TCP4 | _TCP6, _UDP4 | _UDP6):
        with contextlib.suppress(OSError):
            fcntl.ioctl(fd, _TUNSETOFFLOAD, on | bits)
            on |= bits
        found.append(bool(on & bits))
    return Offloads(*found)


def _explained(error: OSError, name: str) -> OSError:
    number = error.errno or 0
    why = _WHY.get(number, error.strerror or str(error))
    return OSError(number, f"cannot make the TUN {name or '(any)'}: {why}")
