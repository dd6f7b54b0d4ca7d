"""Groups of real programs: microsocks, tinyproxy, sing-box and ss-server; one of them dies.

client -> Byway (a group) -> one of the real proxies -> the origin
"""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any, cast

import pytest

from tests.interop.byway import Config, byway, listening
from tests.interop.conftest import Origin
from tests.interop.origin import content
from tests.interop.programs import free_port, need, run, told
from tests.interop.sealed import AEAD, secret, ss_server
from tests.interop.upstreams import microsocks, sing_box_upstream, tinyproxy

KINDS = ["fallback", "fastest", "balance"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_member_dies_and_the_next_one_carries(kind: str, origin: Origin, tmp_path: Path) -> None:
    method, port = AEAD[0], free_port()
    with ExitStack() as stack:
        first = stack.enter_context(ExitStack())
        ways: dict[str, Config] = {
            "tiny": first.enter_context(tinyproxy(tmp_path)).outbound,
            "micro": stack.enter_context(microsocks(tmp_path)).outbound,
            "sing": stack.enter_context(sing_box_upstream(tmp_path, "socks")).outbound,
        }
        server = stack.enter_context(ss_server(tmp_path, method))
        ways["ss"] = {
            "type": "shadowsocks",
            "server": f"127.0.0.1:{server}",
            "method": method,
            "password": secret(method),
        }
        probe = {"url": origin.url("/seen"), "every": "5s"}
        config = {
            **listening(port),
            "control": {"socket": str(tmp_path / "c.sock")},
            "outbounds": ways,
            "groups": {"g": {"type": kind, "members": [*ways], "probe": probe}},
            "rules": [{"otherwise": "g"}],
        }
        with byway(config, tmp_path / "byway"):
            curl = (need("curl"), "-q", "-sS", "-f", "--noproxy", "", "-m", "20")
            proxy = ("-x", f"socks5h://127.0.0.1:{port}")
            for _ in range(4):
                assert told(run(*curl, *proxy, origin.url("/bytes/70000"))) == content(70_000)
            first.close()  # tinyproxy is gone
            for _ in range(6):
                assert told(run(*curl, *proxy, origin.url("/bytes/70000"))) == content(70_000)
            flows = _asked(tmp_path, "flows", "--json", "--past", "100")
            past = cast("list[dict[str, Any]]", flows["past"])
            assert not any(flow["failed"] for flow in past)
            assert all(flow["chain"][0] == "g" for flow in past)
            assert "tiny" not in {flow["chain"][1] for flow in past[:5]}
            words = ["probe", "g", "--url", origin.url("/seen"), "--times", "1", "--json"]
            words += ["--load", origin.url("/bytes/8000001"), "--seconds", "60"]
            found = {one["name"]: one for one in _asked(tmp_path, *words, status=1)["results"]}
            assert found["tiny"]["error"]
            for name in ("micro", "sing", "ss"):
                assert found[name]["error"] is None
                assert found[name]["bytes"] == 8_000_001


def _asked(folder: Path, *words: str, status: int = 0) -> dict[str, list[dict[str, object]]]:
    """What a verb says of the running Byway."""
    command = [sys.executable, "-m", "byway", *words, "--socket", str(folder / "c.sock")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == status, done.stderr
    answer: dict[str, list[dict[str, object]]] = json.loads(done.stdout)
    return answer
