"""Share links: an outbound in one line, as other programs write it. Each card has its forms."""

from __future__ import annotations

from dataclasses import dataclass, field

from byway import dialects
from byway.dialects.card import Out
from byway.values.wrong import Wrong, shown

SCHEMES = tuple(dialects.schemes())


@dataclass(frozen=True, slots=True)
class Link:
    """A link, read: a name without secrets in it, and the outbound as a config would write it."""

    name: str
    outbound: dict[str, object] = field(repr=False)


def is_link(text: str) -> bool:
    """Whether a text is meant as a link and not as a name."""
    return "://" in text


def read_link(text: str) -> Link:
    """Read a link. Raises Wrong, whose message shows neither user nor password.

    What stands in the link's place of a server or a user is checked with the outbound.
    """
    scheme, _, rest = text.strip().partition("://")
    scheme = scheme.lower()
    known = dialects.schemes()
    if scheme not in known:
        raise Wrong(
            f"unknown kind of link {shown(scheme + '://')}",
            f"known: {', '.join(s + '://' for s in known)}",
            choices=tuple(known),
        )
    label, outbound = dialects.card(known[scheme]).links[scheme](scheme, rest)
    return Link(label or f"{scheme}://{outbound['server']}", outbound)


def write_link(outbound: Out, name: str = "") -> str:
    """The link of an outbound, password included. Raises ValueError where none can say it."""
    for key in ("via", "udp_over_tcp", "transport", "mux"):
        if key not in outbound.in_link and getattr(outbound, key, None):
            raise ValueError(f"a link cannot express {key}")
    return outbound.link(name)
