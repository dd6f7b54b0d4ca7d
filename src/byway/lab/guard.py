"""The lab's undertaker: ends everything of one run, and works as a program of its own.

Started as `python -I -S guard.py RUN_DIRECTORY` it waits for the end of its input, which comes when
the lab closes, and also when the lab's process is killed, for then the kernel closes the pipe. So a
lab is cleaned up by one and the same road however it ended. Only the standard library is used.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import time
from pathlib import Path

PATIENCE = 10.0  # seconds a sweep goes on before it gives up on a process that will not die


def members(run: str) -> set[int]:
    """The ids of the processes that live in the namespaces of the run with this directory name.

    Every host of a lab has a file of the run's directory mounted in its private mount namespace,
    so a process's mount table tells where it belongs, whatever it did to its name, environment,
    session or parent. Those that hid their mount table by a chroot are found by their network.
    """
    mine = os.getpid()
    own_network = _network(mine)
    found: set[int] = set()
    others: dict[int, str] = {}
    networks: set[str] = set()
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) == mine:
            continue
        pid = int(entry)
        network = _network(pid)
        try:
            tagged = run in Path(f"/proc/{pid}/mountinfo").read_text(errors="replace")
        except OSError:
            continue
        if tagged:
            found.add(pid)
            if network and network != own_network:
                networks.add(network)
        elif network:
            others[pid] = network
    return found | {pid for pid, network in others.items() if network in networks}


def sweep(directory: Path) -> bool:
    """End every process of the run and remove its directory. True when nothing is left."""
    until = time.monotonic() + PATIENCE
    while left := members(directory.name):
        for pid in left:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        if time.monotonic() > until:
            return False
        time.sleep(0.005)
    shutil.rmtree(directory, ignore_errors=True)
    return True


def _network(pid: int) -> str:
    try:
        return os.readlink(f"/proc/{pid}/ns/net")
    except OSError:
        return ""


def main() -> int:
    """Wait for the end of the input, then sweep."""
    directory = Path(sys.argv[1])
    print("ready", flush=True)
    while os.read(0, 4096):
        pass
    return 0 if sweep(directory) else 1


if __name__ == "__main__":
    sys.exit(main())
