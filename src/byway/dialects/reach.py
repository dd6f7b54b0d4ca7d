"""The layers around and inside any protocol over a stream, at both ends: `tls:`, `transport:`
and `mux:`."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from byway.dialects.card import In, Lead, Lent, Proxied
from byway.errors import in_words
from byway.flow import TCP_ONLY
from byway.inbounds.entry import Entry, Greet, Inner
from byway.inbounds.site import Site, not_found
from byway.inbounds.tls import Certificate, TlsDoor, inside
from byway.muxes.reading import MuxInSection, MuxOutSection
from byway.outbounds.direct import Direct
from byway.outbounds.proxy import Client
from byway.outbounds.reach import Layer
from byway.outbounds.secure import SetTls
from byway.transports.card import Transport
from byway.transports.reading import TransportSection
from byway.values.problems import Path as Place
from byway.values.problems import Problems
from byway.values.texts import HostPort
from byway.values.tls import ClientTls, ServerTls
from byway.values.written import Node


def dressed(
    entry: Entry,
    tls: ServerTls | None,
    transport: Transport | None,
    greet: Greet,
    elsewhere: Greet = not_found,
) -> Greet:
    """The same greeting, inside what a listener's section has. Raises OSError for a bad file."""
    if transport is not None:
        greet = transport.greeting(entry, greet, elsewhere)
    return greet if tls is None else inside(door(entry, tls), greet)


def door(entry: Entry, tls: ServerTls) -> TlsDoor:
    """The TLS of an inbound's listeners. Raises OSError for a bad file."""
    try:
        return TlsDoor(entry, Certificate(tls.cert, tls.key, tls.alpn, tls.ca))
    except ValueError as error:
        raise OSError(0, f"tls: {error}") from error
    except OSError as error:
        raise OSError(error.errno, f"tls: {in_words(error)}") from error


class Carrying(In):
    """An inbound whose protocol may run inside a transport, and may carry a mux."""

    transport: TransportSection | None = None
    """The transport between TLS and the protocol: `{type: ...}`."""
    mux: MuxInSection | None = None
    """Take many flows from one connection: `{type: sing-mux}`."""
    fallback: HostPort | None = None
    """The web server (`host:port`, plain HTTP) for everybody else; left out: a page not found."""

    @property
    def leads(self) -> Sequence[Lead]:
        """The web server, which is dialled whatever the rules say."""
        if self.fallback is None:
            return ()
        return (Lead(("fallback",), self.fallback, TCP_ONLY, judged=False),)

    @classmethod
    def check(cls, path: Place, node: Node, problems: Problems) -> None:
        """Note what does not fit together in what was written."""
        if node.get("fallback") is not None and node.get("transport") is None:
            what = "fallback is for those who do not speak the transport"
            problems.add((*path, "fallback"), what, "add a transport, or remove fallback")

    def elsewhere(self, entry: Entry, lent: Lent) -> Greet:
        """Who gets those that do not speak the transport."""
        if self.fallback is None:
            return not_found
        way = Direct("web site", lent.engine, lent.resolver)
        return Site(entry, way, self.fallback).greet

    @property
    def inner(self) -> Mapping[str, Inner]:
        """The server of connections that its mux asks for."""
        return {} if self.mux is None else self.mux.inner


class Streamed(Proxied):
    """An outbound whose protocol may run inside TLS and a transport, and may carry a mux."""

    tls: ClientTls | None = None
    """Use TLS; `tls: {}` is enough for a server with a public certificate."""
    transport: TransportSection | None = None
    """The transport between TLS and the protocol: `{type: ...}`."""
    mux: MuxOutSection | None = None
    """Carry many flows inside few connections: `{type: sing-mux}`. The server must support it."""

    @property
    def packets_in_stream(self) -> bool:
        """Whether packets ride inside a stream to the server: those of a mux do."""
        return self.mux is not None

    @property
    def server_answers(self) -> bool:
        """Whether the server tells how a dial went: of a mux, it does so with the first bytes."""
        return self.mux is None

    def spoken(self, client: Client, lent: Lent) -> Client:
        """The client, its flows inside the mux where the section has one."""
        return client if self.mux is None else self.mux.client(client, lent.engine, lent.dial)

    @classmethod
    def check(cls, path: Place, node: Node, problems: Problems) -> None:
        """Note what does not fit together in what was written."""
        check_tls((*path, "tls"), node.get("tls"), problems)
        over_tcp = node.get("udp_over_tcp")
        if node.get("mux") is not None and over_tcp is not None and over_tcp.content is True:
            hint = "remove udp_over_tcp"
            problems.add((*path, "udp_over_tcp"), "the mux carries UDP by itself", hint)

    def warn(self, path: Place, problems: Problems) -> None:
        """Note what is odd in a section without errors."""
        if self.tls is not None and self.tls.insecure:
            what = "anyone between here and the server can read and change the traffic"
            problems.warn((*path, "tls", "insecure"), what, "use pin, or ca")
        if self.tls is not None:
            warn_of_files((*path, "tls"), self.tls, problems)

    @property
    def _web_host(self) -> str:
        """What a web client would call the server, in the Host field."""
        name = (self.tls.sni if self.tls is not None else None) or self.server.host
        usual = 80 if self.tls is None else 443
        bare = f"[{name}]" if ":" in name else name
        return bare if self.server.port == usual else f"{bare}:{self.server.port}"

    def layers(self, name: str, lent: Lent) -> list[Layer]:
        """TLS and the transport inside it, where the section has them."""
        found: list[Layer] = []
        if self.tls is not None:
            tls = self.tls
            if self.transport is not None and (alpn := self.transport.alpn):
                tls = tls.model_copy(update={"alpn": alpn})
            layer = SetTls(lent.engine, name, tls, self.server)
            if problem := layer.read():
                lent.log.warning("an outbound does not work", outbound=name, why=f"tls: {problem}")
            found.append(layer)
        if self.transport is not None:
            found.append(self.transport.layer(self._web_host, lent.engine))
        return found


def check_tls(path: Place, tls: Node | None, problems: Problems) -> None:
    """Note what does not fit together in the `tls` of a section."""
    if tls is None:
        return
    for one, other in (("cert", "key"), ("key", "cert")):
        if tls.get(one) is not None and tls.get(other) is None and path[0] == "outbounds":
            problems.add((*path, one), f"{one} without {other}", f"add {other}")
    insecure = tls.get("insecure")
    if insecure is not None and insecure.content is True:
        for key in ("pin", "ca"):
            if tls.get(key) is not None:
                problems.add(
                    (*path, key), f"{key} and insecure exclude each other", "remove one of them"
                )


def warn_of_files(path: Place, tls: ClientTls, problems: Problems) -> None:
    """Note the files that cannot be read."""
    for key in ("ca", "cert", "key"):
        file = getattr(tls, key)
        if file is not None and not os.access(file, os.R_OK):
            hint = "until then, this outbound fails"
            problems.warn((*path, key), f"{file} cannot be read", hint)
