"""A virtual NIC: every program's packets, without a setting in any."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from byway.dialects.card import Card, In, Lent, Theirs, Written
from byway.dialects.diverting import any_places, taken_at
from byway.flow import TCP_AND_UDP, TCP_ONLY, Network
from byway.inbounds.diverted import Diverted, redirected
from byway.inbounds.entry import Entry
from byway.inbounds.tun import Nic, TunInbound
from byway.interfaces import PORTLESS
from byway.system.capture import Capture
from byway.system.firewall.programs import has_program
from byway.system.firewall.taking import Diversion
from byway.values.foreign import Foreign
from byway.values.problems import Path, Problems
from byway.values.texts import Interface, LinkAddress, Many, Ports, PrefixText
from byway.values.written import Node

if TYPE_CHECKING:
    from byway.engine import ListenOptions
    from byway.inbounds.entry import Means
    from byway.interfaces import Inbound


_SET_UP = ("auto_route", "lan")
_ADDRESSES = ("198.18.0.1/30", "fd62:7977:6179::1/126")


class TunSection(In):
    """A virtual NIC (TUN), made when Byway starts and gone when it ends. Needs CAP_NET_ADMIN."""

    keeps_strangers_out: ClassVar[bool] = True  # what has no route to it does not come

    type: Literal["tun"]
    listen: ClassVar[tuple[()]] = ()  # type: ignore[misc]
    name: Interface = "byway"
    """The name of the NIC."""
    mtu: Annotated[int, Field(ge=1280, le=65535)] = 65535
    """Its MTU: the longest packet, in bytes."""
    addresses: Annotated[tuple[LinkAddress, ...], Many] = Field(
        default=_ADDRESSES, validate_default=True
    )
    """Its addresses, each with the length of its prefix; one, or a list."""
    answer: Literal["at-once", "after-dial"] = "at-once"
    """When a program's connection is answered: at once, or only after the far side has answered,
    so that a dead host looks dead."""

    auto_route: bool = False
    """Lead this host's traffic to the NIC: Byway sets up routes and rules, and undoes them."""
    lan: Annotated[tuple[Interface, ...], Many] = ()
    """Lead to it what devices behind these interfaces send through this host (gateway mode)."""
    routes: Annotated[tuple[PrefixText, ...], Many] = ()
    """The targets that are led to it; none: all."""
    exclude: Annotated[tuple[PrefixText, ...], Many] = ()
    """Targets that are left alone, beside those that have a route of their own (LANs, bridges)."""
    exclude_uid: Annotated[tuple[Annotated[int, Field(ge=0, lt=2**32)], ...], Many] = ()
    """Users of this host whose traffic is left alone."""

    way: Literal["auto", "stack", "redirect"] = "auto"
    """How TCP comes: by the NIC (stack), or by NAT of the firewall, with the kernel's own TCP
    (redirect); auto: redirect where Byway sets up routes, nftables is there and `answer` allows."""
    strict: bool = False
    """Let nothing leave this host but by Byway, also while Byway is dead."""
    services: Annotated[tuple[Ports, ...], Many] = ()
    """Ports of this host whose clients are answered wherever they are, with `strict`."""

    @classmethod
    def networks_of(cls, node: Node) -> frozenset[Network]:
        """What it takes."""
        return TCP_AND_UDP

    @classmethod
    def check(cls, path: Path, node: Node, problems: Problems) -> None:
        """Note what does not fit together in what was written."""
        if node.text("way") == "redirect":
            if node.text("answer") == "after-dial":
                message = "with redirect the kernel answers a connection before it is dialled"
                problems.add((*path, "answer"), message, "write way: stack")
            if not any((one := node.get(key)) is not None and one.content for key in _SET_UP):
                message = "redirect needs a firewall that Byway sets up"
                problems.add((*path, "way"), message, "add auto_route: true, or lan")
            if (one := node.get("routes")) is not None and one.content:
                message = "redirect takes all connections"
                problems.add((*path, "routes"), message, "write way: stack", at_key=True)
        set_up = any((one := node.get(key)) is not None and one.content for key in _SET_UP)
        for key in ("routes", "exclude", "exclude_uid", "strict", "services"):
            if not set_up and (one := node.get(key)) is not None and one.content:
                message = f"{key} needs routes that Byway sets up"
                problems.add((*path, key), message, "add auto_route: true, or lan", at_key=True)

    def diversion(self, addresses: Sequence[str]) -> Diversion | None:
        """What the firewall brings beside the NIC, or decides before; what may leave this host,
        with `strict`."""
        set_up = self.auto_route or bool(self.lan)
        if not self.strict and not (set_up and (self.redirects or has_program("nft"))):
            return None
        networks, by = TCP_AND_UDP, "route"
        if self.redirects:
            networks, by = TCP_ONLY, "redirect"
        places = [text for text in addresses if not text.startswith(PORTLESS)]
        taken = taken_at(places, networks, by, self.auto_route, self.lan) if set_up else ()
        if self.redirects:
            taken += taken_at((), frozenset({Network.UDP}), "route", self.auto_route, self.lan)
        return Diversion(
            () if self.routes else taken,
            tuple(map(str, self.exclude)),
            tuple(map(str, self.exclude_uid)),
            strict=self.strict,
            services=tuple(f"{first}-{last}" for first, last in self.services),
            nic=self.name,
            virtual=tuple(one.partition("/")[0] for one in self.addresses),
        )

    def makes(self) -> Sequence[str]:
        """The NIC."""
        return (
            f"ip tuntap add dev {self.name} mode tun vnet_hdr",
            *(f"ip address add {one} dev {self.name}" for one in self.addresses),
            f"ip link set {self.name} mtu {self.mtu} up",
        )

    def capture(self, answers: bool) -> Capture | None:
        """What routes are to bring to the NIC."""
        if not self.auto_route and not self.lan:
            return None
        return Capture(
            self.name,
            tuple(self.addresses),
            tuple(map(str, self.routes)),
            tuple(map(str, self.exclude)),
            tuple(self.exclude_uid),
            tuple(self.lan),
            self.auto_route,
            answers,
        )

    @property
    def redirects(self) -> bool:
        """Whether connections come by the firewall's NAT."""
        if self.way != "auto":
            return self.way == "redirect"
        set_up = (self.auto_route or bool(self.lan)) and not self.routes
        return set_up and self.answer == "at-once" and has_program("nft")

    @property
    def marks(self) -> bool:
        """Byway's own connections must not come back by it."""
        return True

    def inbound(self, name: str, means: Means, options: ListenOptions, lent: Lent) -> Inbound:
        """The NIC, not made yet."""
        entry = Entry(name, means, guarded=self.guarded)
        nic = Nic(self.name, self.mtu, tuple(self.addresses), self.answer == "after-dial")
        beside = None
        if self.redirects:
            beside = Diverted(
                entry, any_places(bool(self.lan)), TCP_ONLY, redirected, options, lent.own, None
            )
        return TunInbound(entry, nic, options, beside=beside)


