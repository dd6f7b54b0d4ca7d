"""A config for one command alone: all of its traffic comes by a NIC that was made for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import PrivateAttr

from byway import dialects
from byway.config.model import COMMAND, Config, Control
from byway.config.names.dns import Dns
from byway.dialects.card import Lent
from byway.dialects.tun import TunSection
from byway.inbounds.entry import Entry
from byway.inbounds.tun import Nic, TunInbound
from byway.system.tun import Tun

if TYPE_CHECKING:
    from byway.engine import ListenOptions
    from byway.inbounds.entry import Means
    from byway.interfaces import Inbound

NAME, MTU = "byway", 65535
ADDRESSES = ("198.18.0.1/30", "fd62:7977:6179::1/126")


class LentNic(TunSection):
    """A NIC that somebody else has made, in a network of its own."""

    _made: Tun | None = PrivateAttr(default=None)

    @property
    def marks(self) -> bool:
        """Nothing that Byway sends can come by it."""
        return False

    def inbound(self, name: str, means: Means, options: ListenOptions, lent: Lent) -> Inbound:
        """The NIC, taken over."""
        entry = Entry(name, means, guarded=self.guarded)
        nic = Nic(self.name, self.mtu, (), self.answer == "after-dial")
        return TunInbound(entry, nic, options, self._made)


def inside(config: Config) -> Config:
    """The same rules and ways out, with the command's NIC as the only way in, and names answered
    there. Its own messages are warnings and errors, so that they do not mix with the command's."""
    section = LentNic.model_validate({"type": "tun", "answer": "after-dial"})
    dns = (config.dns or Dns()).model_copy(update={"hijack": True})
    outbounds = dict(config.outbounds)
    outbounds.setdefault("dns", dialects.outbound("dns").model_validate({"type": "dns"}))
    log = config.log
    if log.file is None:
        log = log.model_copy(update={"level": "error", "flows": False})
    changed = {
        "inbounds": {COMMAND: section},
        "outbounds": outbounds,
        "dns": dns,
        "log": log,
        "control": Control(socket="off"),
    }
    return config.model_copy(update=changed)


def lend(config: Config, tun: Tun) -> None:
    """Give the config its NIC."""
    section = config.inbounds[COMMAND]
    if isinstance(section, LentNic):
        section._made = tun
