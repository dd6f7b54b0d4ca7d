"""Byway on a gateway, which sets up the firewall itself: a LAN device behind it, real programs."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from byway.lab import Host, Lab, Router, serve_echo, serve_web
from byway.lab.process import Process

pytestmark = pytest.mark.lab

FAMILIES = ["-4", "-6"]
CONFIG = """
log: {{format: json}}
inbounds:
  nat: {{type: redirect, auto: true, lan: eth0}}
  packets: {{type: tproxy, network: udp, auto: true, lan: eth0}}
rules:
- {{port: 84, to: reject}}
- {{port: 85, ip: [{site4}, "{site6}"], to: direct}}
- {{port: 86, source_mac: "{mac}", to: reject}}
- {{port: 87, uid: 65534, to: reject}}
- {{domain_suffix: banned.example, to: reject}}
- {{port: 88, source_mac: "{mac}", to: reject}}
- otherwise: direct
"""


@dataclass
class Ground:
    """laptop - gate (NAT, and Byway) - internet - site."""

    laptop: Host
    gate: Router
    site: Host
    byway: Process

    def flows(self, inbound: str, target: str) -> list[dict[str, object]]:
        """The flows that ended, of an inbound to a target."""
        whole = self.byway.output().rpartition("\n")[0]
        lines = [json.loads(line) for line in whole.splitlines() if line.startswith("{")]
        return [x for x in lines if (x.get("inbound"), x.get("target")) == (inbound, target)]

    def wait_flow(self, inbound: str, target: str) -> dict[str, object]:
        self.byway.wait_until(lambda: self.flows(inbound, target), 20, f"{inbound} to {target}")
        return self.flows(inbound, target)[-1]


@pytest.fixture(scope="module")
def ground(possible: None) -> Iterator[Ground]:
    with Lab() as lab:
        laptop, gate = lab.host("laptop"), lab.router("gate", nat=True)
        internet, site = lab.router("internet"), lab.host("site")
        lab.lan("flat", laptop, gate)
        lab.link(gate, internet)
        lab.link(internet, site)
        lab.resolver(internet)
        for port in (80, 84, 85, 86, 87, 88):
            serve_web(site, "site.example", title="The Site", port=port, tls_port=port + 1000)
        serve_echo(site)
        lab.settle()
        shown = laptop.run(["ip", "-j", "link", "show", "eth0"], check=True).stdout
        mac = json.loads(shown)[0]["address"]
        config = lab.directory / "byway.yaml"
        config.write_text(CONFIG.format(site4=site.address4, site6=site.address6, mac=mac))
        byway = gate.start(["byway", "run", "-c", str(config)], ready="ready")
        yield Ground(laptop, gate, site, byway)


def curl(host: Host, *words: str, uid: int | None = None) -> tuple[int, str]:
    before = [] if uid is None else ["setpriv", f"--reuid={uid}", "--clear-groups"]
    done = host.run([*before, "curl", "-sS", "-m", "10", *words])
    return done.returncode, done.stdout + done.stderr


def place(host: Host, family: str, port: int) -> str:
    return f"{host.address4}:{port}" if family == "-4" else f"[{host.address6}]:{port}"


def reached(answer: tuple[int, str]) -> bool:
    return answer[0] == 0 and "You have reached The Site" in answer[1]


def test_the_network_is_as_it_was_without_it(ground: Ground) -> None:
    """What `ip` says of rules and routes before and after: see also test_it_is_all_undone."""
    rules = ground.gate.run(["ip", "rule", "show"], check=True).stdout
    assert "fwmark 0x2d8 lookup 728" in rules


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("who", ["laptop", "gate"])
def test_connections_are_taken(ground: Ground, who: str, family: str) -> None:
    host: Host = getattr(ground, who)
    answer = curl(host, f"http://{place(ground.site, family, 80)}/")
    assert reached(answer), answer
    seen = ground.wait_flow("nat", place(ground.site, family, 80))
    assert seen["target"] == place(ground.site, family, 80)


def ask(host: str, port: int) -> tuple[bytes, str]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as asker:
        asker.settimeout(10)
        asker.sendto(b"hello", (host, port))
        data, source = asker.recvfrom(2048)
        return data, source[0]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("who", ["laptop", "gate"])
def test_packets_are_taken(ground: Ground, who: str, family: str) -> None:
    host: Host = getattr(ground, who)
    target = ground.site.address4 if family == "-4" else ground.site.address6
    assert host.call(ask, target, 7) == (b"hello", target)
    shown = ground.gate.run(["byway", "flows", "--json"], check=True).stdout
    assert place(ground.site, family, 7) in shown


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("who", ["laptop", "gate"])
def test_refused_by_the_firewall_itself(ground: Ground, who: str, family: str) -> None:
    answer = curl(getattr(ground, who), f"http://{place(ground.site, family, 84)}/")
    assert answer[0] == 7, answer
    assert not ground.flows("nat", place(ground.site, family, 84))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("who", ["laptop", "gate"])
def test_direct_flows_never_come_here(ground: Ground, who: str, family: str) -> None:
    answer = curl(getattr(ground, who), f"http://{place(ground.site, family, 85)}/")
    assert reached(answer), answer
    assert not ground.flows("nat", place(ground.site, family, 85))


@pytest.mark.parametrize("port", [86, 88])
def test_by_the_device_in_the_firewall_and_here(ground: Ground, port: int) -> None:
    """Port 88's rule stands behind one that needs a name, so Byway judges it."""
    target = place(ground.site, "-4", port)
    assert curl(ground.laptop, f"http://{target}/")[0] in (7, 52, 56)
    assert reached(curl(ground.gate, f"http://{target}/"))
    if port == 88:
        ground.byway.wait_for("rejected by a rule")


