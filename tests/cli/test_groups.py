"""`byway select`, `byway probe` and what `why` and `status` tell of groups: by a real Byway."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.request import urlopen

import pytest

SOURCE = Path(__file__).parents[2] / "src"
COMMAND = (sys.executable, "-m", "byway")

CONFIG = """
inbounds: {home: {type: mixed, listen: "127.0.0.1:0"}}
outbounds: {far: "socks5://127.0.0.1:9"}
groups:
  mine: {type: select, members: [auto, far, direct]}
  auto: {type: fallback, members: [far, direct], probe: {url: off}}
rules: [{otherwise: mine}]
"""


class Web(BaseHTTPRequestHandler):
    """Answers everything with a few bytes."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "4096")
        self.end_headers()
        self.wfile.write(bytes(4096))

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@pytest.fixture
def web() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Web) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        serving.join()


def environ(folder: Path) -> dict[str, str]:
    places = {"XDG_RUNTIME_DIR": str(folder), "XDG_STATE_HOME": str(folder / "state")}
    return {**os.environ, "PYTHONPATH": str(SOURCE), **places}


def said(folder: Path, *words: str, status: int = 0) -> str:
    done = subprocess.run(
        [*COMMAND, *words],
        env=environ(folder),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == status, done.stderr + done.stdout
    return done.stdout + done.stderr


@contextmanager
def running(folder: Path) -> Iterator[int]:
    """A Byway that runs c.yaml; its port."""
    with (
        (folder / "log").open("a") as log,
        subprocess.Popen(
            [*COMMAND, "run", "-c", "c.yaml"],
            cwd=folder,
            env=environ(folder),
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        ) as program,
    ):
        assert program.stdout is not None
        port = int(program.stdout.readline().rpartition(":")[2])
        try:
            yield port
        finally:
            program.terminate()
            assert program.wait(30) == 0
    assert "internal error" not in (folder / "log").read_text()


def test_a_choice_is_made_shown_and_remembered(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(CONFIG)
    with running(tmp_path):
        told = said(tmp_path, "select")
        assert "mine             select" in told
        assert "-> auto" in told
        assert "the default" in told
        assert "auto             fallback" in told
        told = said(tmp_path, "select", "mine", "direct")
        assert told.startswith("mine now uses direct\n(byway, pid ")
        assert told.endswith(f", {tmp_path}/c.yaml)\n")
        (group,) = json.loads(said(tmp_path, "select", "mine", "--json"))["groups"]
        assert (group["taken"], group["why"]) == ("direct", "selected by hand")
        told = said(tmp_path, "select", "mine", "dircet", status=1)
        assert "no member 'dircet'" in told
        assert "did you mean direct?" in told
        told = said(tmp_path, "select", "mien", "direct", status=1)
        assert "did you mean mine?" in told
        assert "did you mean mine?" in said(tmp_path, "select", "mien", status=1)
        assert "it selects by itself" in said(tmp_path, "select", "auto", "direct", status=1)
        status = said(tmp_path, "status")
        assert "groups" in status
        assert "-> direct" in status
        (tmp_path / "c.yaml").write_text(CONFIG.replace("[auto, far, direct]", "[auto, far]"))
        assert "~ group mine: members" in said(tmp_path, "reload")
        assert "direct was selected but is no longer a member; auto is used" in said(
            tmp_path, "status"
        )
        (tmp_path / "c.yaml").write_text(CONFIG)
    with running(tmp_path):
        assert "-> direct" in said(tmp_path, "select", "mine")


def test_why_asks_the_running_byway(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(CONFIG)
    told = said(tmp_path, "why", "192.0.2.1", "-c", "c.yaml")
    assert "group    mine takes auto: the default" in told
    assert "group    auto takes far: the first of the list" in told
    assert "no running Byway uses these groups" in told
    with running(tmp_path) as port, socket.create_server(("127.0.0.1", 0)) as server:
        far = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port), timeout=10) as near:
            near.sendall(b"\5\1\0\5\1\0\1\x7f\0\0\1" + far.to_bytes(2, "big"))
            got = b""
            while len(got) < 12:
                got += near.recv(12 - len(got))
            assert got[3] == 0
            told = said(tmp_path, "why", "--flow", "1")
            assert "auto: far failed: far: cannot reach its server 127.0.0.1:9" in told
            assert "chain    mine [c.yaml:5] > auto [c.yaml:6] > direct" in told
            told = said(tmp_path, "why", "192.0.2.1", "-c", "c.yaml")
            assert "group    auto takes" in told
            assert "no running Byway" not in told
            assert "1 failed: far: cannot reach its server 127.0.0.1:9" in told
            flows = said(tmp_path, "flows", "--json")
            assert json.loads(flows)["live"][0]["chain"] == ["mine", "auto", "direct"]


def test_probe_measures_with_and_without_a_running_byway(tmp_path: Path, web: str) -> None:
    (tmp_path / "c.yaml").write_text(CONFIG)
    words = ("probe", "--url", web, "--load", web, "--times", "2")

    def results(*more: str, status: int = 0) -> dict[str, dict[str, object]]:
        found = json.loads(said(tmp_path, *words, "--json", *more, status=status))["results"]
        return {one["name"]: one for one in found}

    alone = results("-c", "c.yaml", status=1)
    assert set(alone) == {"far", "direct"}
    assert alone["direct"]["bytes"] == 4096
    assert alone["far"]["hop"] == "far"
    with running(tmp_path) as port:
        assert set(results("auto", status=1)) == {"far", "direct"}
        assert set(results("direct")) == {"direct"}
        told = said(tmp_path, *words, status=1)
        assert "far failed: far: cannot reach its server 127.0.0.1:9" in told
        assert "direct" in told
        link = f"socks5://ann:secret@127.0.0.1:{port}#back"
        told = said(tmp_path, *words, link, status=0)
        assert "back" in told
        assert "secret" not in told
        assert "did you mean auto?" in said(tmp_path, *words, "atuo", status=1)
        assert "times is a number" in said(tmp_path, "probe", "--times", "0", status=1)
        assert "not a web address" in said(tmp_path, "probe", "--url", "x", status=1)
    assert "did you mean auto?" in said(tmp_path, *words, "atuo", "-c", "c.yaml", status=1)
    assert "nonsense" in said(tmp_path, *words, "nonsense://x", "-c", "c.yaml", status=1)


ANY_SCRIPT = """
control: {metrics: "127.0.0.1:%d"}
inbounds: {家: {type: mixed, listen: "127.0.0.1:0"}}
outbounds: {"🇭🇰 香港 01": "socks5://127.0.0.1:9"}
groups: {节点选择: {type: select, members: ["🇭🇰 香港 01", direct]}}
sets: {广告: {items: [ads.example]}}
rules: [{set: 广告, to: reject}, {otherwise: 节点选择}]
"""


def test_names_in_any_script(tmp_path: Path) -> None:
    """They pass tables, JSON, metrics, PAC, links and the log as they are."""
    with socket.create_server(("127.0.0.1", 0)) as door:
        metrics = door.getsockname()[1]
    text = ANY_SCRIPT % metrics
    (tmp_path / "c.yaml").write_text(text, encoding="utf-8")
    with running(tmp_path):
        status = said(tmp_path, "status")
        assert all(f"{name} " in status for name in ("家", "节点选择", "🇭🇰 香港 01"))
        assert said(tmp_path, "select", "节点选择", "direct").startswith("节点选择 now uses direct")
        assert "节点选择 takes direct" in said(tmp_path, "why", "a.example", "-c", "c.yaml")
        assert json.loads(said(tmp_path, "sets", "--json"))["sets"][0]["name"] == "广告"
        answer = urlopen(f"http://127.0.0.1:{metrics}/metrics").read().decode("utf-8")
        assert 'group="节点选择",member="🇭🇰 香港 01"' in answer
        assert "%E9%A6%99" in said(tmp_path, "link", "🇭🇰 香港 01", "-c", "c.yaml")
        assert "there is no group" in said(tmp_path, "select", "节点", status=1)
