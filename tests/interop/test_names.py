"""Names, resolved at a real server (unbound): packets, TCP, DoT, DoH by HTTP/2; and by proxies."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from byway.app import App
from byway.config import load_text
from byway.dns.resolution import Resolution
from byway.flow import packed_address
from tests.interop.conftest import Certificate
from tests.interop.programs import free_port, need, running
from tests.interop.upstreams import microsocks, v2ray
from tests.roads.certificates import pin

CONFIG = """
server:
  interface: 127.0.0.1@{plain}
  interface: 127.0.0.1@{tls}
  interface: 127.0.0.1@{https}
  tls-port: {tls}
  https-port: {https}
  tls-service-key: "{certificate.key}"
  tls-service-pem: "{certificate.chain}"
  do-daemonize: no
  use-syslog: no
  username: ""
  chroot: ""
  directory: "{folder}"
  pidfile: ""
  module-config: "iterator"
  do-not-query-localhost: no
  access-control: 127.0.0.0/8 allow
  local-zone: "example." static
  local-data: "example. 60 IN SOA ns.example. root.example. 1 60 60 60 30"
  local-data: "www.example. 60 IN A 192.0.2.7"
  local-data: "www.example. 60 IN AAAA 2001:db8::7"
  local-data: "four.example. 60 IN A 192.0.2.8"
  local-data: "text.example. 60 IN TXT hello"
{many}
remote-control:
  control-enable: no
"""


@dataclass(frozen=True, slots=True)
class Unbound:
    """Where it answers."""

    plain: int
    tls: int
    https: int
    certificate: Path

    def servers(self, via: str = "") -> str:
        """All four as servers of a config."""
        way = f", via: {via}" if via else ""
        trust = f"tls: {{sni: localhost, pin: {pin(self.certificate)}}}{way}"
        return f"""
    udp: {{address: 'udp://127.0.0.1:{self.plain}'{way}}}
    tcp: {{address: 'tcp://127.0.0.1:{self.plain}'{way}}}
    tls: {{address: 'tls://127.0.0.1:{self.tls}', {trust}}}
    https: {{address: 'https://127.0.0.1:{self.https}/dns-query', {trust}}}"""


@pytest.fixture(scope="module")
def unbound(
    certificate: Certificate, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Unbound]:
    """An unbound that knows a zone of its own."""
    folder = tmp_path_factory.mktemp("unbound")
    plain, tls, https = free_port(), free_port(), free_port()
    # more addresses than a packet of 1232 bytes holds
    many = "\n".join(
        f'  local-data: "many.example. 60 IN AAAA 2001:db8::{n:x}"' for n in range(1, 61)
    )
    file = folder / "unbound.conf"
    file.write_text(
        CONFIG.format(
            plain=plain, tls=tls, https=https, certificate=certificate, folder=folder, many=many
        )
    )
    with running(
        [need("unbound"), "-d", "-p", "-c", file], folder / "log", plain, tls, https
    ) as program:
        assert program.pid
        yield Unbound(plain, tls, https, certificate.chain)


async def told(text: str, name: str) -> Resolution:
    """How an App with this `dns` resolves a name, at its first ask."""
    async with App(load_text(text)) as app:
        assert app.names.named is not None
        return await app.names.named.inquire(name)


def config(unbound: Unbound, use: str, outbounds: str = "", via: str = "") -> str:
    return f"""
inbounds: {{home: {{type: mixed, listen: 127.0.0.1:0}}}}
log: {{level: error}}
{outbounds}
dns:
  use: {use}
  addresses: ipv4-first
  servers:{unbound.servers(via)}
"""


@pytest.mark.parametrize("use", ["udp", "tcp", "tls", "https"])
async def test_addresses(unbound: Unbound, use: str) -> None:
    found = await told(config(unbound, use), "www.example")

    assert found.error == ""
    assert found.addresses == (packed_address("192.0.2.7"), packed_address("2001:db8::7"))
    assert found.source == "server"
    assert found.servers == (use,)
    assert found.left is not None
    assert 0 < found.left <= 60


@pytest.mark.parametrize("use", ["udp", "tcp", "tls", "https"])
async def test_names_that_do_not_exist(unbound: Unbound, use: str) -> None:
    async with App(load_text(config(unbound, use))) as app:
        resolver = app.names.named
        assert resolver is not None
        for _ in range(2):
            found = await resolver.inquire("nowhere.example")
            assert found.error == f"nowhere.example does not exist, says {use}"
            found = await resolver.inquire("text.example")
            assert found.error == f"text.example has no address, says {use}"
        (server,) = app.names.servers
        assert server.asked == 4  # the second time they were remembered


async def test_an_answer_that_fits_no_packet_comes_by_tcp(unbound: Unbound) -> None:
    found = await told(config(unbound, "udp"), "many.example")

    assert len(found.addresses) == 60


@pytest.mark.parametrize("use", ["tcp", "tls", "https"])
async def test_many_questions_share_a_connection(unbound: Unbound, use: str) -> None:
    async with App(load_text(config(unbound, use))) as app:
        names = ["www.example", "four.example", *(f"n{at}.example" for at in range(40))]
        found = [app.names.start(app.names.resolve(name)) for name in names]
        assert packed_address("192.0.2.7") in (await found[0] or ())
        assert packed_address("192.0.2.8") in (await found[1] or ())
        (server,) = app.names.servers
        assert server.connections == 1


@pytest.mark.parametrize("use", ["udp", "tcp", "tls", "https"])
def test_by_way_of_proxies(unbound: Unbound, use: str, tmp_path: Path) -> None:
    """A chain of two real proxies; packets cross what carries packets, else they go by TCP."""
    import asyncio

    with ExitStack() as stack:
        first = stack.enter_context(microsocks(tmp_path))
        second = stack.enter_context(v2ray(tmp_path, "socks"))
        outbounds = f"""
outbounds:
  first: {{type: socks, server: '{first.outbound["server"]}'}}
  chain: {{type: socks, server: '{second.outbound["server"]}', via: first}}
"""
        for via in ("first", "chain"):
            found = asyncio.run(told(config(unbound, use, outbounds, via), "www.example"))
            assert found.error == ""
            assert found.addresses[0] == packed_address("192.0.2.7")
