"""The ground of the lab's tests: one street, built once per file, or a visible skip."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import pytest

from byway.lab import Host, Lab, Router, Wall, missing, serve_web


@cache
def reason() -> str:
    return missing()


@pytest.fixture(scope="session")
def possible() -> None:
    if reason():
        pytest.skip(reason())


@dataclass
class Street:
    """laptop - home (NAT) - wall - (a long cable) - internet - site, banned, dns."""

    lab: Lab
    laptop: Host
    home: Router
    wall: Wall
    internet: Router
    site: Host
    banned: Host
    dns: Host

    def curl(self, *words: str, timeout: float = 20) -> tuple[int, str, str]:
        done = self.laptop.run(["curl", "-sS", "-m", "10", *words], timeout=timeout)
        return done.returncode, done.stdout, done.stderr


@pytest.fixture(scope="module")
def street(possible: None) -> Iterator[Street]:
    with Lab() as lab:
        laptop, home = lab.host("laptop"), lab.router("home", nat=True)
        wall, internet = lab.wall(), lab.router("internet")
        site, banned, dns = lab.host("site"), lab.host("banned"), lab.host("dns")
        lab.lan("flat", laptop, home)
        lab.link(home, wall)
        lab.link(wall, internet, delay=0.02)
        for host in (site, banned, dns):
            lab.link(internet, host)
        lab.resolver(dns)
        serve_web(site, "free.example", "reset.example", "forged.example", title="The Free Site")
        serve_web(banned, "dropped.example")
        wall.drop(banned)
        wall.forge("forged.example")
        wall.reset("reset.example")
        lab.settle()
        yield Street(lab, laptop, home, wall, internet, site, banned, dns)
