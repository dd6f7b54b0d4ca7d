"""Where the demo plays: a home behind a wall, and beyond it three sites and a rented server."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from subprocess import CompletedProcess, TimeoutExpired

from byway.lab.host import Host, Router
from byway.lab.lab import Lab
from byway.lab.process import Process
from byway.lab.services import serve_web
from byway.lab.telling import Teller
from byway.lab.wall import Wall

DROPPED, FORGED, RESET, FREE = "dropped.example", "forged.example", "reset.example", "free.example"
WALLED = (DROPPED, FORGED, RESET)
USER, PASSWORD = "ann", "correct-horse"
PORT = 1080

PICTURE = f"""\
                          ║                        ┌── {DROPPED}   its address is dropped
 laptop ── home router ── ║ ── (20 ms) ── internet ┼── {FORGED}    its name is answered with a lie
              NAT        wall                      ├── {RESET}     its name in TLS or HTTP is reset
                          ║                        ├── {FREE}      of no interest to the wall
                          ║                        └── vps            yours, where Byway runs
"""

CONFIG = f"""\
inbounds:
  door:
    type: mixed
    listen: [0.0.0.0:{PORT}, "[::]:{PORT}"]
    users: [{{name: {USER}, password: {PASSWORD}}}]
"""


@dataclass
class Stage:
    """The cast of the demo, and how its commands are run and told."""

    tell: Teller
    lab: Lab
    laptop: Host
    home: Router
    wall: Wall
    vps: Host
    sites: dict[str, Host]

    def run(
        self, argv: Sequence[str], env: Mapping[str, str] | None = None, timeout: float = 20
    ) -> CompletedProcess[str]:
        """Run a command on the laptop, in front of the reader."""
        self.tell.command("laptop", argv, env)
        try:
            done = self.laptop.run(argv, env=env, timeout=timeout)
        except TimeoutExpired:
            done = CompletedProcess(list(argv), -1, "", f"no end in {timeout:g} s")
        self.tell.output(done.stdout + done.stderr)
        return done

    def proxy(self, scheme: str) -> str:
        """The VPS's proxy, as a URL that curl understands."""
        return f"{scheme}://{USER}:{PASSWORD}@{self.vps.address4}:{PORT}"

    def start_byway(self, host: Host, config: str) -> Process:
        """Run the real `byway run` with this config on a host."""
        file = host.space.directory / "byway.yaml"
        file.write_text(config)
        file.chmod(0o600)
        process = host.start([sys.executable, "-m", "byway", "run", "-c", str(file)])
        host.wait_listening(process, PORT)
        return process


@contextmanager
def staged(tell: Teller) -> Iterator[Stage]:
    """Build the stage, and clear it away at the end. Raises Unavailable."""
    with Lab() as lab:
        laptop, home = lab.host("laptop"), lab.router("home", nat=True)
        wall, internet = lab.wall(), lab.router("internet")
        vps, dns = lab.host("vps"), lab.host("dns")
        lab.lan("flat", laptop, home)
        lab.link(home, wall)
        lab.link(wall, internet, delay=0.01)
        sites = {name: lab.host(name.partition(".")[0]) for name in (*WALLED, FREE)}
        for host in (vps, dns, *sites.values()):
            lab.link(internet, host)
        lab.resolver(dns)
        for name, site in sites.items():
            serve_web(site, name)
        wall.drop(sites[DROPPED])
        wall.forge(FORGED)
        wall.reset(RESET)
        lab.settle()
        yield Stage(tell, lab, laptop, home, wall, vps, sites)
