"""The ground: names of runs, and that a site leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import time

import pytest

from measure.processes import Process
from measure.site import FAR_ADDRESS, Site, congestion_control, inside, leftovers, output


def test_leftovers_are_told_by_their_names() -> None:
    listing = "byway-bench-41-near (id: 3)\nother\nbyway-bench-41-far\nbyway-bench-x-near\n\n"
    assert leftovers(listing) == [("byway-bench-41-near", 41), ("byway-bench-41-far", 41)]


@pytest.mark.parametrize(("allowed", "control"), [
    ("reno cubic\n", "cubic"), ("reno bbr\n", "reno"), ("bbr dctcp\n", "bbr"), ("\n", "reno"),
])  # fmt: skip
def test_a_site_takes_a_congestion_control_that_is_allowed(allowed: str, control: str) -> None:
    assert congestion_control(allowed) == control


def can_build_sites() -> bool:
    if os.geteuid() != 0:
        return False
    probe = ["unshare", "-n", "true"]
    return subprocess.run(probe, capture_output=True, check=False).returncode == 0


def interrupted_in_the_middle(site: Site, processes: list[Process]) -> None:
    with site:
        route = output([*inside(site.near), "ip", "route", "get", FAR_ADDRESS])
        assert "dev eth0" in route
        control = "net.ipv4.tcp_congestion_control"
        for host in (site.near, site.far):
            assert output([*inside(host), "sysctl", "-n", control]).strip() == site.control
        processes.append(Process(site.near, ["sleep", "60"], log=None))
        while str(processes[0].popen.pid) not in output(["ip", "netns", "pids", site.near]).split():
            time.sleep(0.01)  # until it is in there, and no command of ours that is on its way
        raise KeyboardInterrupt


@pytest.mark.lab
@pytest.mark.skipif(not can_build_sites(), reason="needs root and network namespaces")
def test_site_joins_two_hosts_and_goes_without_a_trace() -> None:
    site, processes = Site(), list[Process]()
    with pytest.raises(KeyboardInterrupt):
        interrupted_in_the_middle(site, processes)
    assert [process.popen.wait(10) for process in processes] == [-signal.SIGKILL]
    assert site.near not in output(["ip", "netns", "list"])
    assert not site.folder.exists()
