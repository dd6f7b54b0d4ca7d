"""What a firewall diverts, by rules that a person wrote: real curl, real packets, real nftables."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from byway.lab import Host, Lab, Router, serve_echo, serve_web
from byway.lab.process import Process

pytestmark = pytest.mark.lab

FAMILIES = ["-4", "-6"]
CONFIG = """
log: {format: json}
inbounds:
  nat: {type: redirect, listen: ["0.0.0.0:7892", "[::]:7892"]}
  as_it_is: {type: tproxy, listen: ["0.0.0.0:7893", "[::]:7893"]}
outbounds:
  direct: {type: direct, mark: 7}
rules:
- {port: 81, to: reject}
- otherwise: direct
"""
RULES = """
table inet mine {
  chain nat {
    type nat hook prerouting priority dstnat
    iifname "eth0" tcp dport { 80, 81 } redirect to :7892
  }
  chain own {
    type nat hook output priority -100
    meta mark 7 accept
    tcp dport 80 redirect to :7892
    tcp dport 82 redirect to :7892
  }
  chain divert {
    type filter hook prerouting priority mangle
    iifname "eth0" fib daddr type local accept
    iifname "eth0" udp dport 7 meta mark set 1 tproxy to :7893 accept
    iifname "eth0" udp dport 9 socket transparent 1 meta mark set 1 accept
    iifname "eth0" udp dport 9 meta mark set 1 tproxy to :7893 accept
    iifname "eth0" tcp dport { 7, 443 } meta mark set 1 tproxy to :7893 accept
  }
}
"""
ROUTES = [
    f"{family} {words}"
    for family in FAMILIES
    for words in ("rule add fwmark 1 lookup 100", "route add local default dev lo table 100")
]


@dataclass
class Ground:
    """laptop - gate (NAT, and Byway) - internet - site, other."""

    laptop: Host
    gate: Router
    site: Host
    other: Host
    byway: Process

    def flows(self, inbound: str, target: str) -> list[dict[str, object]]:
        """The flows that ended, of an inbound to a target."""
        whole = self.byway.output().rpartition("\n")[0]
        lines = [json.loads(line) for line in whole.splitlines() if line.startswith("{")]
        return [x for x in lines if (x.get("inbound"), x.get("target")) == (inbound, target)]

    def wait_flow(self, inbound: str, target: str) -> None:
        self.byway.wait_until(lambda: self.flows(inbound, target), 20, f"{inbound} to {target}")


@pytest.fixture(scope="module")
def ground(possible: None) -> Iterator[Ground]:
    with Lab() as lab:
        laptop, gate = lab.host("laptop"), lab.router("gate", nat=True)
        internet = lab.router("internet")
        site, other = lab.host("site"), lab.host("other")
        lab.lan("flat", laptop, gate)
        for host in (gate, site, other):
            lab.link(internet, host)
        lab.resolver(internet)
        serve_web(site, "site.example", title="The Site")
        for host in (site, other):
            for port in (7, 9):
                serve_echo(host, port)
        lab.settle()
        config = lab.directory / "byway.yaml"
        config.write_text(CONFIG)
        for words in ROUTES:
            gate.run(["ip", *words.split()], check=True)
        gate.run(["nft", "-f", "-"], stdin=RULES, check=True)
        byway = gate.start(["byway", "run", "-c", str(config)], ready="inbound.*as_it_is")
        yield Ground(laptop, gate, site, other, byway)


def curl(host: Host, *words: str) -> tuple[int, str]:
    done = host.run(["curl", "-sS", "-m", "10", *words])
    return done.returncode, done.stdout + done.stderr


def address(host: Host, family: str) -> str:
    return host.address4 if family == "-4" else host.address6


def place(host: Host, family: str, port: int) -> str:
    return f"{host.address4}:{port}" if family == "-4" else f"[{host.address6}]:{port}"


@pytest.mark.parametrize("family", FAMILIES)
def test_redirected_connections_keep_their_target(ground: Ground, family: str) -> None:
    code, page = curl(ground.laptop, f"http://{place(ground.site, family, 80)}/")
    assert code == 0, page
    assert "You have reached The Site" in page
    ground.wait_flow("nat", place(ground.site, family, 80))
    source = str(ground.flows("nat", place(ground.site, family, 80))[-1]["source"])
    assert source.strip("[").startswith(address(ground.laptop, family))


@pytest.mark.parametrize("family", FAMILIES)
def test_this_hosts_own_connections(ground: Ground, family: str) -> None:
    code, page = curl(ground.gate, f"http://{place(ground.site, family, 80)}/")
    assert (code, "You have reached The Site" in page) == (0, True), page


@pytest.mark.parametrize("family", FAMILIES)
def test_a_refused_connection_is_reset(ground: Ground, family: str) -> None:
    code, said = curl(ground.laptop, f"http://{place(ground.site, family, 81)}/")
    assert code in (7, 52, 56), said  # the reset may come before curl has seen it open
    ground.wait_flow("nat", place(ground.site, family, 81))
    ended = ground.flows("nat", place(ground.site, family, 81))[-1]
    assert "rejected by a rule" in str(ended)


@pytest.mark.parametrize("family", FAMILIES)
def test_connections_as_they_are(ground: Ground, family: str) -> None:
    resolve = f"site.example:443:{address(ground.site, family)}"
    code, page = curl(ground.laptop, "--resolve", resolve, "https://site.example/")
    assert (code, "You have reached The Site" in page) == (0, True), page
    ground.wait_flow("as_it_is", place(ground.site, family, 443))


def ask(port: int, *hosts: str) -> list[tuple[bytes, str, int]]:
    """From one port, three packets to each host: what comes back, and from where."""
    family = socket.AF_INET6 if ":" in hosts[0] else socket.AF_INET
    found = []
    with socket.socket(family, socket.SOCK_DGRAM) as asker:
        asker.settimeout(10)
        for turn in range(3):
            for host in hosts:
                asker.sendto(f"{turn} {host}".encode(), (host, port))
                data, source = asker.recvfrom(2048)
                found.append((data, source[0], source[1]))
    return found


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("port", [7, 9])
def test_packets_are_answered_by_whom_they_were_sent_to(
    ground: Ground, family: str, port: int
) -> None:
    """Port 9 has the rule that gives packets to whatever socket has their target's address, which
    people write for connections: Byway's answering sockets must not swallow them."""
    hosts = [address(host, family) for host in (ground.site, ground.other)]
    found = ground.laptop.call(ask, port, *hosts)
    assert found == [(f"{t} {host}".encode(), host, port) for t in range(3) for host in hosts]


