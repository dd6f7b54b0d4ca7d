"""Where the demo plays: a home behind a wall, and beyond it three sites and a rented server."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess, TimeoutExpired

from byway.lab.host import Host, Router
from byway.lab.lab import Lab
from byway.lab.process import Process
from byway.lab.services import serve_web
from byway.lab.telling import Teller
from byway.lab.wall import Wall

DROPPED, FORGED, RESET, FREE = "dropped.example", "forged.example", "reset.example", "free.example"
WALLED = (DROPPED, FORGED, RESET)
ADS = "ads.example"
USER, PASSWORD = "ann", "correct-horse"
PORT = 1080
HOME = f"socks5h://127.0.0.1:{PORT}"  # the laptop's own Byway, once it runs one
SITE, SITE_PORT = "garden.example", 8080  # the web site that the VPS has beside all else

PICTURE = f"""\
                          ║                        ┌── {DROPPED}   its address is dropped
 laptop ── home router ── ║ ── (20 ms) ── internet ┼── {FORGED}    its name is answered with a lie
 printer ─┘   NAT        wall                      ├── {RESET}     its name in TLS or HTTP is reset
                          ║                        ├── {FREE}      of no interest to the wall
                          ║                        ├── {ADS}       advertisements
                          ║                        └── vps            yours, where Byway runs
"""

BYWAY = (sys.executable, "-m", "byway")

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
    printer: Host
    sites: dict[str, Host]
    at_home: Process | None = None
    """The laptop's own Byway."""

    def run(
        self,
        argv: Sequence[str],
        env: Mapping[str, str] | None = None,
        timeout: float = 20,
        host: Host | None = None,
    ) -> CompletedProcess[str]:
        """Run a command on the laptop, or another host, in front of the reader."""
        where = host or self.laptop
        self.tell.command(where.name, argv, env)
        try:
            done = where.run(argv, env=env, timeout=timeout)
        except TimeoutExpired:
            done = CompletedProcess(list(argv), -1, "", f"no end in {timeout:g} s")
        self.tell.output(done.stdout + done.stderr)
        return done

    def proxy(self, scheme: str) -> str:
        """The VPS's proxy, as a URL that curl understands."""
        return f"{scheme}://{USER}:{PASSWORD}@{self.vps.address4}:{PORT}"

    def byway(self, host: Host, name: str, words: Sequence[str]) -> CompletedProcess[str]:
        """Run a verb of Byway with a config that was started as `name`, in front of the reader."""
        self.tell.command(host.name, ["byway", *words, "-c", f"{name}.yaml"])
        done = host.run([*BYWAY, *words, "-c", str(_config(host, name))])
        self.tell.output(done.stdout + done.stderr)
        return done

    def write(self, host: Host, name: str, config: str) -> Path:
        """Write a config that `byway` finds by this name."""
        file = _config(host, name)
        file.write_text(config)
        file.chmod(0o600)
        return file

    def start_byway(
        self, host: Host, config: str, name: str = "byway", port: int = PORT
    ) -> Process:
        """Run the real `byway run` with this config on a host, until it listens on the port."""
        file = self.write(host, name, config)
        process = host.start([*BYWAY, "run", "-c", str(file)])
        host.wait_listening(process, port)
        return process

    def start_at_home(self, link: str) -> None:
        """Run `byway run LINK` on the laptop; the one before it ends."""
        if self.at_home:
            self.at_home.stop()
        self.at_home = self.laptop.start([*BYWAY, "run", link])
        self.laptop.wait_listening(self.at_home, PORT)


def _config(host: Host, name: str) -> Path:
    return host.space.directory / f"{name}.yaml"


@contextmanager
def staged(tell: Teller) -> Iterator[Stage]:
    """Build the stage, and clear it away at the end. Raises Unavailable."""
    with Lab() as lab:
        laptop, home = lab.host("laptop"), lab.router("home", nat=True)
        printer = lab.host("printer")
        wall, internet = lab.wall(), lab.router("internet")
        vps, dns = lab.host("vps"), lab.host("dns")
        lab.lan("flat", laptop, printer, home)
        lab.link(home, wall)
        lab.link(wall, internet, delay=0.01)
        sites = {name: lab.host(name.partition(".")[0]) for name in (*WALLED, FREE, ADS)}
        for host in (vps, dns, *sites.values()):
            lab.link(internet, host)
        lab.resolver(dns)
        for name, site in sites.items():
            serve_web(site, name)
        serve_web(printer, "printer")
        serve_web(vps, SITE, port=SITE_PORT, tls_port=SITE_PORT + 1)
        wall.drop(sites[DROPPED])
        wall.forge(FORGED)
        wall.reset(RESET)
        lab.settle()
        yield Stage(tell, lab, laptop, home, wall, vps, printer, sites)