def _of_clash(entry: Foreign) -> Written:
    auto = entry.flag("auto-route") if "auto-route" in entry else True
    return _taking(entry, auto, "-")


def _of_sing_box(entry: Foreign) -> Written:
    return _taking(entry, entry.flag("auto_route"), "_")


def _taking(entry: Foreign, auto: bool, joint: str) -> Written:
    """Both programs have the same keys, with another joint between their words."""

    def key(words: str) -> str:
        return words.replace("_", joint)

    def prefixes(words: str) -> list[str]:
        return [text for start in _FAMILIES for text in entry.texts(key(f"{start}{words}"))]

    entry.pass_over(*map(key, _OF_THE_NIC))
    made: dict[str, object] = {"type": "tun"}
    if _NAME.fullmatch(name := entry.text("device", "interface_name")):
        made["name"] = name
    if 1280 <= (mtu := entry.number("mtu")) <= 65535:
        made["mtu"] = mtu
    if addresses := prefixes("address"):
        families = {":" in one for one in addresses}
        own = [one for one in _ADDRESSES if (":" in one) not in families]
        made["addresses"] = [*addresses, *own]  # a family without one would go past Byway
    from_links = entry.texts(key("include_interface"))
    if lan := [one for one in from_links if one != "lo"]:
        made["lan"] = lan
    if auto and (not from_links or "lo" in from_links):
        made["auto_route"] = True
    if not auto:
        entry.note("type", f"without {key('auto_route')}, routes to it are yours to set up")
        entry.pass_over(*(key(f"{start}{one}") for start in _FAMILIES for one in _OF_ROUTES))
        return {one: value for one, value in made.items() if one != "lan"}
    if set(routes := prefixes("route_address")) - _ALL:
        made["routes"] = routes
    if exclude := prefixes("route_exclude_address"):
        made["exclude"] = exclude
    if users := [text for text in entry.texts(key("exclude_uid")) if text.isdigit()]:
        made["exclude_uid"] = [int(text) for text in users]
    if entry.flag(key("strict_route")):
        entry.note(key("strict_route"), f"{key('strict_route')}: see strict of tun")
    entry.note("type", "takes all flows of this host (auto_route), as root; forwarded ones by lan")
    return made


_NAME = re.compile(r"[A-Za-z0-9_.-]{1,15}")
_FAMILIES = ("", "inet4_", "inet6_")
_OF_ROUTES = ("route_address", "route_exclude_address", "exclude_uid", "strict_route")
_OF_THE_NIC = (
    "enable", "type", "name", "stack", "gso", "gso_max_size", "auto_redirect",
    "auto_detect_interface", "endpoint_independent_nat", "udp_timeout", "platform",
    "iproute2_table_index", "iproute2_rule_index", "auto_redirect_input_mark",
    "auto_redirect_output_mark", "auto_redirect_reset_mark", "auto_redirect_nfqueue",
    "auto_redirect_iproute2_fallback_rule_index", "disable_icmp_forwarding", "loopback_address",
    "recvmsgx", "sendmsgx",
)  # fmt: skip
"""Keys that Byway decides by itself, or has no need of."""
_ALL = {"0.0.0.0/0", "0.0.0.0/1", "128.0.0.0/1", "::/0", "::/1", "8000::/1", "2000::/3"}
"""Prefixes that are together all targets."""


CARD = Card(
    TunSection,
    clash=Theirs(entering={"tun": _of_clash}, sections=("tun",)),
    sing_box=Theirs(entering={"tun": _of_sing_box}),
)
