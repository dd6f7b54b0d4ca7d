"""Start-up and idle memory are features: what `byway run` imports is what it needs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SPARED = [
    *("ssl", "_ssl", "_hashlib", "ctypes", "email", "zipfile", "importlib.metadata", "difflib"),
    *("tempfile", "multiprocessing", "cryptography", "dns", "h2", "re2", "byway.lab"),
]
RUN = """
import signal, sys
import byway.cli.run as run
from byway.cli import main

def serve(config, reread, system_proxy=False):
    import asyncio
    from byway.api.control import Control
    from byway.app import App
    async def once():
        async with App(config) as app, Control(app, reread):
            print("while it runs", [name for name in {spared!r} if name in sys.modules])
    asyncio.run(once())
    return 0

run.run = serve
"""
LATER = """
import hashlib, ssl
ssl.create_default_context()
print("afterwards", hashlib.new("sha224", b"").hexdigest()[:6], "_hashlib" in sys.modules)
"""


def said(code: str, *, given: str = "") -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, input=given
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_run_imports_what_it_needs(tmp_path: Path) -> None:
    file = tmp_path / "byway.yaml"
    file.write_text(
        "log: {level: error}\n"
        f"control: {{socket: {tmp_path}/control}}\n"
        "inbounds: {home: {type: mixed, listen: '127.0.0.1:0'}}\n"
    )
    # main() does what the command does; only what it serves is cut short.
    start = "from byway.cli.lean import lean\nlean()\n" + RUN.format(spared=SPARED)
    run = f"{start}\nassert main(['run', '-c', {str(file)!r}]) == 0\n"

    assert said(run) == ["while it runs []"]


def test_what_was_spared_can_be_imported_later() -> None:
    begun = "import sys\nfrom byway.cli.lean import lean\nlean()\n"
    assert said(begun + LATER) == ["afterwards d14a02 False"]


def test_who_has_it_already_keeps_it() -> None:
    begun = "import ssl, sys\nfrom byway.cli.lean import lean\nlean()\n"
    assert said(begun + "import asyncio.sslproto\nprint(asyncio.sslproto.ssl is ssl)") == ["True"]
