"""The PAC file and the judge agree: what a browser takes directly, Byway would send direct."""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest

from byway.config import Config, judge_of, load_text, pac_file
from byway.flow import Flow, Network, Target
from byway.rules import Lacks, Via

NODE = shutil.which("node")
PROXY = Target.of("127.0.0.1", 1080)
HOME = "inbounds: {home: {type: mixed, listen: 127.0.0.1:1080}}\n"
ODD = (
    HOME
    + """
outbounds: {far: "socks5://h.example:1"}
rules:
  - {domain: [exact.example], port: [80, 8000-8010], to: direct}
  - {domain_suffix: example.com, network: udp, to: direct}
  - {domain_suffix: [ads.example.com], to: reject}
  - {domain_suffix: [example.com, xn--bcher-kva.example], to: direct}
  - {inbound: home, domain: home.example, to: direct}
  - {source: 192.0.2.0/24, domain_suffix: user.example, to: far}
  - {domain_suffix: user.example, to: direct}
  - {ip: 10.0.0.0/8, port: 443, to: far}
  - {port: 8080, to: far}
  - otherwise: direct
"""
)
HOSTS = [
    "exact.example", "example.com", "a.example.com", "notexample.com", "x.ads.example.com",
    "xn--bcher-kva.example", "home.example", "w.user.example", "other.example", "10.1.2.3",
    "[fd00::1]", "EXAMPLE.com", "example.com.",
]  # fmt: skip
URLS = [
    f"{scheme}://{host}{port}/x?@y#z"
    for host in HOSTS
    for scheme, port in [("http", ""), ("https", ""), ("http", ":8005"), ("ws", ":8080")]
]
DEFAULT = {"http": 80, "https": 443, "ws": 80}


def answers(text: str, urls: list[str]) -> list[str]:
    """What the file says of URLs, in a JavaScript engine."""
    if NODE is None:
        pytest.skip("node is not installed")
    asked = [(url, host_of(url)[0]) for url in urls]
    program = (
        f"{text}\nconsole.log(JSON.stringify({json.dumps(asked)}.map(a => FindProxyForURL(...a))))"
    )
    done = subprocess.run([NODE, "-e", program], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert isinstance(found, list)
    return found


def host_of(url: str) -> tuple[str, int]:
    scheme, _, rest = url.partition("://")
    place = rest.partition("/")[0]
    host, colon, port = place.rpartition(":")
    if not colon or not port.isdigit():
        host, port = place, str(DEFAULT[scheme])
    return host, int(port)


def is_direct(config: Config, url: str) -> bool:
    host, port = host_of(url)
    target = Target.of(host.strip("[]"), port)
    verdict = judge_of(config).decide(Flow(1, Network.TCP, "home", PROXY, target))
    return (
        not isinstance(verdict, Lacks)
        and isinstance(verdict, Via)
        and (verdict.outbound == "direct")
    )


def test_what_is_direct_in_the_file_is_direct_in_byway() -> None:
    config = load_text(ODD)
    found = answers(pac_file(config, "home", PROXY), URLS)
    assert set(found) == {"DIRECT", "PROXY 127.0.0.1:1080"}
    for url, answer in zip(URLS, found, strict=True):
        if answer == "DIRECT":
            assert is_direct(config, url), url
    direct = {url for url, answer in zip(URLS, found, strict=True) if answer == "DIRECT"}
    assert "https://a.example.com/x?@y#z" in direct
    assert "http://exact.example:8005/x?@y#z" in direct
    assert "https://other.example/x?@y#z" not in direct  # its address might be in 10.0.0.0/8


def test_without_rules_everything_is_direct() -> None:
    assert answers(pac_file(load_text(HOME), "home", PROXY), ["http://a/"]) == ["DIRECT"]


@pytest.mark.parametrize(
    "text",
    [
        HOME.replace("127.0.0.1", "0.0.0.0").replace("1080}", "1080, open: true}"),
        HOME + "outbounds: {direct: {type: direct, mark: 7}}",
    ],
)
def test_others_get_the_proxy_and_no_rules(text: str) -> None:
    made = pac_file(load_text(text), "home", PROXY)
    assert "rules = []" in made
    assert answers(made, ["http://a/"]) == ["PROXY 127.0.0.1:1080"]


def test_a_rule_that_is_switched_off_is_left_out() -> None:
    config = load_text(ODD)

    assert "exact.example" in pac_file(config, "home", PROXY)
    assert "exact.example" not in pac_file(config, "home", PROXY, off={0})


def test_what_a_group_takes_goes_to_the_proxy() -> None:
    """Also where the group would leave directly: that may change at any time."""
    text = HOME + (
        "groups: {g: {type: select, members: direct}}\n"
        "rules: [{domain: a.example, to: direct}, {otherwise: g}]\n"
    )
    found = answers(
        pac_file(load_text(text), "home", PROXY), ["http://a.example/", "http://b.example/"]
    )
    assert found == ["DIRECT", f"PROXY {PROXY}"]
