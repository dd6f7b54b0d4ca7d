"""Finds ways that lead back to a listener of the same config: loops, reported before they form.

A server that this host itself dials, and a target that an inbound was given. Behind a proxy an
address is another host's, and unix sockets are never dialled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence, Set

from byway.config.model import Config
from byway.config.rules.compile import judge_of
from byway.dns.hosts import Hosts
from byway.flow import UNHEARD, Flow, Network, Process, Target
from byway.rules import Facts, Lacks, Verdict, Via
from byway.system.own import OwnAddresses
from byway.values.problems import Path, Problems
from byway.values.wrong import Wrong, shown

Own = Callable[[bytes], bool]
_Place = tuple[str, Network, Target]
_LOOPBACK = (b"\x7f\0\0\1", bytes(15) + b"\1")


def check_returns(config: Config, problems: Problems, own: Own | None = None) -> None:
    """Note every way back. `own` says which addresses are this host's."""
    back = _Back(config, problems, own or OwnAddresses().holds)
    for name, section in config.outbounds.items():
        hop = section.hop
        if hop is None or not _leaves_here(config, hop[1]):
            continue
        for inbound in back.reached(hop[0], section.reached_by):
            message = f"{hop[0]} is where the inbound {shown(inbound)} listens"
            hint = "its flows would loop: use another server"
            problems.add(("outbounds", name, "server"), message + back.line(inbound), hint)
            break
    for name in config.inbounds:
        back.follow(name)


class _Back:
    def __init__(self, config: Config, problems: Problems, own: Own) -> None:
        self._config = config
        self._problems = problems
        self._own = own
        self._hosts = _hosts(config)
        self._places = list(self._listening())

    def line(self, inbound: str) -> str:
        line = self._problems.line(("inbounds", inbound, "listen"))
        return f", on line {line}" if line else ""

    def reached(self, target: Target, networks: Set[Network]) -> Iterator[str]:
        """The inbounds that a dial from this host to `target` ends at."""
        addresses = self._addresses(target)
        for name, network, place in self._places:
            if network in networks and place.port == target.port:
                assert place.packed is not None
                if any(self._is_at(packed, place.packed) for packed in addresses):
                    yield name

    def follow(self, start: str) -> None:
        """Note a target of an inbound that leads to where it came in, also by way of others."""
        for lead in self._config.inbounds[start].leads:
            for network in lead.networks:
                seen, left = {start}, [(start, lead.target, lead.judged)]
                while left:
                    name, target, judged = left.pop()
                    sure = not judged or self._is_direct(name, network, target)
                    if sure is False:
                        continue
                    reached = set(self.reached(target, {network}))
                    if start in reached:
                        self._tell(start, lead.key, lead.target, certain=sure is True)
                        return
                    for other in reached - seen if judged else ():
                        seen.add(other)
                        left += [
                            (other, further.target, further.judged)
                            for further in self._config.inbounds[other].leads
                            if network in further.networks
                        ]

    def _tell(self, inbound: str, key: Path, target: Target, certain: bool) -> None:
        path: Path = ("inbounds", inbound, *key)
        message = f"{target} leads back to where this inbound listens{self.line(inbound)}"
        if certain:
            self._problems.add(path, message, "each flow would loop")
        else:
            self._problems.warn(path, f"{message}, where a rule lets it go direct")

    def _is_direct(self, inbound: str, network: Network, target: Target) -> bool | None:
        """Whether a flow to an inbound's own target leaves from here; None: not sure."""
        config = self._config
        flow = Flow(0, network, inbound, Target.of("127.0.0.1", 1), target)
        facts = Facts(addresses=self._addresses(target) or None, process=Process(), sniffed=UNHEARD)
        ways = {rule.way for rule in config.rules} or {"direct"}
        verdict: Verdict | Lacks | None = None
        if not config.sets and config.geo.country is config.geo.asn is None:
            verdict = judge_of(config, {}).decide(flow, facts)
        if isinstance(verdict, Via):
            return self._ends_here(verdict.outbound)
        if verdict is None or isinstance(verdict, Lacks):
            return None if any(map(self._ends_here, ways)) else False
        return False  # rejected

    def _ends_here(self, way: str) -> bool:
        return _leaves_here(self._config, way)

    def _addresses(self, target: Target) -> tuple[bytes, ...]:
        """What a name or an address stands for at this host, as far as that is written down."""
        if target.packed is not None:
            if any(target.packed):
                return (target.packed,)
            return (_LOOPBACK[len(target.packed) == 16],)  # so does the kernel
        try:
            return self._hosts.follow(target.host)[1] or ()
        except ValueError:
            return ()

    def _is_at(self, packed: bytes, place: bytes) -> bool:
        if packed == place or len(packed) != len(place):
            return packed == place
        near = packed[0] == 127 if len(packed) == 4 else packed == _LOOPBACK[1]
        return not any(place) and (near or self._own(packed))

    def _listening(self) -> Iterator[_Place]:
        inbounds = self._problems.root.get("inbounds")
        for name, section in self._config.inbounds.items():
            node = None if inbounds is None else inbounds.get(name)
            networks = {Network.TCP} if node is None else section.networks_of(node)
            for place in section.listen:
                if isinstance(place, Target) and place.port:
                    yield from ((name, network, place) for network in networks)


def _hosts(config: Config) -> Hosts:
    if config.dns is None:
        return Hosts()  # which knows localhost
    from byway.config.names.own import hosts_of

    try:
        return hosts_of(config.dns)
    except Wrong:
        return Hosts()  # reported already


def _leaves_here(config: Config, way: str, seen: Sequence[str] = ()) -> bool:
    """Whether what goes by this way is, or may be, dialled from this host."""
    if way in seen:
        return False
    if (group := config.groups.get(way)) is not None:
        return any(_leaves_here(config, member, (*seen, way)) for member in group.members)
    section = config.outbounds.get(way)
    return section is not None and section.hop is None
