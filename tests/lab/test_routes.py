"""Routes to a virtual NIC: set up and undone, with real curl, and killed at random instants."""

from __future__ import annotations

import os
import random
import re
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from byway.lab import Host, Lab, Router, serve_web
from byway.lab.process import Process
from byway.system.plan import FOLDER
from tests.interop.programs import until
from tests.lab.test_diverted import FAMILIES, address, curl, place

pytestmark = pytest.mark.lab

KILLS = int(os.environ.get("BYWAY_KILLS", "4"))
CONFIG = """
log: {format: json}
inbounds:
  tun: {type: tun, name: byway0, auto_route: true, way: WAY, exclude: [OTHER/32]}
rules:
- {domain: nowhere.example, to: reject}
- otherwise: direct
"""


@dataclass
class Ground:
    """laptop - home (a LAN with a printer) - internet - site, other."""

    laptop: Host
    printer: Host
    home: Router
    site: Host
    other: Host
    config: Path

    def begin(self) -> Process:
        return self.laptop.start(
            ["byway", "run", "-c", str(self.config)], ready='"message": ?"ready"'
        )

    def now(self) -> str:
        """Links, addresses, routes and rules of the laptop."""
        asked = ["link", "address", "rule", "-6 rule", "route show table all"]
        asked.append("-6 route show table all")
        said = [self.laptop.run(["ip", *words.split()]).stdout for words in asked]
        said.append(self.laptop.run(["nft", "list", "ruleset"]).stdout)
        return "\n".join(said)


@pytest.fixture(scope="module", params=["stack", "redirect"])
def ground(request: pytest.FixtureRequest, possible: None) -> Iterator[Ground]:
    with Lab() as lab:
        laptop, printer = lab.host("laptop"), lab.host("printer")
        home, internet = lab.router("home", nat=True), lab.router("internet")
        site, other = lab.host("site"), lab.host("other")
        lab.lan("flat", laptop, printer, home)
        for host in (home, site, other):
            lab.link(internet, host)
        lab.resolver(internet)
        serve_web(site, "site.example", title="The Site")
        serve_web(other, "other.example", title="The Other")
        serve_web(printer, "printer.example", title="The Printer")
        lab.settle()
        config = lab.directory / "byway.yaml"
        config.write_text(CONFIG.replace("OTHER", other.address4).replace("WAY", request.param))
        yield Ground(laptop, printer, home, site, other, config)


def flows(byway: Process) -> str:
    return "\n".join(line for line in byway.output().splitlines() if '"flow"' in line)


def test_what_goes_by_the_nic_and_what_does_not(ground: Ground) -> None:
    before = ground.now()
    byway = ground.begin()
    try:
        for family in FAMILIES:
            code, page = curl(ground.laptop, f"http://{place(ground.site, family, 80)}/")
            assert (code, "The Site" in page) == (0, True), page
            byway.wait_for(re.escape(f'"{place(ground.site, family, 80)}"'))
            code, page = curl(ground.laptop, f"http://{place(ground.printer, family, 80)}/")
            assert (code, "The Printer" in page) == (0, True), page
        code, page = curl(ground.laptop, f"http://{place(ground.other, '-4', 80)}/")
        assert (code, "The Other" in page) == (0, True), page
        assert address(ground.printer, "-4") not in flows(byway)
        assert address(ground.other, "-4") not in flows(byway)
        # Who comes from outside is answered by the way on which they came.
        ping = ["ping", "-c", "1", "-W", "5", ground.laptop.address4]
        assert ground.home.run(ping).returncode == 0
    finally:
        assert byway.stop() == 0
    assert ground.now() == before


def test_killed_at_any_instant_it_leaves_nothing(ground: Ground) -> None:
    before, chance = ground.now(), random.Random(5)
    for _ in range(KILLS):
        byway = ground.laptop.start(["byway", "run", "-c", str(ground.config)])
        time.sleep(chance.uniform(0.2, 2.0))  # an instant, whatever it does then
        byway.signal(signal.SIGKILL)
        byway.wait()
        until(lambda: ground.now() == before, what="what was there before")


def test_what_a_guard_could_not_undo_the_next_start_does(ground: Ground) -> None:
    before = ground.now()
    byway = ground.begin()
    ground.laptop.run(["cp", "-a", FOLDER, f"{FOLDER}.kept"], check=True)
    byway.signal(signal.SIGKILL)
    byway.wait()
    until(lambda: ground.now() == before, what="what was there before")
    # As if there had been no guard: the journal, and a rule that it tells of.
    ground.laptop.run(["cp", "-a", f"{FOLDER}.kept/.", FOLDER], check=True)
    words = "rule add priority 9003 lookup main suppress_prefixlength 0 protocol 215"
    ground.laptop.run(["ip", *words.split()], check=True)
    assert ground.begin().stop() == 0
    assert ground.now() == before
    assert ground.laptop.run(["ls", FOLDER]).stdout == ""
    ground.laptop.run(["rm", "-r", f"{FOLDER}.kept"], check=True)
