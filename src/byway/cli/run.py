"""`byway run`: an App in the foreground, until a signal ends it."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys

from byway.api.control import Control
from byway.app import App, Reread
from byway.config import Config
from byway.log import escaped
from byway.system.limits import raise_open_files


def run(config: Config, reread: Reread) -> int:
    """Serve until SIGINT or SIGTERM, then drain; a second signal ends it at once."""
    raise_open_files()
    try:
        asyncio.run(_serve(config, reread))
    except OSError as error:
        print(f"byway: {escaped(error.strerror or str(error))}", file=sys.stderr)
        return 1
    return 0


async def _serve(config: Config, reread: Reread) -> None:
    asked = asyncio.Event()
    async with App(config) as app, Control(app, reread):

        def stop() -> None:
            if asked.is_set():
                app.hurry()
            asked.set()

        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop)
        _calm_collector()
        _announce(app)
        await asked.wait()
        await app.drain()


def _announce(app: App) -> None:
    """Print where we listen. The log says it too, so an output that is full or gone is no fault."""
    try:
        for name, addresses in app.addresses.items():
            print(f"{name}: {', '.join(addresses)}", flush=True)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _calm_collector() -> None:
    """Collect garbage less often: a flow leaves no cycles unless it fails, and a collection that
    walks thousands of idle flows costs a tenth of all new connections. What stands now, stays."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 50, 100)
