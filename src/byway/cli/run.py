"""`byway run`: an App in the foreground, until a signal ends it."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import sys

from byway.api.control import Control
from byway.app import App, Reread
from byway.config import Config
from byway.errors import ConfigError
from byway.log import escaped
from byway.system.limits import raise_open_files
from byway.system.state import state_folder


def run(config: Config, reread: Reread) -> int:
    """Serve until SIGINT or SIGTERM, then drain; a second one ends it at once. SIGHUP reloads."""
    raise_open_files()
    try:
        asyncio.run(_serve(config, reread))
    except OSError as error:
        print(f"byway: {escaped(error.strerror or str(error))}", file=sys.stderr)
        return 1
    return 0


async def _serve(config: Config, reread: Reread) -> None:
    asked = asyncio.Event()
    reloads: asyncio.Queue[None] = asyncio.Queue(1)
    app = App(config, memory=state_folder(config.file, os.environ, os.getuid()))

    def stop() -> None:
        if asked.is_set():
            app.hurry()
        asked.set()

    def reload() -> None:
        if not reloads.full():
            reloads.put_nowait(None)

    # Before anything is bound or said: a signal may follow our first line at once.
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    loop.add_signal_handler(signal.SIGHUP, reload)
    async with app, Control(app, reread), asyncio.TaskGroup() as tasks:
        reloading = tasks.create_task(_reload_when_told(app, reread, reloads))
        _calm_collector()
        _announce(app)
        await asked.wait()
        reloading.cancel()
        await app.drain()


async def _reload_when_told(app: App, reread: Reread, told: asyncio.Queue[None]) -> None:
    while True:
        await told.get()
        with contextlib.suppress(ConfigError, OSError):  # the log has it
            for line in await app.reload_from(reread):
                app.log.info("changed", what=line)


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
