"""Status, flows and groups of a running Byway, as lines of text. Pure: answers in, lines out.

All that came from the network is escaped before it is cut to its column.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import cast

from byway.cli.columns import clipped, last, padded
from byway.ledger.log import escaped

View = Mapping[str, object]

WIDE = 110  # columns, from which on the rule has a place of its own


def flow_lines(answer: View, width: int) -> Sequence[str]:
    """The table of an answer of /flows."""
    live, past = _views(answer["live"]), _views(answer["past"])
    lines = [title(width)]
    lines += [flow_line(flow, width) for flow in live]
    if past:
        lines += ["", f"recently ended ({answer['carried']} in all, {answer['failed']} failed)"]
        lines += [flow_line(flow, width) for flow in past]
    lines.append("")
    lines.append(f"{answer['total']} live flow{'s' * (answer['total'] != 1)}")
    return lines


def title(width: int) -> str:
    """The head of the table."""
    return _laid("id", "age", "target", "by", "up", "down", "rate", "rule or end", width)


def flow_line(flow: View, width: int) -> str:
    """One flow."""
    rule = cast("View | None", flow["rule"])
    if flow["live"]:
        rate = cast(int, flow["up_rate"]) + cast(int, flow["down_rate"])
        moving = f"{size(rate)}/s" if rate else "-"
        last = "" if rule is None else rule_words(rule)
    else:
        moving, last = "", str(flow["end"])
    if width < WIDE and not flow["live"]:
        moving = "failed" if flow["failed"] else "ended"
    mark = "" if flow["network"] == "tcp" else "/udp"
    hops = cast("Sequence[str]", flow["chain"])
    return _laid(
        str(flow["id"]),
        age(cast(float, flow["seconds"])),
        escaped(f"{flow['target']}{mark}"),
        escaped(">".join(hops) or str(flow["verdict"])),
        size(cast(int, flow["up"])),
        size(cast(int, flow["down"])),
        moving,
        escaped(last),
        width,
    )


def rule_words(rule: View) -> str:
    """A rule in short: its file's name and line, or its text where it has none."""
    if not rule["line"]:
        return str(rule["text"])
    return f"{str(rule['file']).rpartition('/')[2]}:{rule['line']} {rule['text']}"


def status_lines(answer: View) -> Iterator[str]:
    """The whole status."""
    flows, memory = cast(View, answer["flows"]), cast(View, answer["memory"])
    version, config = answer["version"], escaped(str(answer["config"]))
    up_for = age(cast(float, answer["uptime"]))
    yield f"byway {version}, pid {answer['pid']}, up {up_for}, {config}"
    yield ""
    ended = f"{flows['carried']} ended, {flows['failed']} failed"
    yield f"flows     {flows['live']} live, {ended}"
    yield f"moved     {size(cast(int, flows['up']))} up, {size(cast(int, flows['down']))} down"
    parts = ", ".join(
        f"{name} {size(cast(int, value))}"
        for name, value in memory.items()
        if name != "resident" and (value or name in ("code", "heap"))
    )
    yield f"memory    {size(cast(int, memory['resident']))} ({parts})"
    engine = cast("Mapping[str, int]", answer["engine"])
    yield f"engine    {', '.join(f'{value} {name}' for name, value in engine.items())}"
    yield from _packet_lines(cast("Mapping[str, int]", answer["packets"]))
    limits = cast("Mapping[str, float | None]", answer["limits"])
    said = (f"{name} {'off' if value is None else f'{value:g}'}" for name, value in limits.items())
    yield f"limits    {', '.join(said)}"
    off = _views(answer["switched_off"])
    yield f"rules     {answer['rules']}" + (f", {len(off)} disabled" if off else "")
    for one in off:
        left = "" if one["left"] is None else f" for {age(cast(float, one['left']))}"
        rule = cast(View, one["rule"])
        yield escaped(f"          {one['number']}{left}: {rule['text']}")
    yield ""
    yield "in"
    for inbound in _views(answer["inbounds"]):
        addresses = ", ".join(cast("list[str]", inbound["addresses"]))
        facts = cast("dict[str, str]", inbound["facts"])
        shown = "".join(f", {key} {value}" for key, value in facts.items())
        yield f"  {named(inbound)} {inbound['type']!s:<12} {escaped(addresses + shown)}"
    yield "out"
    for outbound in _views(answer["outbounds"]):
        chain = " > ".join(cast("list[str]", outbound["chain"]))
        networks = " ".join(cast("list[str]", outbound["networks"]))
        busy = f"{outbound['flows']} flows"
        yield escaped(
            f"  {named(outbound)} {outbound['type']!s:<12} {networks:<8} {busy:<10} {chain}"
        )
    if groups := _views(answer["groups"]):
        yield "groups"
        for group in groups:
            yield from (f"  {line}" for line in group_lines(group))
    yield from _name_lines(cast(View, answer["names"]))
    if (firewall := cast("View | None", answer["firewall"])) is not None:
        yield from _firewall_lines(firewall)
    if limited := _views(answer["limited"]):
        yield "limits"
        yield from (f"  {escaped(limit_line(limit))}" for limit in limited)
    degraded = _views(answer["degraded"])
    yield ""
    yield "healthy" if not degraded else "degraded"
    for thing in degraded:
        yield f"  {thing['what']}: {escaped(str(thing['why']))}"


