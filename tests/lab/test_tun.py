"""A virtual NIC with real programs: TCP by the userspace stack, UDP, refusals, and its end."""

from __future__ import annotations

import hashlib
import os
import re
import select
import signal
import socket
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from byway.lab import Host, Lab, serve_echo, serve_web
from byway.lab.process import Process
from tests.lab.test_diverted import FAMILIES, address, ask, curl, large, place

pytestmark = pytest.mark.lab

CONFIG = """
log: {format: json}
inbounds:
  tun: {type: tun, name: byway0, answer: ANSWER, mtu: MTU}
rules:
- {port: 81, to: reject}
- otherwise: direct
"""
BULK = 8 * 1024 * 1024


@dataclass
class Ground:
    """laptop (a program, and Byway's NIC) - internet - site, other."""

    laptop: Host
    site: Host
    other: Host
    byway: Process
    held: bool


def routed(laptop: Host, *targets: Host) -> None:
    """Route what is for these hosts by the NIC, but for what Byway sends."""
    for family in FAMILIES:
        rules = ["fwmark 0x2d7 lookup main prio 10"]
        rules += [f"to {address(target, family)} lookup 99 prio 20" for target in targets]
        for words in rules:
            laptop.run(["ip", family, "rule", "add", *words.split()], check=True)
        words = "route add default dev byway0 table 99"
        laptop.run(["ip", family, *words.split()], check=True)


@pytest.fixture(scope="module", params=[("at-once", 65535), ("after-dial", 1500)], ids=str)
def ground(request: pytest.FixtureRequest, possible: None) -> Iterator[Ground]:
    answer, mtu = request.param
    with Lab() as lab:
        laptop, internet = lab.host("laptop"), lab.router("internet")
        site, other = lab.host("site"), lab.host("other")
        for host in (laptop, site, other):
            lab.link(internet, host)
        lab.resolver(internet)
        serve_web(site, "site.example", title="The Site")
        for host in (site, other):
            for port in (7, 9):
                serve_echo(host, port)
        lab.settle()
        config = lab.directory / "byway.yaml"
        config.write_text(CONFIG.replace("ANSWER", answer).replace("MTU", str(mtu)))
        byway = laptop.start(["byway", "run", "-c", str(config)], ready="inbound.*tun")
        routed(laptop, site, other)
        yield Ground(laptop, site, other, byway, answer == "after-dial")


@pytest.mark.parametrize("family", FAMILIES)
def test_connections(ground: Ground, family: str) -> None:
    code, page = curl(ground.laptop, f"http://{place(ground.site, family, 80)}/")
    assert (code, "You have reached The Site" in page) == (0, True), page
    resolve = f"site.example:443:{address(ground.site, family)}"
    code, page = curl(ground.laptop, "--resolve", resolve, "https://site.example/")
    assert (code, "You have reached The Site" in page) == (0, True), page
    target = re.escape(place(ground.site, family, 443))
    ground.byway.wait_for(f'"inbound": ?"tun".*"target": ?"{target}"')


def echoed(host: str, port: int, size: int) -> tuple[str, str]:
    """What was sent and what came back, as digests; the end is said before all has come back."""
    payload = os.urandom(size)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as link:
        link.settimeout(30)
        link.connect((host, port))
        back = hashlib.sha256()
        link.setblocking(False)
        sent, ended = 0, False
        while True:
            readable, writable, _ = select.select([link], [] if ended else [link], [], 30)
            if not readable and not writable:
                return "", "nothing moves"
            if writable:
                sent += link.send(payload[sent : sent + 262_144])
                if sent == size:
                    link.shutdown(socket.SHUT_WR)
                    ended = True
            if readable:
                data = link.recv(262_144)
                if not data:
                    break
                back.update(data)
    return hashlib.sha256(payload).hexdigest(), back.hexdigest()


@pytest.mark.parametrize("family", FAMILIES)
def test_bytes_both_ways_at_once_and_a_half_close(ground: Ground, family: str) -> None:
    sent, back = ground.laptop.call(echoed, address(ground.site, family), 7, BULK)
    assert sent == back


def many(host: str, port: int, count: int) -> int:
    """So many short connections, one after the other; how many were echoed."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    good = 0
    for at in range(count):
        with socket.socket(family, socket.SOCK_STREAM) as link:
            link.settimeout(20)
            link.connect((host, port))
            link.sendall(b"%d" % at)
            good += link.recv(64) == b"%d" % at
    return good


@pytest.mark.parametrize("family", FAMILIES)
def test_many_short_connections(ground: Ground, family: str) -> None:
    assert ground.laptop.call(many, address(ground.site, family), 7, 300) == 300


@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_rejected_or_dead(ground: Ground, family: str) -> None:
    refused, _ = curl(ground.laptop, f"http://{place(ground.site, family, 81)}/")
    closed, _ = curl(ground.laptop, f"http://{place(ground.site, family, 82)}/")
    if ground.held:  # a program learns it while it connects
        assert (refused, closed) == (7, 7)
    else:  # the reset may come before curl has seen it open
        assert {refused, closed} <= {7, 52, 55, 56}


@pytest.mark.parametrize("family", FAMILIES)
def test_packets_are_answered_by_whom_they_were_sent_to(ground: Ground, family: str) -> None:
    hosts = [address(host, family) for host in (ground.site, ground.other)]
    found = ground.laptop.call(ask, 7, *hosts)
    assert found == [(f"{t} {host}".encode(), host, 7) for t in range(3) for host in hosts]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_large_packet(ground: Ground, family: str) -> None:
    if "1500" in ground.laptop.run(["ip", "link", "show", "byway0"]).stdout:
        pytest.skip("pieces of packets are not put together yet")
    assert ground.laptop.call(large, address(ground.site, family), 7, 20480) == 20480


def test_a_ping_is_not_answered_by_somebody_else(ground: Ground) -> None:
    done = ground.laptop.run(["ping", "-c", "1", "-W", "5", ground.site.address4])
    assert done.returncode == 1
    assert "Packet filtered" in done.stdout


def test_the_nic_goes_with_its_process(possible: None) -> None:
    with Lab() as lab:
        laptop = lab.host("laptop")
        lab.settle()
        config = lab.directory / "byway.yaml"
        config.write_text(CONFIG.replace("ANSWER", "at-once").replace("MTU", "1500"))
        byway = laptop.start(["byway", "run", "-c", str(config)], ready="inbound.*tun")
        shown = laptop.run(["ip", "address", "show", "byway0"]).stdout
        assert "mtu 1500" in shown
        assert "198.18.0.1/30" in shown
        assert "fd62:7977:6179::1/126" in shown
        byway.signal(signal.SIGKILL)
        byway.wait()
        assert laptop.run(["ip", "link", "show", "byway0"]).returncode != 0
