"""The program nft and this kernel, in a network that has only `lo`."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys

import pytest

from byway.system.firewall import nft
from byway.system.firewall.table import Chain, FirewallError, Hook, Table

pytestmark = [
    pytest.mark.usefixtures("nowhere"),
    pytest.mark.skipif(shutil.which("nft") is None, reason="nft is not installed"),
]

HOOK = Hook("filter", "output", -300)
TABLE = Table("byway_test", "one", (Chain("c", ("meta mark 5 accept",), HOOK),))
OTHER = Table("byway_test", "two", (Chain("d", ("meta mark 6 accept",), HOOK),))


def ruleset() -> str:
    done = subprocess.run(["nft", "list", "ruleset"], capture_output=True, text=True, check=True)
    return done.stdout


def test_a_table_takes_the_place_of_the_one_before() -> None:
    nft.load(TABLE.script())
    nft.load(OTHER.script())
    assert "chain d" in ruleset()
    assert "chain c" not in ruleset()
    assert nft.tag_of("byway_test") == "byway: two"
    nft.remove("byway_test")
    nft.remove("byway_test")
    assert (ruleset(), nft.tag_of("byway_test")) == ("", None)


def test_a_foreign_table_is_left_alone() -> None:
    subprocess.run(["nft", "add", "table", "inet", "byway_test"], check=True)
    before = ruleset()
    with pytest.raises(FirewallError, match="is not Byway's"):
        nft.remove("byway_test")
    assert ruleset() == before


def test_all_or_nothing() -> None:
    bad = Table("byway_test", "bad", (*TABLE.chains, Chain("e", ("jump nowhere",))))
    with pytest.raises(FirewallError, match=r"nft: .*"):
        nft.load(bad.script())
    assert ruleset() == ""


def test_this_kernel_has_what_is_needed() -> None:
    assert nft.missing() == []
    assert ruleset() == ""


def test_a_held_table_is_nobody_elses_and_goes() -> None:
    held = nft.Held(TABLE)
    try:
        subprocess.run(["nft", "flush", "ruleset"], check=True)
        assert "chain c" in ruleset()
        held.replace(OTHER)
        assert "chain d" in ruleset()
        with pytest.raises(FirewallError):
            held.replace(Table("byway_test", "bad", (Chain("e", ("jump nowhere",)),)))
        assert "chain d" in ruleset()
    finally:
        held.close()
    held.close()
    assert ruleset() == ""


HOLDS = """
import sys, signal
from byway.system.firewall import nft
from byway.system.firewall.table import Chain, Hook, Table
held = nft.Held(Table("byway_test", "one", (Chain("c", (), Hook("filter", "output", 0)),)))
print("held", flush=True)
signal.pause()
"""


def test_a_held_table_goes_with_a_process_that_is_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", HOLDS], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        assert "byway_test" in ruleset()
        os.kill(holder.pid, signal.SIGKILL)
    while "byway_test" in ruleset():  # nft sees the end of its pipe, and ends; the test has a limit
        pass


def test_without_nft(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    with pytest.raises(FirewallError, match="not installed"):
        nft.load(TABLE.script())
