"""What the machine and the processes have used, read from /proc."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class MachineTime:
    """Seconds of all processors since boot."""

    tasks: float
    """In processes and their system calls."""
    interrupts: float
    """In interrupts, hard and soft: network work that no process is charged for."""
    steal: float
    """Taken away by the host of this virtual machine."""

    @property
    def busy(self) -> float:
        return self.tasks + self.interrupts


@dataclass(frozen=True, slots=True)
class Memory:
    """Of a tree of processes, in KiB. `peak` is the sum of each one's own peak."""

    rss: int
    pss: int
    peak: int
    processes: int


def machine_time() -> MachineTime:
    """proc_stat(5), the first line."""
    return parse_machine_time(Path("/proc/stat").read_text().splitlines()[0])


def parse_machine_time(line: str) -> MachineTime:
    """user nice system idle iowait irq softirq steal ..., in ticks."""
    user, nice, system, _idle, _wait, irq, softirq, steal = (int(x) for x in line.split()[1:9])
    return MachineTime((user + nice + system) / _TICK, (irq + softirq) / _TICK, steal / _TICK)


def tree(root: int) -> list[int]:
    """A process and all that descend from it."""
    children: defaultdict[int, list[int]] = defaultdict(list)
    for entry in os.listdir("/proc"):
        if entry.isdigit() and (fields := _stat(int(entry))):
            children[int(fields[1])].append(int(entry))
    found, ahead = [], [root]
    while ahead:
        pid = ahead.pop()
        found.append(pid)
        ahead += children[pid]
    return found


def cpu_seconds(root: int) -> float:
    """User and system time of the tree, with that of children already waited for."""
    ticks = 0
    for pid in tree(root):
        if fields := _stat(pid):
            ticks += sum(int(field) for field in fields[11:15])
    return ticks / _TICK


def memory(root: int) -> Memory:
    """Of the tree, as it is now."""
    rss = pss = peak = 0
    pids = tree(root)
    for pid in pids:
        try:
            status = Path(f"/proc/{pid}/status").read_text()
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except OSError:
            continue
        rss += kib(status, "VmRSS")
        peak += kib(status, "VmHWM")
        pss += kib(rollup, "Pss")
    return Memory(rss, pss, peak, len(pids))


def total(parts: Iterable[Memory]) -> Memory:
    """Of several trees together."""
    columns = zip(*((part.rss, part.pss, part.peak, part.processes) for part in parts), strict=True)
    return Memory(*(sum(column) for column in columns))


def kib(text: str, key: str) -> int:
    """The figure of a line `key:   123 kB`, or 0."""
    for line in text.splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1])
    return 0


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat from the state on; None when the process is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # The name before it stands in parentheses and may contain anything.
    return text[text.rindex(")") + 2 :].split()
