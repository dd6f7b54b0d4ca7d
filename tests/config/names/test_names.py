"""What may stand in `dns`, and what is said of the rest."""

from __future__ import annotations

import pytest

from byway.config import Config, changes, load_text
from byway.config.names.own import hosts_of, needed, own_names
from byway.errors import ConfigError
from byway.flow import Target
from byway.values.name_server import ServerAddress, read_address


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_text(text)
    return [str(problem).replace("\n", " ") for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("text", "scheme", "host", "port", "path"),
    [
        ("udp://1.1.1.1", "udp", "1.1.1.1", 53, ""),
        ("tcp://[2606:4700::1111]:5353", "tcp", "2606:4700::1111", 5353, ""),
        ("udp://[::1]", "udp", "::1", 53, ""),
        ("tls://dns.example", "tls", "dns.example", 853, ""),
        ("https://dns.example", "https", "dns.example", 443, "/dns-query"),
        ("https://dns.example:8443/a/b?c=d", "https", "dns.example", 8443, "/a/b?c=d"),
    ],
)
def test_addresses(text: str, scheme: str, host: str, port: int, path: str) -> None:
    found = read_address(text)

    assert found == ServerAddress(scheme, Target.of(host, port), path)
    assert "/a/b" not in str(found)


@pytest.mark.parametrize(
    ("server", "said"),
    [
        ("1.1.1.1", "is not the address of a name server"),
        ("quic://1.1.1.1", "unknown scheme"),
        ("udp://1.1.1.1/dns-query", "only https:// addresses have a path"),
        ("udp://::1", "an IPv6 address needs brackets"),
        ("udp://", "has no host"),
        ("https://a@dns.example/x", "parts that are not supported"),
        ("https://dns.example/a b", "characters that are not allowed"),
        ("tls://dns.example:0", "port 0"),
    ],
)
def test_addresses_that_are_none(server: str, said: str) -> None:
    (told,) = problems(f"dns:\n  servers:\n    box: '{server}'\n")

    assert told.startswith("config:3:10: dns.servers.box")
    assert said in told


def test_all_that_can_be_said() -> None:
    config = load_text(
        """
        dns:
          servers:
            quick: udp://9.9.9.9
            office: {address: tcp://10.0.0.53, via: vpn}
            private:
              address: https://dns.example/dns-query
              via: socks5://127.0.0.1:9050
              bootstrap: quick
              tls: {sni: other.example}
          use: [private, quick]
          rules:
            - {domain_suffix: [corp.example, corp.test], use: office}
            - {set: local, domain_keyword: x, use: [system, udp://192.0.2.53]}
          hosts:
            nas.home: [192.168.1.5, "fd00::5"]
            "*.dev.test": 127.0.0.1
            files.home: nas.home
          addresses: ipv4-first
          timeout: 3s
          cache: {size: 1000, min: 5s, max: 1h, negative: 10s, stale: 0s}
        outbounds: {vpn: {type: socks, server: '10.1.1.1:1080'}}
        sets: {local: {type: inline, items: [lan.example]}}
        """
    )
    dns = config.dns

    assert dns is not None
    assert dns.words() == ("quick", "office", "private", "system", "udp://192.0.2.53")
    assert dns.rules[0].ref.line == 13
    assert "domain_suffix: [corp.example, corp.test], use: office" in dns.rules[0].ref.text
    assert config.outbounds[str(dns.servers["private"].via)].type == "socks"
    assert hosts_of(dns).follow("files.home")[0] == "nas.home"
    assert config.warnings == ()


