"""What stands in the firewall when a change of it fails, or is given up in the middle."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import threading

import pytest

from byway.app.walls import Standing, Walls
from byway.system.firewall import routes
from byway.system.firewall.table import FirewallError

pytestmark = [
    pytest.mark.usefixtures("nowhere"),
    pytest.mark.skipif(shutil.which("nft") is None, reason="nft is not installed"),
    pytest.mark.skipif(shutil.which("ip") is None, reason="ip is not installed"),
]


def diverted(family: str) -> bool:
    argv = ["ip", f"-{family}", "rule", "show"]
    return "0x2d8" in subprocess.run(argv, capture_output=True, text=True, check=True).stdout


def test_a_change_that_fails_leaves_the_former_routes(monkeypatch: pytest.MonkeyPatch) -> None:
    standing, real = Standing(), routes.Diverted

    def failing(families: tuple[str, ...]) -> routes.Diverted:
        if families == ("4", "6"):
            raise FirewallError("no")
        return real(families)

    monkeypatch.setattr(routes, "Diverted", failing)
    standing.become(Walls(families=("4",)))
    with pytest.raises(FirewallError, match="no"):
        standing.become(Walls(families=("4", "6")))
    assert (diverted("4"), diverted("6")) == (True, False)
    assert standing.now.families == ("4",)
    standing.end()
    assert not diverted("4")


async def test_the_end_waits_for_a_change_that_was_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    standing, begun, go_on = Standing(), threading.Event(), threading.Event()
    real = routes.Diverted

    def slow(families: tuple[str, ...]) -> routes.Diverted:
        begun.set()
        go_on.wait(60)
        return real(families)

    monkeypatch.setattr(routes, "Diverted", slow)
    change = asyncio.ensure_future(asyncio.to_thread(standing.become, Walls(families=("4",))))
    await asyncio.to_thread(begun.wait)
    change.cancel()
    end = asyncio.ensure_future(asyncio.to_thread(standing.end))
    go_on.set()
    await end
    assert not diverted("4")
