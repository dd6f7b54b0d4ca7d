"""A target and an upstream that swallow packets: the client is told in time, and what happened."""

from __future__ import annotations

import time
from pathlib import Path

from tests.interop.byway import Byway
from tests.interop.hosts import BLACK_HOLE, PROXY, Hosts
from tests.interop.programs import need, run, until

DIAL = 2
PORT = 1081  # of a namespace that is ours alone


def test_what_a_black_hole_swallows_is_given_up_in_time(hosts: Hosts, tmp_path: Path) -> None:
    doors = {"plain": PORT, "chained": PORT + 1}
    config = {
        "limits": {"dial": f"{DIAL}s"},
        "inbounds": {
            name: {"type": "mixed", "listen": f"{PROXY}:{port}", "open": True}
            for name, port in doors.items()
        },
        "outbounds": {"lost": {"type": "socks", "server": f"{BLACK_HOLE}:1080"}},
        "rules": [{"inbound": "chained", "to": "lost"}, {"otherwise": "direct"}],
    }
    byway = Byway(config, tmp_path, before=hosts.on(hosts.proxy))
    try:
        for port in doors.values():
            hosts.answering(hosts.client, PROXY, port)
            client = [
                *hosts.on(hosts.client),
                need("curl"),
                "-q",
                "-sS",
                "--noproxy",
                "",
                "-m",
                "60",
            ]
            began = time.monotonic()
            told = run(*client, "-x", f"socks5://{PROXY}:{port}", f"http://{BLACK_HOLE}/")
            assert told.returncode == 97
            words = ("-o", "/dev/null", "-w", "%{http_code}")
            told = run(*client, *words, "-x", f"http://{PROXY}:{port}", f"http://{BLACK_HOLE}/")
            assert told.stdout == b"504"
            assert time.monotonic() - began > 2 * DIAL - 1  # less than curl's 60 s each
        until(lambda: byway.log.count("limits.dial") == 4, what="four lines in the log")
    finally:
        byway.stop()