@pytest.mark.parametrize(
    ("dns", "told"),
    [
        ("use: nowhere", "dns.use: there is no name server 'nowhere'"),
        ("{servers: {box: {address: system, via: direct}}}", "cannot use an outbound"),
        ("{servers: {system: 'udp://1.1.1.1'}}", "system is the host's own resolver"),
        ("{servers: {box: {address: 'udp://1.1.1.1', tls: {}}}}", "udp://1.1.1.1 does not use TLS"),
        ("{servers: {box: {address: 'udp://1.1.1.1', via: nix}}}", "there is no outbound 'nix'"),
        ("{servers: {box: {address: 'udp://1.1.1.1', vla: direct}}}", "did you mean via?"),
        ("{servers: {box: {via: direct}}}", "address is missing"),
        ("{servers: {box: 'tls://dns.example'}}", "the address of 'dns.example' is unknown"),
        ("use: tls://dns.example", "add it to dns.servers, with a bootstrap"),
        ("{rules: [{use: system}]}", "the rule has no condition"),
        ("{rules: [{domain: a.example}]}", "use is missing"),
        ("{rules: [{domain: a.example, to: direct, use: system}]}", "unknown key"),
        ("{rules: [{set: ads, use: system}]}", "there is no set 'ads'"),
        ("{hosts: {a.test: [192.0.2.1, b.test]}}", "cannot be all of these"),
        ("{hosts: {a.test: b.test, b.test: a.test}}", "loop: the aliases"),
        ("{hosts: {'a b': 192.0.2.1}}", "not a host name"),
        ("{addresses: both}", "cannot be 'both'"),
        ("{cache: {size: 1}}", "1 is out of bounds"),
        ("{cache: {max: 8d}}", "out of bounds"),
        ("{timeout: 5}", "a duration needs its unit"),
    ],
)
def test_mistakes(dns: str, told: str) -> None:
    found = problems(f"dns:\n  {dns}\n")

    assert len(found) == 1, found
    assert told in found[0]
    assert found[0].startswith("config:2:")


RING = """
dns:
  servers:
    a: {address: 'tls://a.example', bootstrap: b}
    b: {address: 'tls://b.example', bootstrap: a}
"""
THROUGH = """
outbounds:
  proxy: {type: trojan, server: 'proxy.example:443', password: x}
dns:
  use: far
  servers:
    far: {address: 'https://dns.example/dns-query', via: proxy%s}
"""


def test_a_ring_of_bootstraps_is_an_error() -> None:
    (told,) = problems(RING)

    assert "loop: a needs b needs a" in told


def test_the_name_of_a_proxy_on_the_way_needs_a_bootstrap() -> None:
    (told,) = problems(THROUGH % "")
    assert "the address of 'proxy.example' is unknown" in told
    assert "bootstrap: system" in told

    config = load_text(THROUGH % ", bootstrap: system")
    dns = config.dns
    assert dns is not None
    # the server's own name is the proxy's to resolve
    assert own_names(config, dns, hosts_of(dns)) == {"proxy.example": "system"}


def test_hosts_may_tell_it_as_well() -> None:
    config = load_text(THROUGH % "" + "  hosts: {proxy.example: 192.0.2.1}\n")

    assert config.dns is not None
    assert needed(config, config.dns, "far", hosts_of(config.dns)) == ()


def test_a_group_on_the_way_needs_the_names_of_all_its_members() -> None:
    text = """
        outbounds:
          one: {type: socks, server: 'one.example:1080'}
          two: {type: socks, server: 'two.example:1080', via: one}
        groups: {any: {type: fallback, members: [two, direct]}}
        dns: {use: far, servers: {far: {address: 'tcp://dns.example', via: any, bootstrap: system}}}
        """
    config = load_text(text)

    assert config.dns is not None
    found = needed(config, config.dns, "far", hosts_of(config.dns))
    assert found == ("one.example", "dns.example")


def test_a_way_out_may_have_servers_of_its_own() -> None:
    config = load_text("outbounds: {lab: {type: direct, dns: 'udp://10.0.0.53'}}")
    assert config.dns is not None

    (told,) = problems("outbounds:\n  lab: {type: direct, dns: box}\n")
    assert "config:2:28: outbounds.lab.dns: there is no name server 'box'" in told
    (told,) = problems("outbounds: {lab: {type: direct, dns: 'tls://dns.example'}}")
    assert "add it to dns.servers, with a bootstrap" in told


def test_paths_of_servers_are_told_to_nobody() -> None:
    text = (
        "dns: {use: 'https://192.0.2.1/%s', rules: [{domain: a.test, use: 'https://192.0.2.1/%s'}]}"
    )
    old, new = load_text(text % ("secret", "secret")), load_text(text % ("secret2", "secret2"))

    assert changes(old, new) == ("~ dns.use", "~ dns.rules")
    assert new.dns is not None
    assert "secret" not in repr(new.dns.server("https://192.0.2.1/secret2"))
    assert "secret" not in new.dns.rules[0].ref.text


def test_without_it_nothing_changes() -> None:
    assert isinstance(config := load_text("{}"), Config)
    assert config.dns is None
