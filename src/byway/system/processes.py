"""Whose socket is it? Asked of the kernel: sock_diag(7) tells the socket, /proc its process.

Linux only, and only for programs on this host. Nothing is asked unless a rule wants to know.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct

from byway.flow import Network, Process, Target

_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_REQUEST_DUMP = 0x1 | 0x300
_DONE, _ERROR = 3, 2
_BYTECODE = 1  # INET_DIAG_REQ_BYTECODE
_S_GE, _S_LE = 2, 3
_HEADER = struct.Struct("=IHHII")
_MESSAGE = struct.Struct("=BBBB2s2s16s16sI8sIIIII")  # inet_diag_msg
_MAPPED = bytes(10) + b"\xff\xff"
_MOST_FILES = 100_000  # file descriptors that one search looks at


NOBODY = Process()


def owner_of(source: Target, network: Network) -> Process:
    """The process whose socket has this local address; `NOBODY` when there is none to be seen.

    Takes milliseconds, more on hosts with many open files: ask from a thread.
    """
    try:
        found = _socket(source, network)
    except OSError:
        return NOBODY
    if found is None:
        return NOBODY
    uid, inode = found
    process = _process(inode)
    return Process(uid=uid) if process is None else _described(process, uid)


def is_ours(source: Target) -> bool:
    """Whether a socket of this process has this local address, which must be one of this host.

    Takes milliseconds, as `owner_of` does.
    """
    packed = source.packed
    if packed is None:
        return False
    ours: set[int] | None = None
    families = [socket.AF_INET, socket.AF_INET6] if len(packed) == 4 else [socket.AF_INET6]
    for family in families:
        for kind in (socket.IPPROTO_TCP, socket.IPPROTO_UDP):
            for address, _, inode in _dump(family, kind, source.port):
                if any(address) and address not in (packed, _MAPPED + packed):
                    continue
                ours = _own_inodes() if ours is None else ours
                if inode in ours:
                    return True
    return False


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
    except OSError:
        raise LookupError(f"there is no process {number}") from None
    return _described(str(number), uid)


def _socket(source: Target, network: Network) -> tuple[int, int] | None:
    """The user and the inode of the socket with this local address."""
    packed = source.packed
    if packed is None:
        return None
    kind = socket.IPPROTO_TCP if network is Network.TCP else socket.IPPROTO_UDP
    families = [socket.AF_INET, socket.AF_INET6] if len(packed) == 4 else [socket.AF_INET6]
    for family in families:
        for address, uid, inode in _dump(family, kind, source.port):
            anywhere = not any(address) and _is_loopback(packed)
            if inode and (anywhere or address in (packed, _MAPPED + packed)):
                return uid, inode
    return None


def _is_loopback(packed: bytes) -> bool:
    """Only then a socket bound to no address is surely meant: others may be another host's."""
    return packed[0] == 127 if len(packed) == 4 else packed == bytes(15) + b"\x01"


def _dump(family: int, kind: int, port: int) -> list[tuple[bytes, int, int]]:
    """Local address, user and inode of every socket of a family with this local port."""
    # Two comparisons of two words each; whoever fails one jumps behind the end.
    code = struct.pack("=BBHHH", _S_GE, 8, 20, 0, port) + struct.pack(
        "=BBHHH", _S_LE, 8, 12, 0, port
    )
    states = 0xFFFFFFFF
    body = struct.pack("=BBBBI48s", family, kind, 0, 0, states, bytes(48))
    body += struct.pack("=HH", 4 + len(code), _BYTECODE) + code
    head = _HEADER.pack(_HEADER.size + len(body), _SOCK_DIAG_BY_FAMILY, _REQUEST_DUMP, 1, 0)
    found: list[tuple[bytes, int, int]] = []
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG) as netlink:
        netlink.settimeout(1)
        netlink.send(head + body)
        while True:
            data = netlink.recv(65536)
            while len(data) >= _HEADER.size:
                length, answer, _, _, _ = _HEADER.unpack_from(data)
                if answer in (_DONE, _ERROR) or length < _HEADER.size:
                    return found
                if length >= _HEADER.size + _MESSAGE.size:
                    fields = _MESSAGE.unpack_from(data, _HEADER.size)
                    if int.from_bytes(fields[4]) == port:
                        address = fields[6][: 4 if fields[0] == socket.AF_INET else 16]
                        found.append((address, fields[13], fields[14]))
                data = data[(length + 3) & ~3 :]


def _process(inode: int) -> str | None:
    """The number of a process that has this socket open."""
    wanted, looked = f"socket:[{inode}]", 0
    for process in sorted(filter(str.isdigit, os.listdir("/proc")), key=int, reverse=True):
        try:
            with os.scandir(f"/proc/{process}/fd") as files:
                for file in files:
                    looked += 1
                    if os.readlink(file.path) == wanted:
                        return process
        except OSError:
            continue  # gone, or another user's
        if looked > _MOST_FILES:
            return None
    return None


def _described(process: str, uid: int) -> Process:
    path = cgroup = ""
    with contextlib.suppress(OSError):
        path = os.readlink(f"/proc/{process}/exe").removesuffix(" (deleted)")
    with contextlib.suppress(OSError):
        with open(f"/proc/{process}/cgroup", encoding="utf-8", errors="replace") as file:
            lines = [line.rstrip("\n").split(":", 2) for line in file]
        cgroup = next((line[2] for line in lines if line[0] == "0"), "")
    return Process(os.path.basename(path), path, uid, cgroup)
