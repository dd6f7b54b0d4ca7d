"""`byway run`: an App in the foreground, until a signal ends it."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable

from byway.api.control import Control
from byway.app import App, Reread
from byway.config import Config
from byway.errors import ConfigError, in_words
from byway.ledger.log import escaped_lines
from byway.system.open_files import raise_open_files
from byway.system.state import state_folder


def run(
    config: Config,
    reread: Reread,
    system_proxy: bool = False,
    ready: Callable[[], None] | None = None,
    confirm: float | None = None,
) -> int:
    """Serve until SIGINT or SIGTERM, then drain; a second one ends it at once. SIGHUP reloads.

    With `system_proxy` the desktop's own settings lead here meanwhile. `ready` is called when all
    listeners are open. With `confirm`, it ends after so many seconds unless SIGUSR1 comes before.
    """
    raise_open_files()
    try:
        asyncio.run(_serve(config, reread, system_proxy, ready, confirm))
    except OSError as error:
        print(f"byway: {escaped_lines(in_words(error))}", file=sys.stderr)
        return 1
    return 0


async def _serve(
    config: Config,
    reread: Reread,
    system_proxy: bool,
    ready: Callable[[], None] | None,
    confirm: float | None,
) -> None:
    asked, confirmed = asyncio.Event(), asyncio.Event()
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
    loop.add_signal_handler(signal.SIGUSR1, confirmed.set)
    async with app, Control(app, reread), asyncio.TaskGroup() as tasks:
        reloading = tasks.create_task(_reload_when_asked(app, reread, reloads))
        _calm_collector()
        _announce(app)
        if ready is not None:
            ready()
        awaiting = None
        if confirm is not None:
            awaiting = tasks.create_task(_end_unless(confirmed, confirm, app, stop))
        async with _desktop_led_here(app, system_proxy):
            await asked.wait()
        reloading.cancel()
        if awaiting is not None:
            awaiting.cancel()
        await app.drain()


async def _end_unless(
    confirmed: asyncio.Event, within: float, app: App, stop: Callable[[], None]
) -> None:
    try:
        async with asyncio.timeout(within):
            await confirmed.wait()
        app.log.info("confirmed")
    except TimeoutError:
        app.log.warning("ending: not confirmed", within=f"{within:g}s")
        stop()


@contextlib.asynccontextmanager
async def _desktop_led_here(app: App, wanted: bool) -> AsyncIterator[None]:
    """Have the desktop's programs come here meanwhile; first put back what a crash left set."""
    folder = state_folder("system-proxy", os.environ, os.getuid())
    if not wanted and (folder is None or not (folder / "settings.json").exists()):
        yield
        return
    from byway.cli.system_proxy import SystemProxy, put_back_what_was_left

    try:
        await asyncio.to_thread(put_back_what_was_left, app.log)
    except OSError as error:  # flows are served already; a crowd may have taken all descriptors
        app.log.warning("the system's proxy is not restored", error=error)
    if not wanted:
        yield
        return
    inbounds = [
        {"name": name, "type": app.now.config.inbounds[name].type, "addresses": list(addresses)}
        for name, addresses in app.addresses.items()
    ]
    proxy = SystemProxy(app.log, inbounds)
    try:
        await asyncio.to_thread(proxy.set)
        yield
    finally:
        await asyncio.to_thread(proxy.put_back)


async def _reload_when_asked(app: App, reread: Reread, asked: asyncio.Queue[None]) -> None:
    while True:
        await asked.get()
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
