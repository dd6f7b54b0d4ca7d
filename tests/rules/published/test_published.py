"""Binary lists and lists of many files: the published vectors, real files, and any bytes at all."""

from __future__ import annotations

import contextlib
import zlib
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from byway.config.rules.compiled import read_list
from byway.flow import Flow, Network, Target
from byway.rules import Facts
from byway.rules.gathering import Bad
from byway.rules.published import BINARY, srs, unpacked, v2fly
from byway.rules.sets import Contents
from tests.interop.upstreams import mihomo_part

NO_CACHE = Path("/dev/null/byway")


def packed(payload: str, version: int = 5) -> bytes:
    return b"SRS" + bytes([version]) + zlib.compress(bytes.fromhex(payload))


def contents(form: str, data: bytes, part: str = "") -> Contents:
    found, bad = read_list(lambda: data, len(data), form, NO_CACHE, "", "", part=part)
    assert bad == []
    return found


def holds(found: Contents, host: str, port: int = 443, network: Network = Network.TCP) -> bool:
    flow = Flow(1, network, "in", Target.of("10.9.9.9", 5000), Target.of(host, port))
    return found.match(flow, Facts(addresses=())) is True


SRS = {
    "network tcp": ("0100010103746370ff00", [], []),
    "domain": ("0100020001000000000000000801000000000000006a03622e61ff00", ["a.b"], ["x.a.b", "b"]),
    "suffix v1": (
        "010002000100000000000000280100000000000006aa05622e612e0dff00",
        ["a.b", "x.a.b"],
        ["xa.b"],
    ),
    "suffix v2": (
        "010002000100000000000000100100000000000001aa04622e610aff00",
        ["a.b", "x.a.b"],
        ["xa.b"],
    ),
    "below": ("010002000100000000000000200100000000000006aa05622e612e0dff00", ["x.a.b"], ["a.b"]),
    "three": (
        "0100020001000000000000014801000000000001b58a08622e6163640a2e0dff00",
        ["a.b", "c.b", "x.c.b", "x.d.b"],
        ["x.a.b", "d.b"],
    ),
    "not ascii": (
        "010002000100000000000000100100000000000001aa04622ec3a9ff00",
        ["xn--9ca.b"],
        ["x.b"],
    ),
    "keyword": ("01000301026164ff00", ["load.example"], ["a.d"]),
    "regex": ("01000401065e615c2e6224ff00", ["a.b"], ["xa.b"]),
    "addresses": (
        "010006010000000000000002040101010104010101011020010db80000000000000000000000001020010db8"
        "ffffffffffffffffffffffffff00",
        ["1.1.1.1", "2001:db8::7"],
        ["1.1.1.2", "2001:db9::"],
    ),
    "ports": ("01000902005001bbff00", ["a.b"], []),
    "port range": ("01000a02053a3330303005343030303aff00", ["a.b"], []),
    "adguard": (
        "01001000010000000000001a80010000000001db55480c08626564662e0d2e0d61630aff00",
        ["a.b", "x.a.b", "c.dxyz", "isae", "xfx"],
        ["xa.b", "ex", "xc.d", "y.c.d"],
    ),
    "invert": ("010009010001ff01", ["a.b"], []),
    "or, invert": ("010101020009010001ff000009010002ff0001", ["a.b"], []),
    "source": ("010005010000000000000001040a000000040affffffff00", ["a.b"], []),
}


@pytest.mark.parametrize("name", SRS)
def test_the_vectors_of_srs(name: str) -> None:
    payload, inside, outside = SRS[name]
    found = contents("srs", packed(payload))

    assert [host for host in inside if not holds(found, host)] == []
    assert [host for host in outside if holds(found, host)] == []


def test_conditions_of_srs_count() -> None:
    tcp = contents("srs", packed(SRS["network tcp"][0]))
    assert holds(tcp, "a.b")
    assert not holds(tcp, "a.b", network=Network.UDP)
    ports = contents("srs", packed(SRS["port range"][0]))
    assert holds(ports, "a.b", 4000)
    assert not holds(ports, "a.b", 3500)


def test_whole_files() -> None:
    file = "5352530278da626460626064606060606060e08031b29893f412ff3300060009ce026b"
    assert unpacked("srs", bytes.fromhex(file)) == b"=a.b\n"
    file = "28b52ffd0400e50000604d5253010008006a03622e61060020cb4c02c0409a44b04c80ebb4b44c21a5"
    assert unpacked("mrs", bytes.fromhex(file)) == b"a.b\n"
    file = (
        "28b52ffd04001d010024014d5253010100000000ffff0affff0affffff0600461100b7000196022b0430b822"
        "7b53773b"
    )
    assert unpacked("mrs", bytes.fromhex(file)) == b"10.0.0.0/8"