def test_by_the_user_of_this_host(ground: Ground) -> None:
    target = place(ground.site, "-4", 87)
    assert curl(ground.gate, f"http://{target}/", uid=65534)[0] == 7
    assert reached(curl(ground.gate, f"http://{target}/"))
    assert reached(curl(ground.laptop, f"http://{target}/"))


def serve_once(port: int) -> None:
    with socket.create_server(("", port)) as server:
        print("up", flush=True)
        peer, address = server.accept()
        with peer:
            peer.sendall(address[0].encode())


def test_the_gates_own_services_are_not_caught(ground: Ground) -> None:
    """A service of the gate: from its LAN, and from outside, where the reply is none of ours."""
    service = ground.gate.start_call(serve_once, 2222, ready="^up$")
    done = ground.laptop.run(["curl", "-sS", "-m", "5", f"telnet://{ground.gate.address4}:2222"])
    assert done.stdout == ground.laptop.address4, done
    service.wait(10)
    service = ground.gate.start_call(serve_once, 2223, ready="^up$")
    outside = str(ground.gate.node.ports[1].v4.ip)
    done = ground.site.run(["curl", "-sS", "-m", "5", f"telnet://{outside}:2223"])
    assert done.stdout == ground.site.address4, done
    service.wait(10)


def test_a_published_port_of_a_device(ground: Ground) -> None:
    """The gate's own DNAT leads to the laptop: its replies belong to that connection."""
    outside = str(ground.gate.node.ports[1].v4.ip)
    rules = f"""
table ip publish {{
  chain pre {{
    type nat hook prerouting priority -110
    ip daddr {outside} tcp dport 2224 dnat to {ground.laptop.address4}
  }}
}}
"""
    ground.gate.run(["nft", "-f", "-"], stdin=rules, check=True)
    ground.gate.run(
        ["nft", "insert", "rule", "inet", "nat", "pass", "ct", "status", "dnat", "accept"],
        check=True,
    )
    service = ground.laptop.start_call(serve_once, 2224, ready="^up$")
    done = ground.site.run(["curl", "-sS", "-m", "5", f"telnet://{outside}:2224"])
    assert done.stdout == ground.site.address4, done
    service.wait(10)


def test_it_is_all_undone(ground: Ground) -> None:
    """The last one of this file: it ends Byway."""
    assert ground.byway.stop(10) == 0, ground.byway.output()
    for family in FAMILIES:
        rules = ground.gate.run(["ip", family, "rule", "show"], check=True).stdout
        assert "0x2d8" not in rules
        routes = ground.gate.run(["ip", family, "route", "show", "table", "all"], check=True)
        assert "table 728" not in routes.stdout
    assert "byway" not in ground.gate.run(["nft", "list", "tables"], check=True).stdout
    assert reached(curl(ground.laptop, f"http://{place(ground.site, '-4', 80)}/"))
