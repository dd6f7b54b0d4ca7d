"""The host's resolver, by way of the hosts file alone."""

from __future__ import annotations

import asyncio

import pytest

from byway.dns import SystemResolver
from byway.errors import Reason, Unreachable


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


@pytest.mark.parametrize("name", ["no-such-host.invalid", "x" * 70 + ".invalid"])
async def test_unknown_names(name: str) -> None:
    resolver = SystemResolver()
    with pytest.raises(Unreachable) as caught:
        await resolver.resolve(name)
    assert caught.value.reason is Reason.NAME_UNKNOWN
    resolver.close()
