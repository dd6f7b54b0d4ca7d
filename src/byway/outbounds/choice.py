"""In which order the members of a group are tried. Pure: what is known comes in, an order goes out.

All of these give every member once: the best first, the ones that are out at the very end, since
one that was out a moment ago is still better than none.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

from byway.flow import Rank, State, Target


def standing(ranks: Sequence[Rank], trusting: bool) -> list[int]:
    """The places in the config's order: those that are well, those on trial, those that are out,
    of these the one that comes back first. `trusting`: a trial is no reason to wait.
    """
    return sorted(range(len(ranks)), key=lambda at: _place(ranks[at], trusting))


def quickest(
    ranks: Sequence[Rank], trusting: bool, current: str | None, tolerance: float
) -> list[int]:
    """Among those that stand equal the one with the least delay. The current one stays the first
    while it is well and no other is quicker by more than the tolerance."""
    delays = delays_of(ranks)
    unknown = float("inf")

    def key(at: int) -> tuple[float, float, float]:
        state, back = _place(ranks[at], trusting)
        found = delays[at]
        return (state, back, unknown if found is None else found)

    order = sorted(range(len(ranks)), key=key)
    at = next((at for at in order if ranks[at].member == current), None)
    if at is None or at == order[0]:
        return order
    best, mine = delays[order[0]], delays[at]
    equal = _place(ranks[at], trusting) == _place(ranks[order[0]], trusting)
    if equal and (best is None or (mine is not None and best >= mine - tolerance)):
        order.remove(at)
        order.insert(0, at)
    return order


def delays_of(ranks: Sequence[Rank]) -> list[float | None]:
    """What to compare: the time to an answer where it is known of every member that answers at
    all, else the time of a dial. A dial ends at some servers and reaches the target by others."""
    whole = all(rank.answer is not None for rank in ranks if rank.dial is not None)
    return [
        None if rank.dial is None else rank.dial + ((rank.answer or 0.0) if whole else 0.0)
        for rank in ranks
    ]


def hashed(ranks: Sequence[Rank], trusting: bool, key: str) -> list[int]:
    """By a hash of the key: the same key finds the same member as long as that one stands, and
    another member that comes or goes moves its own share of the keys alone (rendezvous hashing).
    """
    drawn = [_draw(key, rank.member) for rank in ranks]
    return sorted(range(len(ranks)), key=lambda at: (_place(ranks[at], trusting), drawn[at]))


def in_turn(
    ranks: Sequence[Rank], trusting: bool, turn: int, order: Sequence[int] | None = None
) -> list[int]:
    """The turn-th of those that stand best, counted round and round, then the ones behind it.

    `order` is theirs by `standing`, where it is known already.
    """
    order = standing(ranks, trusting) if order is None else list(order)
    if not order:
        return order
    best = _place(ranks[order[0]], trusting)[0]
    equal = [at for at in order if _place(ranks[at], trusting)[0] == best]
    if best == State.OUT:
        return order
    first = turn % len(equal)
    return equal[first:] + equal[:first] + order[len(equal) :]


def site_of(target: Target) -> str:
    """The site of a target: an address, or the part of a name that one buys.

    An approximation that needs no list: the last two labels, or three where the name ends in two
    letters behind a label that registries sell below (`bbc.co.uk`, `www.gov.cn`).
    """
    if target.packed is not None:
        return target.host
    labels = target.host.split(".")
    if len(labels) > 2 and len(labels[-1]) == 2 and labels[-2] in _SOLD_BELOW:
        return ".".join(labels[-3:])
    return ".".join(labels[-2:])


def _place(rank: Rank, trusting: bool) -> tuple[int, float]:
    """The place of a member: the lower the better. Those that are out, by their return."""
    if rank.state is State.OUT:
        return (State.OUT, rank.back)
    return (State.WELL if trusting else rank.state, 0.0)


def _draw(key: str, member: str) -> bytes:
    return blake2b(f"{member}\0{key}".encode(), digest_size=8).digest()


_SOLD_BELOW = {
    "ac", "co", "com", "edu", "go", "gob", "gov", "gouv", "mil", "ne", "net", "nom", "or", "org",
    "sch",
}  # fmt: skip
