"""What `byway import` makes of configs of sing-box and mihomo: the same flows go the same ways.

curl -> sing-box or Byway -> shadowsocks -> a sing-box server -> the origin
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.interop.byway import command
from tests.interop.conftest import Origin
from tests.interop.origin import content
from tests.interop.programs import Program, free_port, need, run, running
from tests.interop.sealed import secret, sing_server
from tests.interop.upstreams import mihomo, sing_box_program

pytestmark = pytest.mark.interop
METHOD = "2022-blake3-aes-128-gcm"


def config(port: int, server: int, closed: int) -> dict[str, object]:
    """As a person writes it for sing-box: one server, and names that never leave."""
    return {
        "log": {"level": "error"},
        "inbounds": [
            {"type": "mixed", "tag": "in", "listen": "127.0.0.1", "listen_port": port}
        ],
        "outbounds": [
            {"type": "selector", "tag": "proxy", "outbounds": ["ss"]},
            {"type": "shadowsocks", "tag": "ss", "server": "127.0.0.1", "server_port": server,
             "method": METHOD, "password": secret(METHOD)},
            {"type": "direct", "tag": "direct"},
        ],
        "route": {
            "rules": [
                {"domain_suffix": ["ads.example"], "action": "reject"},
                {"type": "logical", "mode": "and",
                 "rules": [{"domain_keyword": ["track"]}, {"port": [80, 443], "invert": True}],
                 "action": "reject"},
                {"rule_set": ["mine"], "action": "reject"},
                {"port": closed, "action": "reject"},
            ],
            "rule_set": [
                {"type": "inline", "tag": "mine", "rules": [{"domain": ["mine.example"]}]}
            ],
            "final": "proxy",
        },
    }  # fmt: skip


@contextmanager
def theirs(folder: Path, port: int, server: int, closed: int) -> Iterator[None]:
    file = folder / "client.json"
    file.write_text(json.dumps(config(port, server, closed)))
    program = Program([str(sing_box_program()), "run", "-c", str(file)], folder / "client.log")
    try:
        program.ready("127.0.0.1", port)
        yield
    finally:
        program.stop()


@contextmanager
def ours(folder: Path, port: int, server: int, closed: int) -> Iterator[None]:
    (folder / "theirs.json").write_text(json.dumps(config(port, server, closed)))
    done = subprocess.run(
        [*command(), "import", str(folder / "theirs.json"), "-o", str(folder / "byway.yaml")],
        capture_output=True, timeout=50, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "; 0 things" in done.stderr
    words = [*command(), "run", "-c", str(folder / "byway.yaml")]
    program = Program(words, folder / "byway.log")
    try:
        program.ready("127.0.0.1", port)
        yield
    finally:
        program.stop()


LOST = {"name": "v", "type": "snell", "server": "127.0.0.1", "port": 1, "psk": "x"}
GROUPS = {
    "lost": (["v", "DIRECT"], False),
    "first": (["DIRECT", "v"], True),
    "pass": (["PASS", "DIRECT"], False),
    "refused": (["REJECT", "DIRECT"], False),
    "outer": (["first", "v"], True),
    "behind": (["lost", "DIRECT"], False),
    "compatible": (["COMPATIBLE", "v"], True),
}


def clash(port: int) -> dict[str, Any]:
    """Groups whose first choice says where a name goes; each name is this host."""
    rules = [f"DOMAIN,{name}.test,{name}" for name in GROUPS]
    return {
        "mixed-port": port,
        "hosts": {f"{name}.test": "127.0.0.1" for name in (*GROUPS, "none", "skipped")},
        "proxies": [LOST],
        "proxy-groups": [
            {"name": name, "type": "select", "proxies": members}
            for name, (members, _) in reversed(GROUPS.items())
        ],
        "rules": [*rules, "DOMAIN,none.test,v", "DOMAIN,skipped.test,PASS", "DOMAIN,pass.test,v"],
    }


def reached(port: int, url: str) -> bool:
    """Whether curl gets there by the proxy on this port."""
    words = (need("curl"), "-q", "-s", "-f", "--noproxy", "", "-m", "20")
    return run(*words, "-x", f"socks5h://127.0.0.1:{port}", url).returncode == 0


def test_groups_of_clash_lead_where_they_do_in_mihomo(origin: Origin, tmp_path: Path) -> None:
    expected = {name: to for name, (_, to) in GROUPS.items()} | {"none": False, "skipped": True}
    urls = {
        name: origin.url("/bytes/1000").replace("127.0.0.1", f"{name}.test") for name in expected
    }
    port = free_port()
    with mihomo(tmp_path, clash(port), port):
        assert {name: reached(port, url) for name, url in urls.items()} == expected

    port = free_port()
    (tmp_path / "clash.yaml").write_text(json.dumps(clash(port)))
    words = [*command(), "import", str(tmp_path / "clash.yaml"), "-o", str(tmp_path / "byway.yaml")]
    done = subprocess.run(words, capture_output=True, timeout=50, text=True)
    assert done.returncode == 0, done.stderr
    words = [*command(), "run", "-c", str(tmp_path / "byway.yaml")]
    with running(words, tmp_path / "byway.log", port):
        assert {name: reached(port, url) for name, url in urls.items()} == expected


def test_an_import_behaves_as_its_source(origin: Origin, tmp_path: Path) -> None:
    there = origin.url("/bytes/1000")
    targets = {
        there: True,
        there.replace("127.0.0.1", "localhost"): True,
        "http://www.ads.example/": False,
        "http://tracker.example:8080/": False,
        "http://mine.example/": False,
        origin.url("/bytes/1000", tls=True): False,
    }
    (tmp_path / "server").mkdir()
    with sing_server(tmp_path / "server", METHOD) as server:
        for side in (theirs, ours):
            port = free_port()
            folder = tmp_path / side.__name__
            folder.mkdir()
            with side(folder, port, server, origin.https):
                for url, reached in targets.items():
                    words = (
                        need("curl"),
                        "-q",
                        "-s",
                        "-S",
                        "-f",
                        "-k",
                        "--noproxy",
                        "",
                        "-m",
                        "20",
                    )
                    done = run(*words, "-x", f"socks5h://127.0.0.1:{port}", url)
                    assert (done.returncode == 0) == reached, (side, url, done.stderr)
                    if reached:
                        assert done.stdout == content(1000)
