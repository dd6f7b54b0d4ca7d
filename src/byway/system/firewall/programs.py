"""The programs nft and ip: where they are, and what they say. Each run has a limit of time."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Sequence

from byway.system.firewall.table import FirewallError

WAIT = 20.0
"""Seconds for a run; large sets take some."""

_SBIN = "/usr/local/sbin:/usr/sbin:/sbin"
_PACKAGES = {"nft": "nftables", "ip": "iproute2"}


def program(name: str) -> str:
    """The path of `nft` or `ip`. Raises FirewallError where it is not installed."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:{_SBIN}")
    if found is None:
        hint = f"Debian: apt install {_PACKAGES[name]}"
        raise FirewallError(f"the program {name} is not installed", hint)
    return found


def has_program(name: str) -> bool:
    """Whether a program is installed."""
    return shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:{_SBIN}") is not None


def run(name: str, words: Sequence[str], script: str = "") -> str:
    """What it prints, given a script to read. Raises FirewallError with its first complaint."""
    try:
        done = subprocess.run(
            [program(name), *words],
            input=script,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=WAIT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise FirewallError(f"{name} did not answer within {WAIT:g} seconds") from None
    if done.returncode != 0:
        said = complaint(done.stderr)
        hint = "run Byway as root, or with CAP_NET_ADMIN" if "permitted" in said else ""
        raise FirewallError(f"{name}: {said}", hint)
    return done.stdout


def ended(process: subprocess.Popen[bytes]) -> None:
    """Have a helper process end by the end of its input, or kill it when it takes too long."""
    if process.stdin is not None and not process.stdin.closed:
        with contextlib.suppress(OSError):  # it is gone
            process.stdin.close()
    try:
        process.wait(WAIT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def complaint(said: str) -> str:
    """The first line that says something."""
    for line in said.splitlines():
        if (at := line.find("Error:")) >= 0:
            return line[at + 6 :].strip()
    return said.strip().partition("\n")[0] or "no reason given"
