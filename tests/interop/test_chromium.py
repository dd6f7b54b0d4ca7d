"""Headless Chromium, on a host of its own that reaches nothing but the proxy.

Chromium bypasses its proxy for loopback addresses, so three namespaces stand in for three hosts.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.interop.byway import Byway
from tests.interop.conftest import Certificate
from tests.interop.hosts import ORIGIN, PROXY, Hosts
from tests.interop.programs import Program, need, run, told

ROOT = Path(__file__).parents[2]
PORT, HTTP, HTTPS = 1080, 80, 443  # ports of namespaces that are ours alone
QUIET = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--ignore-certificate-errors",
    "--virtual-time-budget=15000",
]


@pytest.fixture(scope="module")
def through(
    hosts: Hosts, certificate: Certificate, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Byway]:
    """An origin and a Byway on their hosts; Byway is open to the client's link."""
    folder = tmp_path_factory.mktemp("chromium")
    with ExitStack() as stack:
        for port, more in ((HTTP, []), (HTTPS, [str(certificate.chain), str(certificate.key)])):
            words = [sys.executable, "-m", "tests.interop.origin", ORIGIN, str(port), *more]
            command = [*hosts.on(hosts.origin), *words]
            stack.callback(Program(command, folder / f"origin-{port}.log", cwd=ROOT).stop)
            hosts.answering(hosts.proxy, ORIGIN, port)
        inbound = {"type": "mixed", "listen": f"{PROXY}:{PORT}", "open": True}
        config = {"inbounds": {"door": inbound}}
        byway = Byway(config, folder, before=hosts.on(hosts.proxy))
        stack.callback(byway.stop)
        hosts.answering(hosts.client, PROXY, PORT)
        yield byway


@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
@pytest.mark.parametrize("scheme", ["http", "socks5", "socks4"])
def test_loads_a_page_and_what_its_script_fetches(
    scheme: str, tls: bool, hosts: Hosts, through: Byway, tmp_path: Path
) -> None:
    command = [
        *hosts.on(hosts.client),
        *(need("chromium"), *QUIET, f"--user-data-dir={tmp_path}", "--dump-dom"),
        f"--proxy-server={scheme}://{PROXY}:{PORT}",
        f"{'https' if tls else 'http'}://{ORIGIN}/page",
    ]
    page = told(run(*command, within=90, env={"HOME": str(tmp_path)})).decode()
    assert "arrived 1 1000 70000 100001 2 3 4 300000" in page


def test_the_client_reaches_the_origin_no_other_way(hosts: Hosts, through: Byway) -> None:
    command = [*hosts.on(hosts.client), need("curl"), "-q", "-sS", "--noproxy", "*", "-m", "5"]
    assert run(*command, f"http://{ORIGIN}/seen").returncode == 7


@pytest.fixture(scope="module")
def at_home(
    hosts: Hosts, through: Byway, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Byway]:
    """A Byway beside the browser: one port goes straight, all else by the proxy."""
    config = {
        "inbounds": {"home": {"type": "mixed", "listen": f"127.0.0.1:{PORT}"}},
        "outbounds": {"up": {"type": "http", "server": f"{PROXY}:{PORT}"}},
        "rules": [{"port": HTTPS, "to": "direct"}, {"otherwise": "up"}],
    }
    byway = Byway(config, tmp_path_factory.mktemp("home"), before=hosts.on(hosts.client))
    try:
        hosts.answering(hosts.client, "127.0.0.1", PORT)
        yield byway
    finally:
        byway.stop()


def by_its_pac_file(proxy: str, url: str, hosts: Hosts, folder: Path) -> str:
    """The page that a browser shows which knows nothing but a proxy's PAC file."""
    command = [
        *hosts.on(hosts.client),
        *(need("chromium"), *QUIET, f"--user-data-dir={folder}", "--dump-dom"),
        f"--proxy-pac-url=http://{proxy}/proxy.pac",
        url,
    ]
    return told(run(*command, within=90, env={"HOME": str(folder)})).decode()


@pytest.mark.parametrize("proxy", [f"{PROXY}:{PORT}", f"127.0.0.1:{PORT}"], ids=["far", "home"])
def test_finds_the_way_by_the_pac_file(
    proxy: str, hosts: Hosts, at_home: Byway, tmp_path: Path
) -> None:
    page = by_its_pac_file(proxy, f"http://{ORIGIN}/page", hosts, tmp_path)
    assert "arrived 1 1000 70000 100001 2 3 4 300000" in page
    if proxy.startswith("127."):
        assert f"target={ORIGIN}:{HTTP} verdict=up" in at_home.log


def test_goes_straight_where_the_pac_file_says_so(
    hosts: Hosts, at_home: Byway, tmp_path: Path
) -> None:
    page = by_its_pac_file(f"127.0.0.1:{PORT}", f"https://{ORIGIN}/page", hosts, tmp_path)
    assert "arrived" not in page  # no road leads there
    assert f"{ORIGIN}:{HTTPS}" not in at_home.log  # and nobody asked Byway for one
