"""The TCP behind a virtual NIC beside the kernel's: refusals, a proxy behind it, lost packets."""

from __future__ import annotations

import errno
import json
import os
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from byway.lab import Host, Lab, serve_echo
from byway.lab.process import Process
from tests.lab.test_diverted import FAMILIES, address
from tests.lab.test_tun import echoed

pytestmark = pytest.mark.lab

CONFIG = """
log: {format: json}
control: {socket: CONTROL}
inbounds:
  once: {type: tun, name: byway0}
  late: {type: tun, name: byway1, answer: after-dial,
         addresses: [172.31.254.1/30, "fd01::1/126"]}
outbounds:
  direct: {type: direct}
  hop: {type: shadowsocks, server: "SITE:8388", method: aes-128-gcm, password: secret}
rules:
- {port: 2003, to: reject}
- {port: 2004, to: drop}
- {port: [1007, 2007], to: hop}
- otherwise: direct
"""
SERVER = """
control: {socket: CONTROL}
inbounds:
  ss: {type: shadowsocks, listen: "0.0.0.0:8388", method: aes-128-gcm, password: secret,
       allow_local: true}
"""
LOSSY = """
table inet lossy {
  chain up { type filter hook output priority 0; oifname "byway0" numgen random mod 50 < 1 drop; }
  chain down { type filter hook input priority 0; iifname "byway0" numgen random mod 50 < 1 drop; }
}
"""
BULK = 16 << 20


@dataclass
class Ground:
    """laptop (Byway and two NICs, each for some ports) - internet - site."""

    laptop: Host
    site: Host
    byway: Process
    control: Path
    config: Path

    def chains(self, target: str) -> list[object]:
        """The ways by which flows to a target have gone that ended."""
        whole = self.byway.output().rpartition("\n")[0]
        lines = [json.loads(line) for line in whole.splitlines() if line.startswith("{")]
        return [line["chain"] for line in lines if line.get("target") == target]


def lead(laptop: Host, ports: str, device: str) -> None:
    """Route what goes to these ports by a device."""
    number = str(100 + int(device[-1]))
    for family in FAMILIES:
        words = f"rule add pref {number} ipproto tcp dport {ports} lookup {number}"
        laptop.run(["ip", family, *words.split()], check=True)
        words = f"route add default dev {device} table {number}"
        laptop.run(["ip", family, *words.split()], check=True)


@pytest.fixture(scope="module")
def ground(possible: None) -> Iterator[Ground]:
    with Lab() as lab:
        laptop, internet, site = lab.host("laptop"), lab.router("internet"), lab.host("site")
        for host in (laptop, site):
            lab.link(internet, host)
        lab.resolver(internet)
        for port in (7, 1007, 2000, 2007):
            serve_echo(site, port)
        lab.settle()
        for family in FAMILIES:
            words = ["rule", "add", "pref", "99", "fwmark", "0x2d7", "lookup", "main"]
            laptop.run(["ip", family, *words], check=True)
        control = lab.directory / "control.sock"
        configs = {}
        for name, text in (("byway", CONFIG), ("server", SERVER)):
            path = str(control if name == "byway" else lab.directory / "server.sock")
            text = text.replace("SITE", site.address4).replace("CONTROL", path)
            configs[name] = lab.directory / f"{name}.yaml"
            configs[name].write_text(text)
        site.start(["byway", "run", "-c", str(configs["server"])], ready="ready")
        byway = laptop.start(["byway", "run", "-c", str(configs["byway"])], ready='"ready"')
        lead(laptop, "7-1007", "byway0")
        lead(laptop, "2000-2007", "byway1")
        yield Ground(laptop, site, byway, control, configs["byway"])


@pytest.mark.parametrize("port", [1007, 2007])
def test_the_far_side_may_be_reached_by_a_proxy(ground: Ground, port: int) -> None:
    site = ground.site.address4
    sent, back = ground.laptop.call(echoed, site, port, BULK, timeout=90)
    assert sent == back
    ground.byway.wait_until(lambda: ground.chains(f"{site}:{port}"), 20, "the flow's line")
    assert ground.chains(f"{site}:{port}") == ["hop"]


def shorts(host: str, port: int, count: int) -> int:
    """So many short exchanges, 16 at a time: how many went well."""

    def one(number: int) -> bool:
        with socket.create_connection((host, port), 30) as talk:
            word = f"number {number}".encode()
            talk.sendall(word)
            talk.shutdown(socket.SHUT_WR)
            heard = b""
            while data := talk.recv(1000):
                heard += data
            return heard == word

    with ThreadPoolExecutor(16) as pool:
        return sum(pool.map(one, range(count)))


@pytest.mark.parametrize("port", [7, 2000])
def test_many_at_once_that_end_both_ways(ground: Ground, port: int) -> None:
    assert ground.laptop.call(shorts, ground.site.address6, port, 300, timeout=60) == 300


def refused(host: str, port: int, patience: float) -> str:
    """How a connection fails, by its word; "" when it does not, "timeout" when nothing comes."""
    try:
        with socket.create_connection((host, port), patience):
            return ""
    except TimeoutError:
        return "timeout"
    except OSError as error:
        return errno.errorcode[error.errno or 0]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_program_sees_how_its_target_refuses(ground: Ground, family: str) -> None:
    site = address(ground.site, family)
    assert ground.laptop.call(refused, site, 2001, 20.0) == "ECONNREFUSED"
    assert ground.laptop.call(refused, site, 2003, 20.0) in ("EHOSTUNREACH", "EACCES")
    nowhere = "192.0.2.9" if family == "-4" else "2001:db8:ffff::9"
    assert ground.laptop.call(refused, nowhere, 2005, 20.0) in ("ENETUNREACH", "EHOSTUNREACH")


def test_a_dropped_one_hears_nothing(ground: Ground) -> None:
    assert ground.laptop.call(refused, ground.site.address4, 2004, 1.0) == "timeout"


def test_at_once_it_is_told_yes_first(ground: Ground) -> None:
    # The reset may come before the program has seen that it was connected.
    assert ground.laptop.call(refused, ground.site.address4, 500, 20.0) in ("", "ECONNRESET")


def test_the_way_and_the_offloads_are_shown(ground: Ground) -> None:
    shown = ground.laptop.run(["byway", "status", "--socket", str(ground.control)])
    assert "tun:byway0, way stack, offloads checksums tcp" in shown.stdout, shown.stderr


def test_a_name_that_is_taken_is_told(ground: Ground) -> None:
    again = ground.laptop.run(["byway", "run", "-c", str(ground.config)])
    assert again.returncode == 1
    assert "another program has a TUN of this name" in again.stderr


def scattered(host: str) -> bool:
    """Send segments that no TCP would."""
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP) as raw:
        for segment in (b"", b"abc", bytes(20), bytes(12) + b"\xf0\x02" + bytes(6), os.urandom(60)):
            raw.sendto(segment, (host, 0))
    return True


@pytest.mark.parametrize("family", FAMILIES)
def test_what_the_nic_loses_is_sent_again(ground: Ground, family: str) -> None:
    ground.laptop.run(["ip", "route", "add", "192.0.2.0/24", "dev", "byway0"])
    assert ground.laptop.call(scattered, "192.0.2.7")
    if ground.laptop.run(["nft", "-f", "-"], stdin=LOSSY).returncode:
        pytest.skip("this kernel cannot lose packets on purpose")
    try:
        sent, back = ground.laptop.call(echoed, address(ground.site, family), 7, BULK, timeout=90)
    finally:
        ground.laptop.run(["nft", "delete", "table", "inet", "lossy"], check=True)
    assert sent == back
