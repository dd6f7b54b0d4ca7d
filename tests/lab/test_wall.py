"""The wall as a laptop behind it meets it, with real curl and dig."""

from __future__ import annotations

import shutil
import socket
from pathlib import Path

import pytest

from byway.lab import serve_web
from byway.lab.wall import NOWHERE

from .conftest import Street

pytestmark = pytest.mark.lab
needs_dig = pytest.mark.skipif(not shutil.which("dig"), reason="dig is not installed")


@pytest.mark.parametrize("family", ["-4", "-6"])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_lets_the_rest_pass(street: Street, family: str, scheme: str) -> None:
    code, out, err = street.curl(family, f"{scheme}://free.example/")
    assert (code, err) == (0, "")
    assert "You have reached The Free Site" in out


@pytest.mark.parametrize("family", ["-4", "-6"])
def test_drops_addresses(street: Street, family: str) -> None:
    code, _, err = street.curl(family, "-m", "0.5", "http://dropped.example/")
    assert code == 28, err


@pytest.mark.parametrize("family", ["-4", "-6"])
@pytest.mark.parametrize(("scheme", "code"), [("http", 56), ("https", 35)])
def test_resets_by_name(street: Street, family: str, scheme: str, code: int) -> None:
    got, out, err = street.curl(family, f"{scheme}://www.reset.example/", *_resolve(street, family))
    assert (got, out) == (code, "")
    assert "reset" in err


def listen(port: int) -> None:
    with socket.create_server(("", port)) as server:
        print("up", flush=True)
        peer, _ = server.accept()
        try:
            while peer.recv(100):
                pass
        except ConnectionResetError:
            print("reset", flush=True)


def test_resets_both_ends(street: Street) -> None:
    server = street.site.start_call(listen, 8000, ready="^up$")
    street.wall.reset("reset.example", ports=[8000])
    try:
        url = f"http://{street.site.address4}:8000/"
        assert street.curl("-H", "Host: reset.example", url)[0] == 56
        server.wait_for("^reset$")
    finally:
        street.wall.reset("reset.example")


def send_in_pieces(host: str, port: int, data: bytes) -> str:
    """Send byte by byte, each in a segment of its own; tell how it ended."""
    with socket.create_connection((host, port), 10) as tcp:
        tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            for at in range(len(data)):
                tcp.sendall(data[at : at + 1])
            return "answered" if tcp.recv(100) else "closed"
        except OSError as error:
            return type(error).__name__


def test_puts_pieces_together(street: Street) -> None:
    ends = {}
    for host in ("free.example", "reset.example"):
        request = f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
        ends[host] = street.laptop.call(send_in_pieces, street.site.address4, 80, request)
    assert ends["free.example"] == "answered"
    assert ends["reset.example"] in ("ConnectionResetError", "BrokenPipeError")


def test_looks_only_at_its_ports_unless_told(street: Street) -> None:
    echo = serve_web(street.site, port=8080, tls_port=8443)
    street.lab.settle()
    url = f"http://{street.site.address4}:8080/"
    try:
        assert street.curl("-H", "Host: reset.example", url)[0] == 0
        street.wall.reset("reset.example", ports=())
        assert street.curl("-H", "Host: reset.example", url)[0] == 56
    finally:
        street.wall.reset("reset.example")
        echo.stop()


@needs_dig
@pytest.mark.parametrize(("kind", "lie"), [("A", NOWHERE[0]), ("AAAA", NOWHERE[1])])
def test_forges_answers(street: Street, kind: str, lie: str) -> None:
    for name in ("forged.example", "WWW.Forged.example"):
        done = street.laptop.run(["dig", "+short", name, kind])
        assert done.stdout.split() == [lie]


@needs_dig
def test_the_truth_comes_too_late(street: Street) -> None:
    street.wall.forget()
    street.laptop.run(["dig", "+short", "forged.example", "A"])
    street.laptop.run(["dig", "+short", "free.example", "A"])  # by now the truth has arrived
    heard = street.wall.capture().packets
    asked = next(p for p in heard if p.dport == 53 and b"forged" in p.payload)
    answers = [p for p in heard if p.flow == asked.back]
    lie, truth = _packed(NOWHERE[0]), _packed(street.site.address4)
    assert answers[0].payload.endswith(lie)
    assert answers[1].payload.endswith(truth)


@needs_dig
def test_resets_listed_queries_over_tcp(street: Street) -> None:
    done = street.laptop.run(["dig", "+tcp", "+tries=1", "forged.example", "@dns.lab"])
    assert done.returncode == 9
    assert "reset" in done.stdout + done.stderr


@needs_dig
def test_knows_no_lies_about_other_names(street: Street) -> None:
    done = street.laptop.run(["dig", "+short", "free.example", "AAAA"])
    assert done.stdout.split() == [street.site.address6]
    assert "NXDOMAIN" in street.laptop.run(["dig", "nobody.example"]).stdout


def test_records_what_it_hears(street: Street, tmp_path: Path) -> None:
    street.wall.forget()
    street.curl("http://free.example/")
    street.curl("https://free.example/bytes/20000", "-o", "/dev/null")
    capture = street.wall.capture()
    assert capture.lost == 0
    assert capture.find(b"Host: free.example")
    assert capture.find(b"You have reached The Free Site")
    assert not capture.find(b"/bytes/20000")  # inside TLS
    street.wall.save(tmp_path / "wall.pcap")
    assert (tmp_path / "wall.pcap").stat().st_size > 20000
    if shutil.which("tcpdump"):
        done = street.laptop.run(
            ["tcpdump", "-Z", "root", "-Anr", str(tmp_path / "wall.pcap"), "port 80"]
        )
        assert "Host: free.example" in done.stdout


def test_relents(street: Street) -> None:
    street.wall.relent()
    try:
        for url in ("http://dropped.example/", "http://reset.example/", "http://forged.example/"):
            assert street.curl(url)[0] == 0, url
    finally:
        street.wall.drop(street.banned)
        street.wall.forge("forged.example")
        street.wall.reset("reset.example")
    assert street.curl("http://reset.example/")[0] == 56


def _resolve(street: Street, family: str) -> list[str]:
    address = street.site.address4 if family == "-4" else f"[{street.site.address6}]"
    return [w for port in (80, 443) for w in ("--resolve", f"www.reset.example:{port}:{address}")]


def _packed(text: str) -> bytes:
    return bytes(map(int, text.split(".")))
