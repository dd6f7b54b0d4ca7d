"""Links of this host: their addresses, and whether they are up. By netlink."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable


def bring_up(name: str, mtu: int, addresses: Iterable[str]) -> None:
    """Give a link addresses (each with a length) and an MTU, and bring it up. Raises OSError."""
    from pyroute2 import IPRoute
    from pyroute2.netlink.exceptions import NetlinkError

    try:
        with IPRoute() as ip:
            (index,) = ip.link_lookup(ifname=name)
            ip.link("set", index=index, mtu=mtu, txqlen=1000)
            for text in addresses:
                one = ipaddress.ip_interface(text)
                more = {} if one.version == 4 else {"IFA_FLAGS": _NO_DAD}
                ip.addr(
                    "add", index=index, address=str(one.ip), prefixlen=one.network.prefixlen, **more
                )
            ip.link("set", index=index, state="up")
    except NetlinkError as error:
        raise OSError(error.code, f"cannot bring up {name}: {error}") from error


_NO_DAD = 0x02  # IFA_F_NODAD: an address of a TUN is nobody else's
