"""Configs of other programs with global mode, imported and run: plain curl goes by the proxy."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from byway.lab import Host, Lab, serve_web
from byway.lab.process import Process
from tests.lab.test_diverted import curl

pytestmark = pytest.mark.lab

SERVER = """
log: {format: json}
inbounds:
  far: {type: socks, listen: "0.0.0.0:1080", open: true}
"""
MIHOMO = """
mixed-port: 7890
mode: rule
tun:
  enable: true
  stack: system
  device: tun-m
  auto-route: true
  auto-detect-interface: true
  dns-hijack: ["any:53"]
dns:
  enable: true
  enhanced-mode: fake-ip
  fake-ip-range: 198.18.0.1/16
  fake-ip-filter: ["*.lan", "+.real.example"]
  nameserver: [system]
sniffer: {enable: true, override-destination: true, sniff: {TLS: {ports: [443]}}}
proxies: [{name: far, type: socks5, server: VPS, port: 1080, udp: true}]
rules:
  - DOMAIN-SUFFIX,ads.example,REJECT
  - DOMAIN-SUFFIX,site.example,far
  - MATCH,DIRECT
"""
SING_BOX = {
    "dns": {
        "servers": [
            {"tag": "near", "type": "local"},
            {"tag": "fake", "type": "fakeip", "inet4_range": "198.18.0.0/15"},
        ],
        "rules": [{"query_type": ["A", "AAAA"], "server": "fake"}],
        "final": "near",
    },
    "inbounds": [
        {"type": "tun", "tag": "in", "interface_name": "tun-s", "address": ["172.18.0.1/30"],
         "auto_route": True}
    ],
    "outbounds": [
        {"type": "socks", "tag": "far", "server": "VPS", "server_port": 1080},
        {"type": "direct", "tag": "direct"},
    ],
    "route": {
        "rules": [
            {"action": "sniff"},
            {"protocol": "dns", "action": "hijack-dns"},
            {"domain_suffix": ["ads.example"], "action": "reject"},
            {"domain_suffix": ["site.example"], "outbound": "far"},
        ],
        "final": "direct",
        "auto_detect_interface": True,
    },
}  # fmt: skip


@dataclass
class Ground:
    """laptop - internet - vps (a proxy), site, ads, real."""

    laptop: Host
    vps: Process


@pytest.fixture(scope="module", params=["mihomo", "sing-box"])
def ground(request: pytest.FixtureRequest, possible: None) -> Iterator[Ground]:
    text = MIHOMO if request.param == "mihomo" else json.dumps(SING_BOX)
    with Lab() as lab:
        laptop, internet = lab.host("laptop"), lab.router("internet")
        vps, *sites = (lab.host(name) for name in ("vps", "site", "ads", "real"))
        for host in (laptop, vps, *sites):
            lab.link(internet, host)
        lab.resolver(internet)
        for site in sites:
            serve_web(site, f"{site.name}.example", title=site.name)
        lab.settle()
        theirs, ours = lab.directory / "theirs", lab.directory / "byway.yaml"
        theirs.write_text(text.replace("VPS", vps.address4))
        done = laptop.run(["byway", "import", str(theirs), "-o", str(ours)])
        assert done.returncode == 0, done.stderr
        (lab.directory / "far.yaml").write_text(SERVER)
        far = vps.start(["byway", "run", "-c", str(lab.directory / "far.yaml")], ready="ready")
        laptop.start(["byway", "run", "-c", str(ours)], ready="info ready")
        yield Ground(laptop, far)


def test_a_site_is_reached_by_its_name_through_the_proxy(ground: Ground) -> None:
    for scheme in ("http", "https"):
        code, page = curl(ground.laptop, f"{scheme}://site.example/")
        assert (code, "You have reached site" in page) == (0, True), page
    for port in (80, 443):
        ground.vps.wait_for(rf'"target": ?"site\.example:{port}"')


def test_another_site_is_reached_directly(ground: Ground) -> None:
    code, page = curl(ground.laptop, "http://real.example/")

    assert (code, "You have reached real" in page) == (0, True), page
    assert not re.search("real.example", ground.vps.output())


def test_an_ad_is_refused(ground: Ground) -> None:
    code, page = curl(ground.laptop, "http://ads.example/")

    assert code in (7, 52, 56), page
