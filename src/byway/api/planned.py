"""What a config would do to this host, in words; nothing of it is done."""

from __future__ import annotations

from collections.abc import Iterator

from byway.config import Config, judge_of, open_sets

ANY_PORT = 65535
"""Stands in what is printed for a port that is chosen at the start."""


def planned(config: Config) -> Iterator[str]:
    """The changes, a line each, in the order in which they are made. Raises HostError and
    FirewallError where the host does not allow them, OSError for a file that cannot be read."""
    yield from _nics(config)
    yield from _tables(config)
    yield from _routes(config)


def _nics(config: Config) -> Iterator[str]:
    for section in config.inbounds.values():
        yield from section.makes()


def _tables(config: Config) -> Iterator[str]:
    places = {
        name: [_with_port(str(place)) for place in section.places()]
        for name, section in config.inbounds.items()
        if section.marks
    }
    found = {
        name: config.inbounds[name].diversion([*texts, *(f"{text}/udp" for text in texts)])
        for name, texts in places.items()
    }
    diversions = {name: one for name, one in found.items() if one is not None}
    if not diversions:
        return
    from byway.app.walls import walls_of  # what others need not load

    walls = walls_of(config, diversions, judge_of(config, open_sets(config).sets))
    for table in (walls.strict, walls.taking):
        if table is not None:
            yield "nft -f - <<EOF"
            yield from table.text().splitlines()
            yield "EOF"
    for family in walls.families:
        yield f"ip -{family} rule add fwmark 0x2d8 lookup 728"
        yield f"ip -{family} route add local default dev lo table 728"


def _routes(config: Config) -> Iterator[str]:
    answers = config.dns is not None and config.dns.hijack
    captures = [section.capture(answers) for section in config.inbounds.values()]
    wanted = [one for one in captures if one is not None]
    if not wanted:
        return
    from byway.system import routing  # what others need not load
    from byway.system.capture import plan_of

    taken = [*routing.priorities(4), *routing.priorities(6)]
    for capture in wanted:
        for change in plan_of(capture, taken, routing.addresses()):
            yield change.describe()


def _with_port(place: str) -> str:
    return f"{place[:-1]}{ANY_PORT}" if place.endswith(":0") else place
