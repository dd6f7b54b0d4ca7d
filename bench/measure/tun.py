"""Programs that take connections from a TUN device: each has one of its own, and an address of the
target that is routed to it. What a program itself sends bears a mark, and is routed past all of
them."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Mapping
from itertools import count

from measure.processes import Process
from measure.programs import Program, Start
from measure.site import PORTS, Site, output, routed

MARK = 0x2D7
"""Of Byway's own sockets, and so of everybody's."""

MTUS = {"mtu 65535": 65535, "mtu 1500": 1500}
SING_BOX = tuple(f"sing-box {stack}" for stack in ("system", "gvisor", "mixed"))

NOTE = (
    "All are direct: a program's socket, a TUN device, the program, and a socket to the target. No"
    " program redirects connections by the firewall."
)

_DEVICE_WITHIN = 20.0  # seconds

Settings = Callable[[str, int, int], tuple[object, list[str]]]
"""(device, MTU, number) -> what the program is told, and the words before the file that says so."""


def _byway(name: str, mtu: int, number: int) -> tuple[object, list[str]]:
    settings = {
        "log": {"level": "warning", "flows": False},
        "limits": {"flows": 12500, "flows_per_source": 16384},
        "inbounds": {
            "bench": {
                "type": "tun",
                "name": name,
                "mtu": mtu,
                "addresses": f"172.31.{number}.1/30",
            }
        },
    }
    return settings, ["run", "-c"]


def _sing_box(stack: str) -> Settings:
    def settings(name: str, mtu: int, number: int) -> tuple[object, list[str]]:
        inbound = {
            "type": "tun",
            "interface_name": name,
            "address": [f"172.31.{number}.1/30"],
            "mtu": mtu,
            "auto_route": False,
            "stack": stack,
        }
        written = {
            "log": {"level": "error"},
            "inbounds": [inbound],
            "outbounds": [{"type": "direct", "routing_mark": MARK}],
        }
        return written, ["run", "-c"]

    return settings


def _mihomo(name: str, mtu: int, number: int) -> tuple[object, list[str]]:
    settings = {
        "mode": "direct",
        "log-level": "silent",
        "geo-auto-update": False,
        "routing-mark": MARK,
        "tun": {
            "enable": True,
            "device": name,
            "stack": "mixed",
            "mtu": mtu,
            "auto-route": False,
            "auto-detect-interface": False,
            "inet4-address": [f"172.31.{number}.1/30"],
        },
    }
    return settings, ["-f"]


def _start(settings: Settings, mtu: int) -> Start:
    def start(site: Site, executable: str, port: int) -> list[Process]:
        number = port - PORTS.start
        name = f"bench{number}"
        written, words = settings(name, mtu, number)
        path = site.write(f"{name}.json", json.dumps(written))  # JSON is YAML
        (site.folder / name).mkdir(exist_ok=True)
        command = [executable, *words, str(path)]
        if words == ["-f"]:
            command[1:1] = ["-d", str(site.folder / name)]
        process = Process(site.near, command, site.folder / f"{name}.log")
        _lead(site, name, port, process)
        return [process]

    return start


def _lead(site: Site, name: str, port: int, process: Process) -> None:
    """Route the program's address of the target to its device, as soon as that is up."""
    end = time.monotonic() + _DEVICE_WITHIN
    table = ["-n", site.near, "route", "replace", routed(port).partition(":")[0]]
    while process.alive and time.monotonic() < end:
        with contextlib.suppress(RuntimeError):
            output(["ip", *table, "dev", name, "table", "100"])
            return
        time.sleep(0.005)


def _programs() -> tuple[Program, ...]:
    ports = count(PORTS.start)
    peers: Mapping[str, tuple[str, Settings, tuple[str, ...]]] = {
        "byway": ("byway", _byway, ("--version",)),
        **{
            name: ("sing-box", _sing_box(name.partition(" ")[2]), ("version",)) for name in SING_BOX
        },
        "mihomo": ("mihomo", _mihomo, ("-v",)),
    }
    made = []
    for variant, mtu in MTUS.items():
        for name, (executable, settings, version) in peers.items():
            port = next(ports)
            made.append(
                Program(
                    name,
                    executable,
                    _start(settings, mtu),
                    {"tun": port},
                    variant=variant,
                    packets=mtu == max(MTUS.values()),
                    idle_flows=1000,
                    tests=() if mtu == max(MTUS.values()) else ("bulk_down_8", "bulk_up_8"),
                    weighed=mtu == max(MTUS.values()),
                    target=routed(port),
                    version=version,
                )
            )
    return tuple(made)


PROGRAMS = _programs()
