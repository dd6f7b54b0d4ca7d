"""`byway doctor`: each fault is built on a host of the lab, named, and gone again."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from byway.lab import Host, Lab
from byway.system.firewall import strict
from tests.lab.test_diverted import address

pytestmark = pytest.mark.lab

HEALTHY = "auto_route: true"
LEFT_BEHIND = """
from byway.system.plan import journal
from byway.system.routing import Rule
journal().make(Rule(4, 9100, 727, mark=99))
"""


TSO_OFF = """
import array, fcntl, socket, struct
asked = array.array("B", struct.pack("=II", 0x1F, 0))  # ETHTOOL_STSO
request = struct.pack("16sP16x", b"byway0", asked.buffer_info()[0])
fcntl.ioctl(socket.socket(socket.AF_INET, socket.SOCK_DGRAM), 0x8946, request)
"""


@dataclass
class Ground:
    """laptop and a resolver (near) on a LAN - home - internet (with its own resolver)."""

    laptop: Host
    near: Host
    config: Path

    @contextmanager
    def byway(self, keys: str, more: str = "dns: {hijack: true}") -> Iterator[None]:
        nic = f"nic: {{type: tun, name: byway0, {keys}}}"
        self.config.write_text(
            f"log: {{format: json}}\ninbounds: {{{nic}}}\n{more}\nrules: [otherwise: direct]\n"
        )
        running = self.laptop.start(
            ["byway", "run", "-c", str(self.config)], ready='"message": ?"ready"'
        )
        try:
            yield
        finally:
            running.stop()

    @contextmanager
    def done(self, command: str, undo: str) -> Iterator[None]:
        self.ip(command)
        try:
            yield
        finally:
            self.ip(undo)

    def ip(self, words: str) -> None:
        self.laptop.run(words.split(), check=True)

    def found(self, *options: str) -> tuple[int, list[dict[str, str]]]:
        command = ["byway", "doctor", "-c", str(self.config), "--json", *options]
        done = self.laptop.run(command, timeout=60)
        found = json.loads(done.stdout)
        assert isinstance(found, list), done.stderr
        return done.returncode, found

    def fault(self, check: str) -> str:
        """What the check says is wrong, where the status says that something is."""
        code, found = self.found()
        wrong = [one for one in found if one["check"] == check and one["verdict"] == "fault"]
        assert code == 1
        assert wrong, found
        assert all(one["fix"] for one in wrong)
        return "\n".join(one["what"] for one in wrong)


@pytest.fixture(scope="module")
def ground(possible: None) -> Iterator[Ground]:
    with Lab() as lab:
        laptop, near = lab.host("laptop"), lab.host("near")
        home, internet = lab.router("home", nat=True), lab.router("internet")
        lab.lan("flat", laptop, near, home)
        lab.link(internet, home)
        lab.resolver(internet)
        lab.settle()
        config = lab.directory / "byway.yaml"
        config.write_text("inbounds: {mixed: {type: mixed, listen: 127.0.0.1:0}}\n")
        yield Ground(laptop, near, config)


def test_a_host_that_is_well(ground: Ground) -> None:
    with ground.byway(HEALTHY):
        code, found = ground.found()
        assert [one for one in found if one["verdict"] == "fault"] == []
        assert code == 0
        well = {one["check"] for one in found if one["verdict"] == "ok"}
        assert well >= {"config", "left", "capture", "ipv6", "dns", "tunnels", "mtu", "offloads"}
        said = {one["check"]: one["what"] for one in found}
        assert said["capture"] == "IPv4 comes to Byway by byway0"
        assert said["ipv6"] == "IPv6 comes to Byway by byway0"
        assert said["dns"].endswith(": Byway answers")


def test_nothing_is_wrong_where_nothing_is_to_be_taken(ground: Ground) -> None:
    ground.config.write_text("inbounds: {mixed: {type: mixed, listen: 127.0.0.1:0}}\n")
    code, found = ground.found()
    verdicts = {one["check"]: one["verdict"] for one in found}
    assert (code, verdicts["capture"], verdicts["ipv6"], verdicts["dns"]) == (
        0, "skipped", "skipped", "skipped",
    )  # fmt: skip


def test_a_config_with_errors(ground: Ground) -> None:
    ground.config.write_text("inbounds: {mixed: {type: mixd}}\n")
    assert "mixd" in ground.fault("config")


@pytest.mark.parametrize(("family", "check"), [("-4", "capture"), ("-6", "ipv6")])
def test_a_rule_of_another_program_comes_first(ground: Ground, family: str, check: str) -> None:
    rule = f"ip {family} rule {{}} priority 100 lookup main"
    with ground.byway(HEALTHY), ground.done(rule.format("add"), rule.format("del")):
        assert ground.fault(check).startswith(f"IPv{family[1]} escapes by ")


def test_ipv6_escapes_where_the_nic_has_none(ground: Ground) -> None:
    with ground.byway(f"{HEALTHY}, addresses: [198.18.0.1/30]"):
        assert ground.fault("ipv6").startswith("IPv6 escapes by ")


def test_dns_leaks_to_a_resolver_on_the_lan(ground: Ground) -> None:
    near = address(ground.near, "-4")
    before = ground.laptop.run(["cat", "/etc/resolv.conf"]).stdout
    write = ["sh", "-c", "cat > /etc/resolv.conf"]
    ground.laptop.run(write, stdin=f"nameserver {near}\n", check=True)
    try:
        with ground.byway(HEALTHY, ""):
            assert ground.fault("dns").startswith(f"DNS leaks: /etc/resolv.conf asks {near} by ")
        with ground.byway(HEALTHY):
            assert ground.found()[0] == 0
    finally:
        ground.laptop.run(write, stdin=before, check=True)


def test_another_tunnel_takes_the_traffic(ground: Ground) -> None:
    with ground.done("ip tuntap add dev vpn0 mode tun", "ip link del vpn0"):
        ground.ip("ip address add 192.0.2.1/32 dev vpn0")
        ground.ip("ip link set vpn0 up")
        with ground.byway(HEALTHY):
            assert ground.found()[0] == 0  # it is there, and takes nothing
            for half in ("0.0.0.0/1", "128.0.0.0/1"):
                ground.ip(f"ip route add {half} dev vpn0")
            assert "vpn0" in ground.fault("tunnels")
            assert "vpn0" in ground.fault("capture")


def test_an_uplink_that_is_too_narrow(ground: Ground) -> None:
    discovery = "sysctl -qw net.ipv4.ip_no_pmtu_disc={}"
    with ground.byway(HEALTHY), ground.done(discovery.format(1), discovery.format(0)):
        (found,) = [one for one in ground.found()[1] if one["check"] == "mtu"]
        assert (found["verdict"], found["fix"]) == (
            "warning", "sysctl net.ipv4.ip_no_pmtu_disc=0",
        )  # fmt: skip
    with Lab() as lab:
        laptop, internet = lab.host("laptop"), lab.router("internet")
        lab.link(internet, laptop)
        lab.settle()
        there = Ground(laptop, internet, lab.directory / "byway.yaml")
        there.config.write_text("inbounds: {mixed: {type: mixed, listen: 127.0.0.1:0}}\n")
        there.ip("ip link set eth0 mtu 1200")
        assert there.fault("mtu").startswith("the MTU of eth0 is 1200")


def test_the_nic_gets_tcp_packet_by_packet(ground: Ground) -> None:
    with ground.byway(HEALTHY):
        ground.laptop.run([sys.executable, "-c", TSO_OFF], check=True)
        (found,) = [one for one in ground.found()[1] if one["check"] == "offloads"]
        assert (found["verdict"], found["fix"]) == ("warning", "ethtool -K byway0 tso on")


def test_strict_mode_without_its_table(ground: Ground) -> None:
    with ground.byway(f"{HEALTHY}, strict: true"):
        assert ground.found()[0] == 0
        ground.ip(f"nft delete table inet {strict.NAME}")
        assert "is gone" in ground.fault("strict")


def test_what_a_killed_byway_left_is_named_and_undone(ground: Ground) -> None:
    ground.config.write_text("inbounds: {mixed: {type: mixed, listen: 127.0.0.1:0}}\n")
    ground.laptop.run([sys.executable, "-c", LEFT_BEHIND], check=True)
    assert "9100" in ground.laptop.run(["ip", "rule"]).stdout
    assert ground.fault("left").startswith("a Byway that has ended left ")
    assert "9100" in ground.laptop.run(["ip", "rule"]).stdout  # it only looked
    code, found = ground.found("--fix")
    assert (code, found[1]["verdict"]) == (0, "ok")
    assert "9100" not in ground.laptop.run(["ip", "rule"]).stdout
