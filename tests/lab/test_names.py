"""Names in global mode: a LAN's devices ask any server and send to what they are told. Real dig,
curl and dnsmasq; the gateway takes their traffic by tproxy, by redirect, or by a virtual NIC."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from byway.lab import Host, Lab, serve_web
from byway.lab.process import Process

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(not shutil.which("dig"), reason="dig is not installed"),
    pytest.mark.skipif(not shutil.which("dnsmasq"), reason="dnsmasq is not installed"),
]

WAYS = {
    "tproxy": "as_it_is: {type: tproxy, lan: eth0}",
    "redirect": "nat: {type: redirect, lan: eth0}\n"
    "  packets: {type: tproxy, network: udp, lan: eth0}",
    "tun": "nic: {type: tun, lan: eth0}",
}
CONFIG = """
log: {{format: json}}
inbounds:
  {way}
dns:
  use: udp://{server}
  hijack: true
  fake_ip: true
  rules:
  - {{domain: ads.example, answer: nxdomain}}
  - {{domain: told.example, answer: real}}
rules:
- {{domain: refused.example, to: reject}}
- {{domain: told.example, to: reject}}
- otherwise: direct
"""
NOBODY = "192.0.2.254"  # a server that does not exist


@dataclass
class Ground:
    """laptop - gate (Byway) - internet - site, names (dnsmasq)."""

    way: str
    laptop: Host
    site: Host
    byway: Process
    names: Process

    def flows(self) -> list[dict[str, object]]:
        """The flows that ended."""
        lines = self.byway.output().rpartition("\n")[0].splitlines()
        found = [json.loads(line) for line in lines if line.startswith("{")]
        return [line for line in found if line["message"] == "flow"]

    def dig(self, *words: str) -> str:
        """What dig says on the laptop."""
        done = self.laptop.run(["dig", "+tries=1", "+time=10", f"@{NOBODY}", *words])
        return done.stdout + done.stderr


@pytest.fixture(scope="module", params=list(WAYS))
def ground(possible: None, request: pytest.FixtureRequest) -> Iterator[Ground]:
    with Lab() as lab:
        laptop, gate = lab.host("laptop"), lab.router("gate", nat=True)
        internet = lab.router("internet")
        site, names = lab.host("site"), lab.host("names")
        lab.lan("flat", laptop, gate)
        for host in (gate, site, names):
            lab.link(internet, host)
        lab.resolver(internet)
        serve_web(site, "site.example", title="The Site")
        lab.settle()
        words = ["dnsmasq", "--keep-in-foreground", "--no-resolv", "--no-hosts", "--no-daemon"]
        words += ["--log-queries", "--log-facility=-", "--user=root", "--pid-file"]
        for name in ("site", "refused", "told"):
            for address in (site.address4, site.address6):
                words.append(f"--address=/{name}.example/{address}")
        server = names.start(words, ready="started")
        config = lab.directory / "byway.yaml"
        text = CONFIG.format(way=WAYS[request.param], server=names.address4)
        config.write_text(text)
        byway = gate.start(["byway", "run", "-c", str(config)], ready="ready")
        yield Ground(request.param, laptop, site, byway, server)


@pytest.mark.parametrize("way", [(), ("+tcp",)])
def test_any_server_is_byway(ground: Ground, way: tuple[str, ...]) -> None:
    (v4,) = ground.dig("+short", *way, "site.example").split()
    (v6,) = ground.dig("+short", *way, "site.example", "AAAA").split()
    assert v4.startswith("198.1")
    assert v6.startswith("fc00:")
    assert "NXDOMAIN" in ground.dig(*way, "ads.example")
    assert f"SERVER: {NOBODY}#53" in ground.dig(*way, "site.example")


@pytest.mark.parametrize("family", ["A", "AAAA"])
def test_a_fake_address_leads_to_its_name(ground: Ground, family: str) -> None:
    (fake,) = ground.dig("+short", "site.example", family).split()
    host = f"[{fake}]" if ":" in fake else fake
    words = ["curl", "-sS", "-m", "20", "--resolve", f"site.example:80:{host}"]
    done = ground.laptop.run([*words, "http://site.example/"])
    assert "You have reached The Site" in done.stdout, done.stderr
    ground.byway.wait_until(
        lambda: any(flow.get("known") == "site.example (fake-ip)" for flow in ground.flows()),
        20,
        "a flow by the name",
    )


def test_rules_about_names_hold(ground: Ground) -> None:
    """For fake addresses, and for real ones that were told."""
    (fake,) = ground.dig("+short", "refused.example").split()
    (real,) = ground.dig("+short", "told.example").split()
    assert fake.startswith("198.1")
    assert real == ground.site.address4
    wanted = {fake: "refused.example (fake-ip)", real: "told.example (answer)"}
    if ground.way == "tun":
        del wanted[real]  # it has a route of its own there, and such are left alone
    for address in wanted:
        done = ground.laptop.run(["curl", "-sS", "-m", "20", f"http://{address}/"])
        assert "The Site" not in done.stdout
    ground.byway.wait_until(
        lambda: (
            set(wanted.values())
            <= {str(flow.get("known")) for flow in ground.flows() if flow["verdict"] == "reject"}
        ),
        20,
        "refusals",
    )


def test_a_stale_fake_address_goes_nowhere(ground: Ground) -> None:
    assert ground.laptop.run(["curl", "-sS", "-m", "20", "http://198.18.99.99/"]).returncode != 0
    ground.byway.wait_until(lambda: "stands for no name" in ground.byway.output(), 20, "a refusal")


def test_no_fake_address_is_asked_about(ground: Ground) -> None:
    (fake,) = ground.dig("+short", "site.example").split()
    assert ground.dig("+short", "-x", fake).split() == ["site.example."]
    assert "NXDOMAIN" in ground.dig("-x", "198.18.99.98")
    assert "198.1" not in ground.names.output()