def _firewall_lines(firewall: View) -> Iterator[str]:
    yield f"firewall  {'strict' if firewall['strict'] else 'set up'}"
    yield f"  rules     {firewall['count']} compiled into it, and obeyed without Byway"
    first = cast("View | None", firewall["judged_here"])
    if first is not None:
        place = f"{str(first['file']).rpartition('/')[2]}:{first['line']}"
        yield escaped(f"  judged    by Byway from {place} on: {first['text']}")


def group_lines(group: View) -> Iterator[str]:
    """A group and its members; an arrow marks the one it would take now."""
    yield escaped(f"{named(group)} {group['type']!s:<12} {group['flows']} flows")
    yield from member_lines(_views(group["members"]), str(group["taken"]), str(group["why"]))


def member_lines(members: Sequence[View], taken: str, why: str) -> Iterator[str]:
    """The members of a group with their scores; the one that is taken says why."""
    for member in members:
        mark = "->" if member["name"] == taken else "  "
        delay = member["delay"]
        known = "-" if delay is None else f"{cast(float, delay) * 1000:.0f} ms"
        text = ""
        if member["failures"]:
            text = f"{member['failures']} failed: {member['error']}"
        if member["state"] == "out":
            text = f"for {age(cast(float, member['back']))}; {text}"
        if member["name"] == taken:
            text = f"{why}; {text}" if text else why
        line = f"{mark} {named(member)} {member['state']!s:<6} {known:>8}  {text}"
        yield escaped(line.rstrip())


def named(view: View) -> str:
    """The name of a thing in the first column of a table."""
    return padded(escaped(str(view["name"])), 16)


def _packet_lines(packets: Mapping[str, int]) -> Iterator[str]:
    """The work of the packet listeners, and whether the kernel joins and cuts packets for them."""
    count = packets["listeners"]
    if not count:
        return
    yield f"packets   {packets['packets_up']} up, {packets['packets_down']} down"
    text = ", ".join(
        f"{name.upper()} {'on' if packets[name] == count else f'on {packets[name]} of {count}'}"
        if packets[name]
        else f"{name.upper()} off"
        for name in ("gro", "gso")
    )
    yield f"offloads  {text}"


def _name_lines(names: View) -> Iterator[str]:
    """The resolver's servers and cache, where the config has any."""
    cache = cast("Mapping[str, int] | None", names["cache"])
    if cache is None:
        return
    share = 100 * cache["hits"] // max(1, cache["hits"] + cache["misses"])
    remembered = f"{cache['answers']} of {cache['most']} answers, {size(cache['bytes'])}"
    yield f"names     {remembered}, {share}% of of lookups answered from it"
    for server in _views(names["servers"]):
        delay = f"{cast(float, server['delay']) * 1000:.0f} ms"
        counts = f"{server['asked']} asked, {server['failed']} failed"
        state = "failing" if server["failing"] else delay
        where = f"{server['address']}" + (f" via {server['via']}" if server["via"] else "")
        yield escaped(f"  {named(server)} {state:<12} {counts:<24} {where}")


def limit_line(limit: View) -> str:
    """A limit: what it allows, how far it is used, and what came of it."""
    most = "" if limit["flows"] is None else f"/{limit['flows']}"
    text = [f"{limit['live']}{most} flows"]
    ways = [way for way in ("up", "down") if limit[way] is not None]
    text += [f"{size(cast(float, limit[way]))}/s {way}" for way in ways]
    if limit["quota"] is not None:
        used, left = size(cast(int, limit["used"])), cast("float | None", limit["left"])
        again = "" if left is None else f", whole in {age(left)}"
        text.append(f"{used} of {size(cast(int, limit['quota']))} used{again}")
    text += [f"{limit[key]} {key}" for key in ("waits", "dropped", "refused") if limit[key]]
    return f"{limit['name']!s:<30} {', '.join(text)}"


def size(count: float) -> str:
    """Bytes in at most six characters: 999, 1.2K, 34K, 5.6M."""
    if count < 1000:
        return str(round(count))
    for unit in "KMGT":
        count /= 1000
        if count < 9.95:
            return f"{count:.1f}{unit}"
        if count < 999.5:
            return f"{count:.0f}{unit}"
    return f"{count:.0f}P"


def age(seconds: float) -> str:
    """A time in at most five characters: 0.4s, 59s, 12m, 3h, 20d."""
    if seconds < 10:
        return f"{seconds:.1f}s"
    for unit, length, most in (("s", 1, 120), ("m", 60, 7200), ("h", 3600, 172_800)):
        if seconds < most:
            return f"{seconds / length:.0f}{unit}"
    return f"{seconds / 86400:.0f}d"


def _laid(
    number: str, old: str, target: str, way: str, up: str, down: str, rate: str, rule: str,
    width: int,
) -> str:  # fmt: skip
    wide = width >= WIDE
    for_way = 22 if wide else 12
    fixed = 6 + 1 + 5 + 1 + 1 + for_way + 1 + 6 + 1 + 6 + 1 + 8
    rest = max(width - fixed, 12)
    for_target = min(48, rest * 3 // 5) if wide else rest
    line = (
        f"{number:>6} {old:>5} {padded(clipped(target, for_target), for_target)}"
        f" {padded(last(way, for_way), for_way)} {up:>6} {down:>6} {rate:>8}"
    )
    if wide:
        line = f"{line}  {clipped(rule, rest - for_target - 2)}"
    return line.rstrip()


def _views(value: object) -> Sequence[View]:
    return cast("Sequence[View]", value)
