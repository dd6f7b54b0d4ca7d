"""Strict mode under a capture of the physical link: what leaves is Byway's, whatever happens."""

from __future__ import annotations

import ipaddress
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from byway.lab import Host, Lab, Wall, serve_echo, serve_web
from byway.lab.process import Process

pytestmark = pytest.mark.lab

METHOD, PASSWORD, PORT = "chacha20-ietf-poly1305", "correct horse", 8388
SERVER = f"""
control: {{socket: off}}
inbounds: {{noise: {{type: shadowsocks, listen: ["0.0.0.0:{PORT}"], method: {METHOD},
  password: {PASSWORD}}}}}
"""
CLIENT = """
control: {{socket: off}}
log: {{format: json}}
inbounds: {taken}
outbounds:
  vps: {{type: shadowsocks, server: "{vps}:{port}", method: {method}, password: {password}}}
limits: {{dial: 2s}}
rules: [{{ip: "{near}", to: direct}}, {{port: 81, to: reject}}, {{otherwise: vps}}]
"""

TAKEN = {
    "firewall": "{nat: {type: redirect, auto: true, strict: true},"
    " packets: {type: tproxy, network: udp, auto: true, strict: true}}",
    "nic": "{nic: {type: tun, auto_route: true, strict: true, answer: after-dial}}",
}


@dataclass
class Ground:
    """laptop - wall (which hears all) - internet - vps, site, near; dns is the internet's."""

    lab: Lab
    laptop: Host
    wall: Wall
    vps: Host
    site: Host
    near: Host
    server: Process
    taken: str

    @contextmanager
    def byway(self) -> Iterator[Process]:
        config = self.lab.directory / "client.yaml"
        config.write_text(
            CLIENT.format(
                taken=self.taken,
                vps=self.vps.address4,
                port=PORT,
                method=METHOD,
                password=PASSWORD,
                near=self.near.address4,
            )
        )
        process = self.laptop.start(["byway", "run", "-c", str(config)], ready="ready")
        try:
            yield process
        finally:
            process.stop(10)
            self.laptop.run(["nft", "delete", "table", "inet", "byway_strict"])

    def leaked(self, *allowed: Host) -> list[str]:
        """The packets on the laptop's link that are neither for these hosts nor of the link."""
        known = {ip.packed for host in (self.vps, *allowed) for ip in host.addresses}
        capture = self.wall.capture()
        assert capture.lost == 0
        own = {ip.packed for ip in self.laptop.addresses}
        return [
            str(packet)
            for packet in capture.packets
            if packet.src in own and packet.dst not in known and not of_the_link(packet.dst)
        ]

    def curl(self, *words: str) -> tuple[int, str]:
        done = self.laptop.run(["curl", "-sS", "-m", "5", *words], timeout=30)
        return done.returncode, done.stdout + done.stderr


def of_the_link(packed: bytes) -> bool:
    """Neighbour discovery: it never passes a router."""
    address = ipaddress.ip_address(packed)
    return address.version == 6 and (address.is_link_local or address.is_multicast)


@pytest.fixture(scope="module", params=TAKEN)
def ground(request: pytest.FixtureRequest, possible: None) -> Iterator[Ground]:
    with Lab() as lab:
        laptop, wall, internet = lab.host("laptop"), lab.wall(), lab.router("internet")
        vps, site, near = lab.host("vps"), lab.host("site"), lab.host("near")
        lab.link(laptop, wall)
        for host in (wall, vps, site, near):
            lab.link(internet, host)
        lab.resolver(internet)
        serve_web(site, "site.example", title="The Site")
        serve_web(near, "near.example", title="Near")
        serve_echo(site)
        config = lab.directory / "server.yaml"
        config.write_text(SERVER)
        server = vps.start(["byway", "run", "-c", str(config)], ready="ready")
        yield Ground(lab, laptop, wall, vps, site, near, server, TAKEN[request.param])


