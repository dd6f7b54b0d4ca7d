"""The program under test, as a person runs it: `byway run -c FILE` in a process of its own."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from tests.interop.programs import Program, free_port
from tests.machine import LOOPBACKS

Config = dict[str, Any]

ANN = ("ann", "a secret: 100% änn")
USERS = [{"name": ANN[0], "password": ANN[1]}, {"name": "bob", "password": "b"}]


def command() -> list[str]:
    """How to start Byway: the installed command beside this Python, or $BYWAY_COMMAND."""
    return os.environ.get("BYWAY_COMMAND", str(Path(sys.executable).parent / "byway")).split()


def listening(port: int, kind: str = "mixed", **more: object) -> Config:
    """A config with one inbound on loopback, on IPv4 and (where it is there) IPv6."""
    listen = [f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host in LOOPBACKS]
    return {"inbounds": {"home": {"type": kind, "listen": listen, **more}}}


class Byway:
    """A running `byway run`."""

    def __init__(
        self,
        config: Config,
        folder: Path,
        *,
        before: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / "byway.yaml"
        file.write_text(yaml.safe_dump(config, allow_unicode=True), encoding="utf-8")
        file.chmod(0o600)
        self.config = config
        self.program = Program(
            [*before, *command(), "run", "-c", str(file)],
            folder / "byway.log",
            env={"PYTHONWARNINGS": "default", **(env or {})},
            cwd=folder,
        )

    @property
    def log(self) -> str:
        """All it logged so far."""
        return self.program.output

    @property
    def pid(self) -> int:
        """The process id."""
        return self.program.pid

    def ready(self) -> Byway:
        """Wait until every TCP listener of the config accepts; returns itself."""
        for inbound in self.config.get("inbounds", {}).values():
            listens = inbound["listen"]
            networks = inbound.get("network", "tcp")
            if "tcp" not in networks:
                continue
            for listen in [listens] if isinstance(listens, str) else listens:
                if not listen.startswith("unix:"):
                    host, _, port = listen.rpartition(":")
                    self.program.ready(host.strip("[]"), int(port))
        return self

    def resident(self) -> int:
        """Its resident memory in bytes."""
        pages = Path(f"/proc/{self.pid}/statm").read_text(encoding="ascii").split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def descriptors(self) -> int:
        """How many files and sockets it holds."""
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def stop(self) -> None:
        """End it by SIGTERM: it must leave by itself, with status 0, and have said nothing wild."""
        status = self.program.stop()
        log = self.log
        assert status == 0, f"ended with {status}: {log[-3000:]}"
        for trace in ("Traceback", "panicked at", "Warning:", "never awaited", "never retrieved"):
            assert trace not in log, log[-5000:]


@contextmanager
def byway(
    config: Config,
    folder: Path,
    *,
    before: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
) -> Iterator[Byway]:
    """Byway with this config, ready, checked and ended when the block ends."""
    program = Byway(config, folder, before=before, env=env)
    try:
        yield program.ready()
    except BaseException:
        program.program.stop()
        raise
    program.stop()


@contextmanager
def proxying(folder: Path, kind: str = "mixed", **more: object) -> Iterator[int]:
    """Byway with one inbound on loopback; the block gets its port."""
    port = free_port()
    with byway(listening(port, kind, **more), folder):
        yield port
