"""What real clients say first: curl, OpenSSL, Chromium, HTTP/3; taken on loopback, cut anywhere."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from byway.facts.sniffing import sniff_packets, sniff_stream
from byway.flow import UNHEARD, Sniffed
from byway.streams.ciphers import PureCiphers
from tests.interop.byway import Byway
from tests.interop.conftest import Origin
from tests.interop.programs import CLEAN, free_port, need, run

NAME = "www.example.com"
PURE = PureCiphers()


def first_bytes(command: Sequence[str], listener: socket.socket) -> bytes:
    """What a program says to a listener that never answers, until it has to wait."""
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env=CLEAN,
    ) as program:  # fmt: skip
        try:
            listener.settimeout(20)
            link, _ = listener.accept()
            with link:
                link.settimeout(10)
                said = link.recv(65536)
                link.settimeout(0.2)
                while True:
                    try:
                        more = link.recv(65536)
                    except TimeoutError:
                        return said
                    if not more:
                        return said
                    said += more
        finally:
            program.kill()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["curl", "-q", "-s", "-k", "-m", "20", "https://{name}:{port}/"], "tls"),
        (["curl", "-q", "-s", "-k", "-m", "20", "--tlsv1.3", "https://{name}:{port}/"], "tls"),
        (["curl", "-q", "-s", "-m", "20", "http://{name}:{port}/"], "http"),
        (["curl", "-q", "-s", "-m", "20", "--http2", "http://{name}:{port}/"], "http"),
        (["openssl", "s_client", "-connect", "127.0.0.1:{port}", "-servername", "{name}"], "tls"),
        (
            ["openssl", "s_client", "-connect", "127.0.0.1:{port}", "-servername", "{name}",
             "-max_send_frag", "512"],
            "tls",
        ),
    ],
)  # fmt: skip
def test_what_a_client_says_is_understood_wherever_it_is_cut(
    words: list[str], expected: str
) -> None:
    need(words[0])
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        resolved = ["--resolve", f"{NAME}:{port}:127.0.0.1"] if words[0] == "curl" else []
        command = [word.format(name=NAME, port=port) for word in words]
        said = first_bytes([*command, *resolved], listener)

    assert sniff_stream(said) == (Sniffed(expected, NAME), True)
    for count in range(len(said)):
        seen, _ = sniff_stream(said[:count])
        assert seen in (UNHEARD, Sniffed(expected), Sniffed(expected, NAME))


def test_http_2_by_prior_knowledge() -> None:
    need("curl")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        words = ["curl", "-q", "-s", "-m", "20", "--http2-prior-knowledge"]
        said = first_bytes([*words, f"http://127.0.0.1:{port}/"], listener)

    assert sniff_stream(said) == (Sniffed("http"), True)


CHROMIUM = [
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--no-proxy-server",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-dev-shm-usage", "--ignore-certificate-errors", "--virtual-time-budget=15000",
    "--dump-dom",
]  # fmt: skip


def test_chromium_says_hello_by_tls(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        command = [
            *(need("chromium"), *CHROMIUM, f"--user-data-dir={tmp_path}", "--disable-quic"),
            f"--host-resolver-rules=MAP {NAME}:443 127.0.0.1:{port}, MAP * ~NOTFOUND",
            f"https://{NAME}/",
        ]
        said = first_bytes(command, listener)

    assert sniff_stream(said) == (Sniffed("tls", NAME), True)


def test_chromium_says_hello_by_quic(tmp_path: Path) -> None:
    """Its ClientHello does not fit into one datagram, and is cut into shuffled pieces."""
    packets: list[bytes] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.settimeout(40)
        port = listener.getsockname()[1]
        command = [
            *(need("chromium"), *CHROMIUM, f"--user-data-dir={tmp_path}", "--enable-quic"),
            f"--origin-to-force-quic-on={NAME}:443",
            f"--host-resolver-rules=MAP {NAME}:443 127.0.0.1:{port}, MAP * ~NOTFOUND",
            f"https://{NAME}/",
        ]
        with subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=CLEAN
        ) as program:
            try:
                while len(packets) < 8:
                    packets.append(listener.recv(2048))
                    seen, done = sniff_packets(packets, PURE)
                    assert seen.protocol == "quic"
                    if done:
                        break
            finally:
                program.kill()

    assert sniff_packets(packets, PURE) == (Sniffed("quic", NAME), True)


def test_a_real_flow_is_judged_by_its_hello(origin: Origin, tmp_path: Path) -> None:
    """curl fetches one site, and is cut off from another at the same address."""
    port = free_port()
    config = {
        "inbounds": {"door": {"type": "mixed", "listen": f"127.0.0.1:{port}"}},
        "rules": [
            {"sniffed": {"protocol": ["tls"], "domain": "blocked.example"}, "to": "reject"},
            {"otherwise": "direct"},
        ],
    }
    with ExitStack() as stack:
        byway = Byway(config, tmp_path)
        stack.callback(byway.stop)
        byway.ready()
        at = origin.url("/bytes/1000", tls=True).split("/")[2].rpartition(":")[2]
        for name, status in (("fine.example", 0), ("blocked.example", 35)):
            words = ["-q", "-sS", "-k", "-m", "20", "-o", "/dev/null", "--noproxy", ""]
            words += ["--resolve", f"{name}:{at}:127.0.0.1", "-x", f"socks5://127.0.0.1:{port}"]
            done = run(need("curl"), *words, f"https://{name}:{at}/bytes/1000")
            assert done.returncode == status, done.stderr