def everything(site4: str, site6: str, seconds: float) -> int:
    """What a laptop does, again and again: names, connections, packets. How often it got through
    to nobody at all matters not; the capture sees."""
    count, until = 0, time.monotonic() + seconds
    while time.monotonic() < until:
        for host in (site4, site6):
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            for kind, port in ((socket.SOCK_STREAM, 80), (socket.SOCK_DGRAM, 7)):
                with socket.socket(family, kind) as sock:
                    sock.settimeout(0.05)
                    try:
                        sock.connect((host, port))
                        sock.send(b"GET / HTTP/1.0\r\n\r\n")
                        sock.recv(100)
                        count += 1
                    except OSError:
                        pass
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
            asker.settimeout(0.05)
            try:
                asker.sendto(QUESTION, (site4, 53))
                asker.recv(512)
            except OSError:
                pass
    return count


def begun(*words: str | float) -> int:
    print("begun", flush=True)
    return everything(*words)  # type: ignore[arg-type]


QUESTION = b"\x12\x34\x01\0\0\1\0\0\0\0\0\0\4site\7example\0\0\1\0\1"


def test_nothing_leaks_while_it_is_up(ground: Ground) -> None:
    ground.wall.forget()
    with ground.byway() as byway:
        for family in ("-4", "-6"):
            code, page = ground.curl(family, "http://site.example/")
            assert (code, "The Site" in page) == (0, True), (page, byway.output())
        got = ground.laptop.call(everything, ground.site.address4, ground.site.address6, 1.0)
        assert got > 0
        assert ground.leaked() == []


def test_direct_leaves_with_the_mark_and_refusals_do_not_leave(ground: Ground) -> None:
    with ground.byway():
        ground.wall.forget()
        code, page = ground.curl(f"http://{ground.near.address4}/")
        assert (code, "Near" in page) == (0, True), page
        assert ground.leaked(ground.near) == []
        assert ground.leaked() != []
        ground.wall.forget()
        assert ground.curl(f"http://{ground.near.address6}:81/".replace("//2", "//[2"))[0] != 0
        assert ground.curl(f"http://{ground.site.address4}:81/")[0] == 7
        assert ground.leaked() == []


def test_nothing_leaks_while_the_upstream_is_dead(ground: Ground) -> None:
    with ground.byway():
        ground.server.signal(signal.SIGSTOP)
        try:
            ground.wall.forget()
            assert ground.curl("-m", "1", f"http://{ground.site.address4}/")[0] != 0
            ground.laptop.call(everything, ground.site.address4, ground.site.address6, 0.5)
            assert ground.leaked() == []
        finally:
            ground.server.signal(signal.SIGCONT)


def test_nothing_leaks_when_it_is_killed(ground: Ground) -> None:
    with ground.byway() as byway:
        ground.wall.forget()
        words = (ground.site.address4, ground.site.address6, 1.5)
        busy = ground.laptop.start_call(begun, *words, ready="^begun$")
        ground.laptop.call(everything, ground.site.address4, ground.site.address6, 0.3)
        byway.signal(signal.SIGKILL)
        byway.wait(10)
        busy.wait(30)
        code, said = ground.curl(f"http://{ground.site.address4}/")
        assert code == 7, said  # refused at once, not timed out
        code, said = ground.curl(f"http://[{ground.site.address6}]/")
        assert code == 7, said
        assert ground.leaked() == []
        tables = ground.laptop.run(["nft", "list", "tables"], check=True).stdout
        assert "byway_strict" in tables
        with ground.byway():  # it takes the table over
            code, page = ground.curl(f"http://{ground.site.address4}/")
            assert (code, "The Site" in page) == (0, True), page
        assert ground.leaked() == []


def test_an_orderly_end_opens_up(ground: Ground) -> None:
    with ground.byway() as byway:
        assert byway.stop(10) == 0, byway.output()
        assert "byway" not in ground.laptop.run(["nft", "list", "tables"], check=True).stdout
        code, page = ground.curl(f"http://{ground.site.address4}/")
        assert (code, "The Site" in page) == (0, True), page
