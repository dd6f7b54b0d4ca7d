"""The host's resolver, by way of the hosts file alone."""

from __future__ import annotations

import asyncio
import socket

import pytest

from byway.dns import SystemResolver
from byway.errors import Reason, Unreachable

pytestmark = pytest.mark.usefixtures("nowhere")


async def test_resolves_names_of_this_host() -> None:
    resolver = SystemResolver()
    found = await resolver.resolve("localhost")
    assert set(found) <= {b"\x7f\0\0\1", bytes(15) + b"\1"}
    assert await resolver.resolve("localhost") is found  # remembered
    resolver.close()


async def test_many_ask_at_once() -> None:
    resolver = SystemResolver(threads=2)
    found = await asyncio.gather(*(resolver.resolve("localhost") for _ in range(50)))
    assert len({tuple(one) for one in found}) == 1
    resolver.close()


async def test_what_was_judged_is_what_is_dialled(monkeypatch: pytest.MonkeyPatch) -> None:
    answers: list[str | None] = ["192.0.2.1", "127.0.0.1", None, "127.0.0.1"]

    def flipping(*_: object, **__: object) -> object:
        answer = answers.pop(0)
        if answer is None:
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (answer, 0))]

    monkeypatch.setattr(socket, "getaddrinfo", flipping)
    resolver = SystemResolver(kept=0)
    assert await resolver.resolve("flip.test") == await resolver.resolve("flip.test")
    assert len(answers) == 3
    await asyncio.sleep(0.01)
    assert await resolver.resolve("flip.test") == (b"\x7f\0\0\1",)
    await asyncio.sleep(0.01)
    for _ in range(2):
        with pytest.raises(Unreachable, match="no such name"):
            await resolver.resolve("flip.test")
    assert len(answers) == 1
    resolver.close()


@pytest.mark.parametrize("name", ["no-such-host.invalid", "x" * 70 + ".invalid"])
async def test_unknown_names(name: str) -> None:
    resolver = SystemResolver()
    with pytest.raises(Unreachable) as caught:
        await resolver.resolve(name)
    assert caught.value.reason is Reason.NAME_UNKNOWN
    resolver.close()
