"""The sections of the one YAML file, their defaults and bounds.

Every model is frozen and refuses unknown keys. The values inside are the parsed ones (seconds,
bytes, targets, prefixes); the texts a person writes for them are read by `values.py`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, PrivateAttr

from byway.config.control import ControlSocket, MetricsAddress
from byway.config.groups import GroupConfig
from byway.config.names.dns import Dns
from byway.config.rules.conditions import RuleEntry, SetConfig
from byway.dialects.card import In, Out
from byway.errors import Problem
from byway.rules.geo import NOWHERE, World
from byway.system.marks import OWN
from byway.values.section import Section
from byway.values.texts import AutoNumber, FilePath, duration, size

if TYPE_CHECKING:
    from byway.config.rules.terms import PythonPlace
    from byway.facts.python import Function

COMMAND = "exec"
"""The inbound of the flows of a command (`byway exec`), for rules; no section has to name it."""
RESERVED = ("reject", "drop", "otherwise")


class Log(Section):
    """The log."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """The minimum level that is logged."""
    format: Literal["human", "json"] = "human"
    """Lines for people, or one JSON object a line."""
    flows: bool = True
    """One line per flow, when it ends."""
    file: FilePath | None = None
    """The log file; null: standard error. Relative to the folder of the config."""


class Limits(Section):
    """Time limits and sizes."""

    handshake: Annotated[float, duration("100ms", "10m")] = Field(
        default="10s", validate_default=True
    )
    """Time limit of a client's handshake."""
    dial: Annotated[float, duration("100ms", "10m")] = Field(default="10s", validate_default=True)
    """Time limit to reach the target, including the handshakes of the chain."""
    sniff: Annotated[float, duration("10ms", "10s")] = Field(default="300ms", validate_default=True)
    """Time limit to wait for a client's first bytes, if a rule needs them."""
    idle: Annotated[float, duration("1s", "30d", off=math.inf)] = Field(
        default="off", validate_default=True
    )
    """Close a connection after this long without data; off: never."""
    udp_idle: Annotated[float, duration("1s", "1d")] = Field(default="1m", validate_default=True)
    """Remove a UDP session after this long without packets."""
    head: Annotated[int, size("1KiB", "1MiB")] = Field(default="64KiB", validate_default=True)
    """Maximum size of an HTTP head."""
    flows: AutoNumber = Field(default="auto", validate_default=True)
    """Maximum number of connections; auto (None): from the limit on open files."""
    flows_per_source: int = Field(default=4096, ge=1, le=10_000_000)
    """Maximum number of connections of one source address (of one /64 with IPv6)."""
    udp_sessions: int = Field(default=4096, ge=1, le=1_000_000)
    """Maximum number of UDP sessions of one inbound."""
    udp_targets: int = Field(default=1024, ge=1, le=65_536)
    """Maximum number of targets of one UDP session."""
    drop: Annotated[float, duration("1s", "10m", off=0.0)] = Field(
        default="30s", validate_default=True
    )
    """How long a dropped connection is held open; off: closed at once."""
    drain: Annotated[float, duration("0s", "10m")] = Field(default="5s", validate_default=True)
    """How long live flows may continue after Ctrl-C or SIGTERM."""


class Control(Section):
    """The control interface of a running Byway."""

    socket: ControlSocket = "auto"
    """Its unix socket: a path, `auto` (in `$XDG_RUNTIME_DIR/byway` or `/run/byway`) or `off`."""
    metrics: MetricsAddress | None = None
    """A loopback address for Prometheus: `/metrics`, and nothing else."""


class Names(Section):
    """Names of the addresses that flows are sent to: off, judge (rules see the name) or dial (it
    is dialled as well, in place of the address)."""

    answers: Literal["off", "judge", "dial"] = "judge"
    """A name that this Byway told the client that address for."""
    sniffed: Literal["off", "judge", "dial"] = "off"
    """The name in a flow's first bytes (TLS, QUIC, HTTP); each flow waits for them."""


class Geo(Section):
    """Databases of countries and networks (MaxMind DB, `.mmdb`)."""

    country: FilePath | None = None
    """Countries: for `country` and `source_country` in rules, and GEOIP lines of lists."""
    asn: FilePath | None = None
    """Autonomous systems: for `asn` and `source_asn`, and IP-ASN lines."""


class Config(Section):
    """The whole file, checked. `outbounds` holds `direct` and the ones made of links, too."""

    log: Log = Field(default_factory=Log)
    limits: Limits = Field(default_factory=Limits)
    control: Control = Field(default_factory=Control)
    inbounds: dict[str, In] = Field(default={})
    """The inbounds, by name; none: a mixed proxy on 127.0.0.1:1080."""
    outbounds: dict[str, Out] = Field(default={})
    """The outbounds, by name; `direct` always exists. Each is a mapping or a link."""
    dns: Dns | None = None
    """The resolver of names for `direct` and for rules; none: the system's."""
    names: Names = Field(default_factory=Names)
    geo: Geo = Field(default_factory=Geo)
    groups: dict[str, GroupConfig] = Field(default={})
    """Outbounds that choose among others, by name; a group is allowed wherever an outbound is."""
    sets: dict[str, SetConfig] = Field(default={})
    """Lists for rules, by name."""
    rules: tuple[RuleEntry, ...] = ()
    """The first match decides; none: everything direct."""

    _file: str = PrivateAttr(default="")
    _warnings: tuple[Problem, ...] = PrivateAttr(default=())
    _lines: dict[tuple[str, str], int] = PrivateAttr(default_factory=dict)
    _listens: dict[str, tuple[int, int]] = PrivateAttr(default_factory=dict)
    _item_lines: dict[str, tuple[int, ...]] = PrivateAttr(default_factory=dict)
    _world: World = PrivateAttr(default=NOWHERE)
    _stamps: dict[str, tuple[int, int]] = PrivateAttr(default_factory=dict)
    _functions: Mapping[PythonPlace, Function] = PrivateAttr(default_factory=dict)

    @property
    def file(self) -> str:
        """The file it was read from, or what stands in its place."""
        return self._file

    @property
    def world(self) -> World:
        """The content of the files of `geo`, which were read with the config."""
        return self._world

    @property
    def functions(self) -> Mapping[PythonPlace, Function]:
        """The functions of rules in Python; their files were run with the config."""
        return self._functions

    @property
    def mark(self) -> int | None:
        """The firewall mark of what Byway itself sends; None where nothing needs it."""
        return OWN if any(inbound.marks for inbound in self.inbounds.values()) else None

    def line(self, section: str, name: str) -> int:
        """The line of an entry of a section, such as `inbounds` or `log`; 0: it has none."""
        return self._lines.get((section, name), 0)

    def listen_place(self, inbound: str) -> tuple[int, int]:
        """Line and column of the addresses of an inbound; 0, 0: not written."""
        return self._listens.get(inbound, (0, 0))

    def item_lines(self, name: str) -> tuple[int, ...]:
        """The lines of the items of an inline set; 0: it has none."""
        return self._item_lines.get(name, ())

    @property
    def warnings(self) -> tuple[Problem, ...]:
        """Its warnings."""
        return self._warnings
