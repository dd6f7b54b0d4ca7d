"""From one generation to the next: start, reload, and the way back of a failed one.

One sequence for all of them. Comes in: a config. Goes out: its generation in force, with its
listeners open, and what only the former one had ended; or an error, and all as it was.
"""

from __future__ import annotations

import asyncio
import errno
import time
from collections.abc import Mapping
from dataclasses import replace

from byway.app.firewall import Firewall
from byway.app.generation import Generation, Lasting, build
from byway.app.keepers import Keepers
from byway.app.naming import end_names
from byway.app.routing import Routing
from byway.app.switches import Switches, carried_over
from byway.config import Config
from byway.config.limited import alike
from byway.config.listening import cannot_listen
from byway.inbounds.both import Both
from byway.inbounds.listener import StreamInbound
from byway.interfaces import Carry, Inbound
from byway.outbounds.loops import places_of
from byway.system.firewall.table import FirewallError
from byway.system.plan import HostError

FREED = 1.0  # seconds until an address that was given up is surely free


class Exchange:
    """Puts generations in force. `changing` is held while that happens: one at a time. Flows are
    carried by `carry`, and `tasks` owns those who accept them, which are `serving`."""

    def __init__(
        self,
        lasting: Lasting,
        switches: Switches,
        keepers: Keepers,
        carry: Carry,
        changing: asyncio.Lock,
        tasks: asyncio.TaskGroup,
        firewall: Firewall,
        routing: Routing,
    ) -> None:
        self._firewall = firewall
        self._routing = routing
        self._lasting = lasting
        self._switches = switches
        self._keepers = keepers
        self._carry = carry
        self._changing = changing
        self._tasks = tasks
        self.serving: set[asyncio.Task[None]] = set()

    async def to(self, config: Config) -> Generation:
        """Run this config from now on. What is the same keeps its listeners, outbounds and flows,
        and the flows of what is not the same come to their own end.

        Raises OSError where an address or a file cannot be had, and all is as it was.
        """
        async with self._changing:
            before = self._lasting.in_force.now
            after = await build(config, self._lasting, self._keepers.unchanged(config))
            try:
                await self._put_in_force(after)
            except BaseException:
                if self._lasting.in_force.now.number != after.number:
                    for plugin in after.plugins:
                        await plugin.close()
                    _end_writing(before, after, kept=before)
                raise
            return self._lasting.in_force.now

    async def _put_in_force(self, after: Generation) -> None:
        """Open what is new, exchange the one reference, end what only the former one has.

        An address can pass from one inbound to another, so those that go are closed first. Where
        one of the new ones cannot be had, the way back is the same.
        """
        lasting, before = self._lasting, self._lasting.in_force.now
        same = _same(before, after)
        new = {name: after.door(name) for name in after.config.inbounds if name not in same}
        turned = {name for name in new if _can_become(before.inbounds.get(name), new[name])}
        staying = {
            name: inbound
            for name, inbound in before.inbounds.items()
            if name in same or name in turned
        }
        opened: dict[str, Inbound] = {}
        if len(staying) < len(before.inbounds):
            for name in before.inbounds.keys() - staying.keys():
                before.inbounds[name].close()
            lasting.in_force.now = _with(before, staying)
        try:
            for name in [name for name in new if name not in turned]:
                opened[name] = await self._opened(after, new[name], bool(before.number))
            doors = {name: opened.get(name) or staying[name] for name in after.config.inbounds}
            await self._divert(after, doors)
        except BaseException:
            for inbound in opened.values():
                inbound.close()
            if len(staying) < len(before.inbounds):
                await self._put_in_force(before)
            raise
        for name in turned:
            _become(staying[name], new[name])
        hits = before.hits
        if after.whole is not before.whole:
            hits = carried_over(hits, after.rules) if hits else {}
        lasting.in_force.now = replace(_with(after, doors), hits=hits)
        if after.number != before.number:
            self._settle(before, after)
        for inbound in opened.values():
            self._serve(inbound)
        if after.number != before.number:
            await self._keepers.limit(before, after)

    def _settle(self, before: Generation, after: Generation) -> None:
        """End what only the former one has, and have the keepers follow the new one."""
        lasting = self._lasting
        after.roster.adopt()
        _end_writing(before, after, kept=after)
        end_names(lasting.names, before.names, after.names)
        lasting.ledger.forget_judges()
        self._switches.wake()
        for group, member, default in after.roster.strayed():
            lasting.log.warning(
                "the selected member is gone", group=group, chosen=member, now=default
            )
        for odd in after.problems:
            place = f"{odd.file}:{odd.line}:{odd.column}" if odd.line else odd.file
            lasting.log.warning(odd.message, at=place, key=odd.key or None, hint=odd.hint or None)
        self._keepers.follow(after)

    async def _opened(self, after: Generation, inbound: Inbound, patient: bool) -> Inbound:
        """A way in, open. An address that was just given up takes a moment to be free."""
        until = time.monotonic() + (FREED if patient else 0.0)
        while True:
            try:
                await inbound.open()
            except OSError as error:
                inbound.close()
                if error.errno != errno.EADDRINUSE or time.monotonic() >= until:
                    raise cannot_listen(after.config, inbound.name, error) from error
                await asyncio.sleep(0.01)
                inbound = after.door(inbound.name)
            else:
                return inbound

    async def _divert(self, after: Generation, doors: Mapping[str, Inbound]) -> None:
        """Have the firewall and the routes bring flows here. Raises OSError."""
        try:
            await self._firewall.follow(after, doors)
            await self._routing.follow(after, doors)
        except (FirewallError, HostError) as error:
            raise OSError(0, f"{error} ({error.hint})" if error.hint else str(error)) from error

    def _serve(self, inbound: Inbound) -> None:
        task = self._tasks.create_task(inbound.serve(self._carry))
        self.serving.add(task)
        task.add_done_callback(self.serving.discard)
        addresses = ",".join(inbound.addresses)
        self._lasting.log.info("listening", inbound=inbound.name, addresses=addresses)


