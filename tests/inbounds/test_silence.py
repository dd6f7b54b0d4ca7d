"""How long a prober is heard out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from byway.errors import Reason, Refused
from byway.inbounds.silence import SPREAD, greeted
from byway.interfaces import Stream
from byway.streams.memory import scripted

SECONDS = 1000.0


async def _refused() -> None:
    raise Refused("no", Reason.CREDENTIALS)


async def _silent() -> None:
    await asyncio.get_running_loop().create_future()


class _Endless:
    """A client that neither says anything nor hangs up."""

    async def read(self, limit: int = 65536) -> bytes:
        await asyncio.get_running_loop().create_future()
        return bytes(limit)


@pytest.mark.parametrize("greeting", [_refused, _silent])
async def test_each_has_a_time_of_its_own(
    greeting: Callable[[], asyncio.Future[None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.get_running_loop()
    drawn: list[float] = []
    call_at, time = loop.call_at, loop.time()
    monkeypatch.setattr(loop, "time", lambda: time)  # the clock stands

    def noted(when: float, *args: object, **more: object) -> asyncio.TimerHandle:
        drawn.append(when - time)
        return call_at(when, *args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(loop, "call_at", noted)
    stream: Stream = _Endless()  # type: ignore[assignment]
    probes = [asyncio.ensure_future(greeted(stream, greeting(), SECONDS)) for _ in range(200)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    for probe in probes:
        probe.cancel()
    await asyncio.gather(*probes, return_exceptions=True)
    assert len(drawn) == len(set(drawn)) == 200
    assert all(SECONDS <= each <= SECONDS * (1 + SPREAD) for each in drawn)
    # Everywhere in between, and not in a row: with so many all eight parts are hit.
    parts = {int((each / SECONDS - 1) / SPREAD * 8) for each in drawn}
    assert parts >= set(range(8))
    assert drawn not in (sorted(drawn), sorted(drawn, reverse=True))


async def test_who_hangs_up_ends_it_at_once() -> None:
    near, _ = scripted(b"what comes is thrown away")
    with pytest.raises(Refused, match="no"):
        await greeted(near, _refused(), SECONDS)