@pytest.mark.parametrize(
    ("form", "data", "words"),
    [
        ("srs", b"SRS\x06" + zlib.compress(b"\0"), "version"),
        ("srs", b"SRS\x00" + zlib.compress(b"\0"), "version"),
        ("srs", b"SRS", "version"),
        ("srs", b"XXX", "no list"),
        ("srs", b"SRS\x01\xff\xff\xff", "zlib"),
        ("srs", packed("01001801010078ff00"), "0x18"),
        ("srs", packed("0100"), "cut short"),
        ("srs", packed("ffffffffffffffffff01"), "cut short"),
        ("srs", packed("01" + "010001" * 40), "nested too deep"),
        ("srs", packed("01000601ffffffffffffffff"), "cut short"),
        ("srs", packed("010002000100000000000000080100000000000000006003622e61ff00"), "."),
        ("srs", b"SRS\x01" + zlib.compress(bytes(200 << 20), 1), "MiB"),
        ("mrs", b"xx", "Zstandard"),
        ("mrs", zstandard.compress(b"MRS\x02"), "newer kind"),
        ("mrs", zstandard.compress(bytes(200 << 20)), "MiB"),
        ("mrs", zstandard.compress(b"MRS\x01\0" + bytes(16) + b"\x01" + b"\x7f" * 8), "cut short"),
        ("geosite", b"\xff" * 20, "geosite.dat"),
        ("geoip", b"<html>", "geoip.dat"),
    ],
)
def test_what_is_no_such_list_is_refused(form: str, data: bytes, words: str) -> None:
    with pytest.raises(Bad, match=words):
        unpacked(form, data, "cn")


def test_an_unknown_list_has_the_nearest_name() -> None:
    data = mihomo_part("geosite.dat").read_bytes()
    with pytest.raises(Bad, match="did you mean google"):
        unpacked("geosite", data, "gogle")


def test_real_lists() -> None:
    sites = mihomo_part("geosite.dat").read_bytes()
    google = contents("geosite", sites, "google")
    assert holds(google, "www.google.com")
    assert not holds(google, "www.example.org")
    ads = unpacked("geosite", sites, "google@ads").splitlines()
    assert 0 < len(ads) < len(unpacked("geosite", sites, "google").splitlines())
    assert len(contents("geosite", sites, "cn").names) > 100_000

    places = mihomo_part("geoip.dat").read_bytes()
    own = contents("geoip", places, "private")
    assert holds(own, "192.168.1.1")
    assert holds(own, "fe80::1")
    assert not holds(own, "8.8.8.8")


def test_lists_that_include_each_other() -> None:
    files = {
        "a": "a.example @ads # x\nfull:b.example\ninclude:b @-cn\nkeyword:kw\nregexp:^r[0-9]$",
        "b": "c.example @cn\nd.example &a\nInclude:c",
        "c": "FULL:E.example @ads",
    }

    def read(name: str) -> str:
        if name not in files:
            raise FileNotFoundError(name)
        return files[name]

    whole = v2fly.lines("a", "", read)
    assert whole.decode().splitlines() == [
        *("domain:a.example", "=b.example", "domain:d.example", "=e.example"),
        *("keyword:kw", "regex:^r[0-9]$"),
    ]
    assert v2fly.lines("a", "@ads", read) == b"domain:a.example\n=e.example\n"
    assert v2fly.lines("c", "", read, {"x": "f.example @y &C\ng.example"}).endswith(
        b"domain:f.example\n"
    )
    files["c"] = "include:a"
    with pytest.raises(Bad, match="a -> b -> c -> a"):
        v2fly.lines("a", "", read)
    files["c"] = "include:none"
    with pytest.raises(Bad, match="none"):
        v2fly.lines("a", "", read)


@given(st.sampled_from(sorted(BINARY)), st.binary(max_size=200))
def test_any_bytes_are_a_list_or_refused(form: str, data: bytes) -> None:
    with contextlib.suppress(Bad):
        unpacked(form, data, "cn")


@given(st.binary(max_size=200))
def test_any_rules_are_read_or_refused(payload: bytes) -> None:
    data = b"SRS\x05" + zlib.compress(payload)
    with contextlib.suppress(Bad):
        read_list(lambda: data, len(data), "srs", NO_CACHE, "", "")
    with contextlib.suppress(Bad):
        srs.lines(data)