def _with(generation: Generation, inbounds: Mapping[str, Inbound]) -> Generation:
    """The same with these listeners."""
    addresses = {name: inbound.addresses for name, inbound in inbounds.items()}
    diverting = any(generation.config.inbounds[name].diverts for name in inbounds)
    return replace(generation, inbounds=inbounds, places=places_of(addresses), diverting=diverting)


def _same(before: Generation, after: Generation) -> set[str]:
    """The ways in that go on as they are."""
    if before.config.limits != after.config.limits:
        return set()
    old, new = before.config.inbounds, after.config.inbounds
    return {name for name in before.inbounds if alike(old[name], new.get(name))}


def _can_become(inbound: Inbound | None, new: Inbound) -> bool:
    """Whether a running inbound can become the new one, and keep its listeners."""
    if isinstance(inbound, StreamInbound) and isinstance(new, StreamInbound):
        return inbound.is_placed_as(new)
    return isinstance(inbound, Both) and isinstance(new, Both) and inbound.is_placed_as(new)


def _become(inbound: Inbound, new: Inbound) -> None:
    """Let a running inbound become the new one, as it can."""
    if isinstance(inbound, Both):
        assert isinstance(new, Both)
        inbound.become(new)
    else:
        assert isinstance(inbound, StreamInbound)
        assert isinstance(new, StreamInbound)
        inbound.become(new)


def _end_writing(before: Generation, after: Generation, kept: Generation) -> None:
    """End the log's writer of the one that is not kept; lines that wait for a first one get it."""
    if before.writer is after.writer:
        return
    assert after.writer is not None
    for line in before.unwritten:
        after.writer.write(line)
    ended = before.writer if kept is after else after.writer
    if ended is not None:
        ended.close()
