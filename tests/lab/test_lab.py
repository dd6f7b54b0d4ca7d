"""Hosts, links, LANs, NAT, names and programs of a lab."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from byway.lab import Lab, NotReady, Unavailable, serve_echo, serve_ftp, serve_ssh, serve_web
from byway.lab.servers.origin import digest

from .conftest import Street

pytestmark = pytest.mark.lab


def host_network() -> list[str]:
    """What the machine itself has: links, routes, rules and mounts."""
    words = (
        ["link"],
        ["-4", "route", "show", "table", "all"],
        ["-6", "route"],
        ["rule"],
        ["netns"],
    )
    asked = [subprocess.run(["ip", "-o", *w], capture_output=True, text=True).stdout for w in words]
    return [*asked, Path("/proc/self/mounts").read_text(), Path("/etc/resolv.conf").read_text()]


def test_touches_nothing_of_the_machine(possible: None) -> None:
    before = host_network()
    with Lab() as lab:
        a, b = lab.host("a"), lab.host("b")
        lab.link(a, b)
        assert a.run(["ping", "-c1", "-W5", b.address6]).returncode == 0
        assert host_network() == before
        directory = lab.directory
    assert host_network() == before
    assert not directory.exists()


def test_nat_hides_the_lan(street: Street) -> None:
    door = street.home.node.ports[1]
    for family, outside in (("-4", door.v4), ("-6", door.v6)):
        _, out, _ = street.curl(family, "http://free.example/echo")
        assert json.loads(out)["from"] == str(outside.ip)
    done = street.site.run(["ping", "-c1", "-W1", street.laptop.address4])
    assert done.returncode != 0


def test_every_program_asks_the_labs_resolver(street: Street) -> None:
    code = "import socket; print(sorted({a[4][0] for a in socket.getaddrinfo('free.example', 80)}))"
    done = street.laptop.run([sys.executable, "-c", code], check=True)
    assert done.stdout.strip() == str(sorted([street.site.address4, street.site.address6]))
    assert street.laptop.run(["getent", "ahostsv4", "site"]).stdout.startswith(street.site.address4)


def test_big_bodies_both_ways(street: Street, tmp_path: Path) -> None:
    size = 20_000_000
    for path in ("bytes", "chunked"):
        place = tmp_path / path
        code, _, err = street.curl("-o", str(place), f"https://free.example/{path}/{size}")
        assert code == 0, err
        assert hashlib.sha256(place.read_bytes()).hexdigest() == digest(size)
    code, out, err = street.curl("-T", str(place), "http://free.example/echo")
    assert json.loads(out)["sha256"] == digest(size)


def test_origin_keeps_connections(street: Street) -> None:
    url = "http://free.example/status/204"
    _, out, _ = street.curl("-w", "%{num_connects} ", url, url, url)
    assert out.split() == ["1", "0", "0"]


def exchange(host: str, port: int) -> tuple[bytes, bytes]:
    with socket.create_connection((host, port), 10) as tcp:
        tcp.sendall(b"over tcp")
        tcp.shutdown(socket.SHUT_WR)
        first = b"".join(iter(lambda: tcp.recv(100), b""))
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as udp:
        udp.settimeout(10)
        udp.sendto(b"over udp", (host, port))
        return first, udp.recv(100)


def refuse() -> None:
    raise ConnectionRefusedError("no")


def test_functions_run_on_hosts(street: Street) -> None:
    serve_echo(street.site, 7)
    for address in (street.site.address4, street.site.address6):
        assert street.laptop.call(exchange, address, 7) == (b"over tcp", b"over udp")
    with pytest.raises(ConnectionRefusedError, match="no"):
        street.laptop.call(refuse)


def test_programs_are_waited_for_and_ended(street: Street) -> None:
    code = "import time; print('up', flush=True); time.sleep(60)"
    process = street.laptop.start([sys.executable, "-c", code], ready="^up$")
    assert os.path.exists(f"/proc/{process.pid}")
    assert process.stop() == -15
    with pytest.raises(NotReady, match="gone wrong"):
        street.laptop.start(["sh", "-c", "echo gone wrong"], ready="^up$")
    with pytest.raises(subprocess.TimeoutExpired):
        street.laptop.run(["sleep", "60"], timeout=0.1)


def test_mtu_of_a_link(possible: None, tmp_path: Path) -> None:
    with Lab() as lab:
        a, router, b = lab.host("a"), lab.router("r"), lab.host("b")
        lab.link(a, router)
        lab.link(router, b, mtu=1300)
        serve_web(b)
        for n, (address, head) in enumerate(((b.address4, 28), (b.address6, 48))):
            ping = ["ping", "-c1", "-W5", "-M", "do", "-s"]
            assert a.run([*ping, str(1300 - head), address]).returncode == 0
            assert "1300" in a.run([*ping, str(1301 - head), address]).stdout
            host = f"[{address}]" if n else address
            done = b.run(["ip", "-o", "link", "show", "eth0"])
            assert "mtu 1300" in done.stdout
            place = tmp_path / str(n)
            a.run(["curl", "-gsS", "-o", str(place), f"http://{host}/bytes/300000"], check=True)
            assert hashlib.sha256(place.read_bytes()).hexdigest() == digest(300000)


def test_a_long_cable_takes_its_time(street: Street) -> None:
    done = street.laptop.run(["ping", "-c1", "-W5", street.site.address4], check=True)
    assert float(done.stdout.split("time=")[1].split()[0]) >= 40


def test_labs_do_not_meet(possible: None) -> None:
    with Lab() as one, Lab() as two:
        assert one.id != two.id
        ends = []
        for lab in (one, two):
            a, b = lab.host("a"), lab.host("b")
            lab.link(a, b)
            serve_web(b, title=f"lab {lab.id}")
            ends.append((lab, a, b))
        for lab, a, b in ends:
            page = a.run(["curl", "-sS", f"http://{b.address4}/"], check=True).stdout
            assert f"lab {lab.id}" in page


def test_names_are_checked(possible: None) -> None:
    with Lab() as lab:
        lab.host("a")
        for bad in ("a", "a/b", ""):
            with pytest.raises(ValueError, match="host name"):
                lab.host(bad)
        with pytest.raises(ValueError, match="no link"):
            _ = lab.hosts["a"].address4
        with pytest.raises(ValueError, match="no link"):
            serve_web(lab.hosts["a"])


def test_the_order_of_a_description_does_not_matter(possible: None) -> None:
    with Lab() as lab:
        a, wall, b = lab.host("a"), lab.wall(), lab.host("b")
        lab.resolver(b)
        lab.name("b.example", b)
        wall.drop("198.51.100.0/24", b)
        lab.link(a, wall)
        lab.link(wall, b)
        assert a.run(["ping", "-c1", "-W0.2", b.address4]).returncode == 1
        wall.relent()
        assert a.run(["ping", "-c1", "-W5", "b.example"]).returncode == 0


def test_real_sshd(street: Street) -> None:
    try:
        sshd = serve_ssh(street.site)
    except Unavailable as error:
        pytest.skip(str(error))
    done = street.laptop.run([*sshd.client("site.lab"), "echo $BYWAY_LAB_HOST; hostname"])
    assert done.stdout.strip() == "site", done.stderr


def test_real_vsftpd(street: Street, tmp_path: Path) -> None:
    root = street.lab.directory / "ftp"
    root.mkdir()
    (root / "hello.txt").write_text("hello by ftp\n")
    try:
        serve_ftp(street.site, root)
    except Unavailable as error:
        pytest.skip(str(error))
    code, out, err = street.curl("ftp://site.lab/hello.txt")
    assert (code, out) == (0, "hello by ftp\n"), err
    (tmp_path / "up").write_text("x" * 100_000)
    assert street.curl("-T", str(tmp_path / "up"), "ftp://site.lab/upload/up")[0] == 0
    assert (root / "upload" / "up").stat().st_size == 100_000
