"""What is set up in the host's firewall: as values, and how one becomes the next."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace

from byway.config import Config
from byway.flow import frozen
from byway.rules import Judge
from byway.rules.head import Head, head_of
from byway.system.firewall import left, nft, routes, strict, taking
from byway.system.firewall.clauses import Clause, Term
from byway.system.firewall.strict import Strict, is_private
from byway.system.firewall.table import FirewallError, Table
from byway.system.firewall.taking import Diversion, Taking
from byway.system.marks import DIVERTED, GROUP, OWN


@frozen
class Walls:
    """Tables, and the families of which diverted packets are routed to this host. `head` are the
    rules that the firewall obeys by itself."""

    taking: Table | None = None
    strict: Table | None = None
    families: tuple[str, ...] = ()
    head: Head = Head()


class Standing:
    """What is there now. Its methods block, and wait for each other: who asked for a change may be
    cancelled while it is made in a thread, and have all undone at once."""

    def __init__(self) -> None:
        self.now = Walls()
        self._changing = threading.Lock()
        self._held: nft.Held | None = None
        self._routes: routes.Diverted | None = None

    def become(self, walls: Walls) -> None:
        """Set up this in place of what is there. Raises FirewallError, and undoes what it did."""
        with self._changing:
            before, self.now = self.now, walls
            try:
                self._change(before, walls)
            except BaseException:
                self.now = before
                with contextlib.suppress(FirewallError):  # the first failure is what counts
                    self._change(walls, before)
                raise

    def end(self) -> None:
        """Undo all of it. Raises FirewallError."""
        self.become(Walls())

    def _change(self, before: Walls, walls: Walls) -> None:
        """What lets nothing leave is there before anything else changes, and goes last."""
        if walls.strict is not None and walls.strict != before.strict:
            left.check_room(strict.NAME)  # it is replaced in one step: nothing leaves between
            nft.load(walls.strict.script())
        former, needed = self._routes, walls.families
        if needed and (former is None or former.families != needed):
            self._routes = None  # a failure leaves none, and its undoing makes the former again
            if former is not None:
                former.close()
            self._routes = routes.Diverted(needed)
        if walls.taking != before.taking:
            self._take(walls.taking)
        if not needed and former is not None:
            former.close()
            self._routes = None
        if walls.strict is None:
            left.make_room(strict.NAME)  # also that of a former Byway, which was killed

    def _take(self, table: Table | None) -> None:
        """Load the table that diverts, or remove it."""
        if table is None and self._held is not None:
            self._held.close()
            self._held = None
        elif table is None:
            nft.remove(taking.NAME)
        elif self._held is not None:
            self._held.replace(table)
        else:
            left.make_room(table.name)
            if nft.owns():
                self._held = nft.Held(table)
            else:
                nft.load(table.script())


def walls_of(config: Config, diversions: Mapping[str, Diversion], judge: Judge) -> Walls:
    """What is to be set up for these inbounds. Raises FirewallError."""
    head = head_for(config, judge, tuple(name for name, one in diversions.items() if one.taken))
    links = tuple(routes.links())
    near = tuple(sorted({prefix for _, prefix in links if is_private(prefix)}))
    taken = tuple(one for diversion in diversions.values() for one in diversion.taken)
    _check(diversions)
    exclude = tuple(text for one in diversions.values() for text in one.exclude)
    users = tuple(text for one in diversions.values() for text in one.exclude_users)
    table: Table | None = taking.table_of(
        Taking(
            taken,
            OWN,
            DIVERTED,
            GROUP,
            head.clauses,
            (*exclude, *near),
            users,
            tuple(text for one in diversions.values() for text in one.virtual),
            about=left.about("what is diverted"),
        )
    )
    if not taken:
        table, head = None, Head()
    closed = None
    if any(one.strict for one in diversions.values()):
        services = tuple(text for one in diversions.values() for text in one.services)
        about = left.about("nothing leaves but by Byway")
        closed = strict.table_of(
            Strict(
                OWN,
                DIVERTED,
                GROUP,
                tun=next((one.nic for one in diversions.values() if one.nic), ""),
                virtual=tuple(text for one in diversions.values() for text in one.virtual),
                links=links,
                exceptions=exclude,
                services=services,
                about=about,
            )
        )
    return Walls(table, closed, taking.routed(taken), head)


def _check(diversions: Mapping[str, Diversion]) -> None:
    """Nothing is taken twice. Raises FirewallError."""
    seen: dict[tuple[str, str], str] = {}
    for name, diversion in diversions.items():
        for one in diversion.taken:
            for place in (*(["this host"] if one.own else []), *one.lan):
                first = seen.setdefault((one.network, place), name)
                if first != name:
                    raise FirewallError(
                        f"the inbounds {first} and {name} both take {one.network} of {place}",
                        "let one of them take it: auto, lan and network say what",
                    )


def head_for(config: Config, judge: Judge, names: Sequence[str]) -> Head:
    """The rules that the firewall obeys for flows of these inbounds. What has limits comes here,
    and so does what leaves by anything but a plain `direct`."""
    direct = {
        name
        for name, section in config.outbounds.items()
        if section.hop is None and section.dialling is not None and section.is_plain
    }
    if any(config.inbounds[name].limit is not None for name in names):
        direct = set()
    counted = {entry.ref for entry in config.rules if entry.limit is not None}
    head = head_of(judge.rules, names, direct, counted)
    if config.dns is None or config.dns.fake_ip is None:
        return head
    # Nobody has a fake address: whatever rules say of addresses, flows to one come here.
    fakes = [Term("to", (str(one),), False) for one in config.dns.fake_ip.ranges]
    return replace(head, clauses=(*(Clause((one,), "take") for one in fakes), *head.clauses))