def large(host: str, port: int, size: int) -> int:
    """The bytes of a large packet that came back unharmed."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    payload = bytes(range(256)) * (size // 256)
    with socket.socket(family, socket.SOCK_DGRAM) as asker:
        asker.settimeout(10)
        asker.connect((host, port))
        asker.send(payload)
        return size if asker.recv(65536) == payload else 0


@pytest.mark.parametrize("family", FAMILIES)
def test_a_packet_larger_than_the_link_takes(ground: Ground, family: str) -> None:
    assert ground.laptop.call(large, address(ground.site, family), 7, 8192) == 8192


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("port", [7892, 7893])
def test_the_listener_itself_is_no_target(ground: Ground, family: str, port: int) -> None:
    gate = place(ground.gate, family, port)
    code, said = curl(ground.laptop, f"http://{gate}/")
    assert code != 0, said
    ground.byway.wait_for(f"sent to {gate.replace('[', '.').replace(']', '.')} itself")


def test_a_loop_is_stopped_and_named(ground: Ground, tmp_path: Path) -> None:
    """Another Byway, whose connections bear no mark: the firewall gives them back to it."""
    config = ground.gate.lab.directory / "loop.yaml"
    config.write_text(
        "log: {format: json}\ninbounds: {nat: {type: redirect, listen: '127.0.0.1:7999'}}\n"
    )
    ground.gate.run(["nft", "-f", "-"], stdin=LOOP, check=True)
    byway = ground.gate.start(["byway", "run", "-c", str(config)], ready="inbound.*nat")
    try:
        code, said = curl(ground.gate, f"http://{ground.site.address4}:83/")
        assert code != 0, said
        byway.wait_for("loop: this is Byway's own way to")
        assert byway.output().count("loop: this is") <= 2
    finally:
        byway.stop()


LOOP = """
table inet loop {
  chain own {
    type nat hook output priority -100
    tcp dport 83 redirect to :7999
  }
}
"""
