"""Hosts, addresses and prefixes as a person writes them, read more strictly than the wire's.

All raise `Wrong`.
"""

from __future__ import annotations

import ipaddress
import os

from byway.flow import Target, packed_address, punycode
from byway.values.prefix import Prefix
from byway.values.wrong import Wrong, shown

# IDNA 2003 (the standard library's) and IDNA 2008 read these differently; see RFC 5894 section 7.2.


def name(text: str) -> str:
    """A host name in lower case, non-ASCII labels as punycode."""
    if packed_address(text.strip("[]")) is not None:
        raise Wrong(f"{shown(text)} is an address, not a name", "use ip to match addresses")
    return _name(text)


def address(text: str) -> Target:
    """An address literal, as a target with port 0."""
    packed = packed_address(text)
    if packed is None:
        raise Wrong(f"{shown(text)} is not an IP address", "for example 192.0.2.5 or fd00::5")
    return Target.from_packed(packed, 0)


def prefix(text: str) -> Prefix:
    """An IP prefix, or an address as the prefix of itself."""
    try:
        return Prefix.parse(text)
    except ValueError:
        pass
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        network = None
    if network is not None and "%" not in text and text.rpartition("/")[2].isdigit():
        raise Wrong(f"{shown(text)} has bits set beyond its length", f"write {network}")
    raise Wrong(f"{shown(text)} is not an IP prefix", "for example 10.0.0.0/8 or fd00::/8")


def host_port(text: str) -> Target:
    """`name:port`, `address:port` or `[v6]:port`; port 0 is no target."""
    host, port = _split(text, "for example proxy.example:1080 or [2001:db8::1]:1080")
    if port == 0:
        raise Wrong("port 0 is not allowed", "1 to 65535")
    packed = packed_address(host)
    if packed is not None:
        return Target.from_packed(packed, port)
    return Target.named(_name(host) + "." * host.endswith("."), port)


def listen(text: str) -> Target:
    """`address:port` or `[v6]:port`; port 0 lets the system choose."""
    example = "for example 127.0.0.1:1080, [::1]:1080 (in quotes) or unix:/run/byway.sock"
    host, port = _split(text, example)
    packed = packed_address(host)
    if packed is not None:
        return Target.from_packed(packed, port)
    if host.lower() == "localhost":
        raise Wrong("a listener needs an address, not a name", f"127.0.0.1:{port}")
    if host in ("", "*"):
        raise Wrong(f"{shown(text)} has no address", f"0.0.0.0:{port} listens on all IPv4 ones")
    raise Wrong(f"{shown(host)} is not an address to listen on", example)


def bracketed(text: str, port: str = ":1080") -> str:
    """An IPv6 address without brackets as it was most likely meant: the last part as the port,
    where it can be one, else with this port."""
    host, _, last = text.rpartition(":")
    host = "::" if host == ":" and len(last) > 1 else host
    if packed_address(host) is not None and last.isdigit() and 0 < int(last) <= 65535:
        return f"[{host}]:{last}"
    return f"[{text}]{port}"


def placed(path: str, folder: str | None) -> str:
    """A path, counted from the config's folder when it is relative and there is one."""
    path = os.path.expanduser(path)
    return path if folder is None else os.path.join(folder, path)


def _split(text: str, example: str) -> tuple[str, int]:
    if "://" in text:
        raise Wrong(f"expected host:port, got the link {shown(text)}", example)
    if ":" in text and packed_address(text) is not None:
        raise Wrong(f"{shown(text)} has no port", bracketed(text))
    host, colon, port = text.rpartition(":")
    if not colon or not (port.isascii() and port.isdigit()):
        raise Wrong(f"{shown(text)} is not host:port", example)
    if len(port) > 5 or int(port) > 65535:
        raise Wrong(f"port {port[:9]} is not in 0..65535")
    if host.startswith("[") and host.endswith("]"):
        inner = host[1:-1]
        if "%" in inner:
            raise Wrong(f"{shown(text)}: zones (%) are not supported")
        if ":" not in inner or packed_address(inner) is None:
            raise Wrong(f"{shown(host)} is not an IPv6 address in brackets", example)
        return inner, int(port)
    if ":" in host:
        hint = f"[{host}]:{port}" if packed_address(host) is not None else example
        raise Wrong(f"{shown(text)}: an IPv6 address needs brackets before its port", hint)
    return host, int(port)


def _name(text: str) -> str:
    ascii_name = text.lower().removesuffix(".")
    if not ascii_name.isascii():
        ascii_name = _punycode(ascii_name)
    labels = ascii_name.split(".")
    if not ascii_name:
        raise Wrong("the name is empty" if not text else f"{shown(text)} is not a host name")
    if len(ascii_name) > 253:
        raise Wrong("the name is longer than 253 characters")
    if labels[-1].isdigit():
        raise Wrong(f"{shown(text)} is neither an IPv4 address nor a name")
    for label in labels:
        if not label:
            raise Wrong(f"{shown(text)} is not a host name: two dots without a label between")
        if len(label) > 63:
            raise Wrong(f"{shown(text)} is not a host name: a label is longer than 63 characters")
        if not all(c.isalnum() or c in "-_" for c in label):
            raise Wrong(f"{shown(text)} is not a host name", "letters, digits, - and _ with dots")
    return ascii_name


def _punycode(text: str) -> str:
    try:
        return punycode(text)
    except UnicodeError:
        raise Wrong(f"{shown(text)} is not a host name") from None
    except ValueError:
        raise Wrong(f"{shown(text)} is ambiguous", "write it as punycode (xn--...)") from None
