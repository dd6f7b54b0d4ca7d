"""Hosts and routers of a lab: machines with a network of their own, on which programs run."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from byway.lab.process import Process, listening
from byway.lab.space import environment
from byway.lab.wiring import Node, Port

if TYPE_CHECKING:
    from byway.lab.premises import Addressed, Premises

T = TypeVar("T")

# Runs a function, found by the file it is in, and answers with what it returned or raised.
_CALL = """\
import importlib, importlib.util, pickle, sys
name, file, function, given, out = sys.argv[1:6]
if name.partition(".")[0] == "byway":
    module = importlib.import_module(name)
else:
    spec = importlib.util.spec_from_file_location(name, file)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
with open(given, "rb") as handle:
    args, kwargs = pickle.load(handle)
try:
    result = (True, getattr(module, function)(*args, **kwargs))
except BaseException as error:
    result = (False, error)
with open(out, "wb") as handle:
    pickle.dump(result, handle)
"""


class Host:
    """A machine in the lab. Make one with `Lab.host`; its addresses come with its links."""

    def __init__(self, lab: Premises, node: Node) -> None:
        self.lab = lab
        self.node = node
        self.space = lab.space_of(node)
        self._calls = 0

    @property
    def name(self) -> str:
        """What the lab calls it; `NAME.lab` in the lab's resolver."""
        return self.node.name

    @property
    def address4(self) -> str:
        """Its first IPv4 address."""
        return str(self._first().v4.ip)

    @property
    def address6(self) -> str:
        """Its first IPv6 address."""
        return str(self._first().v6.ip)

    @property
    def addresses(self) -> list[IPv4Address | IPv6Address]:
        """All its addresses, in the order of its links, IPv4 before IPv6."""
        return [ip for port in self.node.ports for ip in (port.v4.ip, port.v6.ip)]

    def toward(self, other: Host) -> str:
        """The name of the device that leads to a neighbour. Raises ValueError if it is none."""
        for port in self.node.ports:
            if any(end.node is other.node for end in port.segment.ports):
                return port.device
        raise ValueError(f"{self.name} and {other.name} share no link")

    def command(self, argv: Sequence[str], cwd: str | None = None) -> list[str]:
        """The command line that runs `argv` here, for those who start processes their own way."""
        return self.space.command(list(argv), cwd or os.getcwd())

    def environment(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        """What a program here finds in its environment: ours, no proxies, the lab's CA trusted."""
        env = environment()
        env.pop("XDG_RUNTIME_DIR", None)  # every host has a /run of its own
        for name in ("CURL_CA_BUNDLE", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "GIT_SSL_CAINFO"):
            env[name] = str(self.lab.authority.certificate)
        env["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
        env["PYTHONUNBUFFERED"] = "1"
        return {**env, "BYWAY_LAB": self.lab.id, "BYWAY_LAB_HOST": self.name, **(extra or {})}

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout: float = 20,
        check: bool = False,
        stdin: str = "",
        env: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a program here to its end, with its output. Raises subprocess.TimeoutExpired."""
        self.lab.settle()
        process = subprocess.Popen(
            self.command(argv),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env=self.environment(env),
            start_new_session=True,
        )
        with process:
            try:
                out, err = process.communicate(stdin, timeout)
            except BaseException:
                os.killpg(process.pid, 9)
                raise
        if check and process.returncode:
            raise subprocess.CalledProcessError(process.returncode, list(argv), out, err)
        return subprocess.CompletedProcess(list(argv), process.returncode, out, err)

    def start(
        self,
        argv: Sequence[str],
        *,
        ready: str | None = None,
        env: Mapping[str, str] | None = None,
        timeout: float = 20,
    ) -> Process:
        """Start a program here; it is ended with the lab. `ready`: wait until it prints this."""
        self.lab.settle()
        process = self.start_nowait(argv, env=env)
        if ready is not None:
            process.wait_for(ready, timeout)
        return process

    def start_nowait(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        stdin: int = subprocess.DEVNULL,
    ) -> Process:
        """Start a program here as things are, be the network ready or not."""
        number = len(self.lab.processes)
        log = self.space.directory / f"{number}.log"
        name = f"{os.path.basename(argv[0])} on {self.name}"
        process = Process(self.command(argv), name, log, self.environment(env), stdin)
        self.lab.processes.append(process)
        return process

    def python(self, module: str, *arguments: str) -> Process:
        """Start `python -m module` here, a server of the lab that prints "ready"; see `settle`."""
        process = self.start_nowait([sys.executable, "-m", module, *arguments])
        self.lab.awaited.append(process)
        return process

    def call(self, function: Callable[..., T], *args: Any, timeout: float = 20, **kwargs: Any) -> T:
        """Run a module-level function here, in a process of its own, and return what it returns.

        Arguments and result are pickled. What it raises is raised here.
        """
        argv, out = self._calling(function, args, kwargs)
        done = self.run(argv, timeout=timeout)
        if not out.exists():
            raise RuntimeError(f"{function.__qualname__} on {self.name}: {done.stderr}")
        good, result = pickle.loads(out.read_bytes())
        if not good:
            raise result
        answer: T = result
        return answer

    def start_call(self, function: Callable[..., object], *args: Any, ready: str) -> Process:
        """Start a module-level function here, a server say, and wait until it prints `ready`."""
        argv, _ = self._calling(function, args, {})
        return self.start(argv, ready=ready)

    def shell(self) -> int:
        """Open a shell here on our own terminal, until the person leaves it."""
        self.lab.settle()
        env = self.environment({"PS1": f"{self.name}$ "})
        before = signal.signal(signal.SIGINT, lambda *_: None)  # Ctrl-C is for what runs in it
        try:
            return subprocess.run(self.command(["bash", "--norc"]), env=env).returncode
        finally:
            signal.signal(signal.SIGINT, before)

    def listens(self, port: int, network: str = "tcp") -> bool:
        """Whether something here listens on the port."""
        return listening(self.space.pid, port, network)

    def wait_listening(
        self, process: Process, port: int, network: str = "tcp", timeout: float = 20
    ) -> None:
        """Wait until the port is open here. Raises NotReady when `process` ends first."""
        process.wait_until(lambda: self.listens(port, network), timeout, f"{network} port {port}")

    def _calling(
        self, function: Callable[..., object], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[list[str], Path]:
        """The command line that runs a function, and the file its outcome will be in."""
        module = sys.modules[function.__module__]
        self._calls += 1
        given = self.space.directory / f"call{self._calls}.given"
        given.write_bytes(pickle.dumps((args, kwargs)))
        out = given.with_suffix(".out")
        what = [function.__module__, module.__file__ or "", function.__qualname__]
        return [sys.executable, "-c", _CALL, *what, str(given), str(out)], out

    def _first(self) -> Port:
        if not self.node.ports:
            raise ValueError(f"{self.name} has no link yet, so no address")
        return self.node.ports[0]


def addresses_of(targets: Iterable[Addressed | str]) -> list[str]:
    """The addresses of hosts, as text; what is text already stays as it is."""
    found: list[str] = []
    for target in targets:
        found += [target] if isinstance(target, str) else map(str, target.addresses)
    return found


class Router(Host):
    """A host that passes others' packets on, and with NAT hides its LANs behind itself."""
