"""What a Byway that was killed left, and whose it is."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time

import pytest

from byway.system.firewall import left, nft, routes
from byway.system.firewall.table import FirewallError, Table

pytestmark = [
    pytest.mark.usefixtures("nowhere"),
    pytest.mark.skipif(shutil.which("nft") is None, reason="nft is not installed"),
    pytest.mark.skipif(shutil.which("ip") is None, reason="ip is not installed"),
]


def ended() -> int:
    """The number of a process that is gone."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


def shown_rules(family: str) -> str:
    argv = ["ip", f"-{family}", "rule", "show"]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


def test_tables_of_the_dead_are_found_and_removed() -> None:
    nft.load(Table("byway_strict", f"nothing leaves (pid {ended()})", ()).script())
    guarded = routes.Diverted("46")
    assert [name for name, _ in left.tables()] == ["byway_strict"]
    (said,) = left.remove()
    assert said.startswith("nftables table byway_strict: nothing leaves")
    assert list(left.tables()) == []
    for family in ("-4", "-6"):
        shown = subprocess.run(["ip", family, "rule"], capture_output=True, text=True, check=True)
        assert "0x2d8" not in shown.stdout
    assert left.remove() == []
    guarded.close()


def test_a_running_ones_are_left_alone() -> None:
    table = Table("byway", f"what is diverted (pid {os.getppid()})", ())
    nft.load(table.script())
    assert list(left.tables()) == []
    with pytest.raises(FirewallError, match=f"another Byway \\(pid {os.getppid()}\\)"):
        left.make_room("byway")
    nft.load(Table("byway", left.about("ours"), ()).script())
    left.make_room("byway")
    assert nft.tag_of("byway") is None


def test_routes_of_diverted_packets_come_and_go() -> None:
    before = [shown_rules(family) for family in "46"]
    first = routes.Diverted("46")
    again = routes.Diverted("46")
    shown = [shown_rules(family) for family in "46"]
    assert all(text.count("0x2d8") == 1 for text in shown)
    again.close()
    again.close()
    first.close()
    routes.undo("46")
    assert [shown_rules(family) for family in "46"] == before


def test_routes_of_others_stay() -> None:
    foreign = ["ip", "route", "add", "unreachable", "192.0.2.0/24", "table", "728"]
    subprocess.run(foreign, check=True)
    routes.Diverted("4").close()
    show = ["ip", "route", "show", "table", "728"]
    shown = subprocess.run(show, capture_output=True, text=True, check=True).stdout
    assert shown.split() == ["unreachable", "192.0.2.0/24"]


def test_routes_go_with_a_process_that_is_killed() -> None:
    before = [shown_rules(family) for family in "46"]
    program = (
        "import time; from byway.system.firewall import routes;"
        " kept = routes.Diverted('46'); print('up', flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        assert [shown_rules(family) for family in "46"] != before
        process.kill()
    while [shown_rules(family) for family in "46"] != before:
        time.sleep(0.01)
