"""What /proc says."""

from __future__ import annotations

import os
import subprocess

from measure import accounting


def test_machine_time_adds_up() -> None:
    tick = os.sysconf("SC_CLK_TCK")
    time = accounting.parse_machine_time("cpu  100 20 300 9999 50 1 40 7 0 0")
    assert time.tasks == 420 / tick
    assert time.interrupts == 41 / tick
    assert time.busy == 461 / tick
    assert time.steal == 7 / tick


def test_sizes_are_read_by_key() -> None:
    status = "Name:\tx\nVmHWM:\t   2048 kB\nVmRSS:\t   1024 kB\n"
    assert accounting.kib(status, "VmRSS") == 1024
    assert accounting.kib(status, "VmHWM") == 2048
    assert accounting.kib(status, "Pss") == 0


def test_a_tree_holds_the_children() -> None:
    child = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
    try:
        assert child.pid in accounting.tree(os.getpid())
        assert accounting.tree(child.pid) == [child.pid]
        assert accounting.memory(child.pid).rss > 0
        assert accounting.cpu_seconds(os.getpid()) > 0
    finally:
        child.communicate()
