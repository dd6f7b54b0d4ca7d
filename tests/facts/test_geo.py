"""Countries and networks by files of the kind MaxMind DB, against what was written into them."""

from __future__ import annotations

import ipaddress
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from byway.facts.geo import Geo, GeoError, country_of, system_of
from tests.facts import mmdb

DE: mmdb.Value = {"country": {"iso_code": "DE", "names": {"en": "Germany"}}}
US: mmdb.Value = {"registered_country": {"iso_code": "US"}, "is_anycast": True}

networks = st.one_of(
    st.builds(
        lambda number, bits: ipaddress.IPv4Network((number, bits), strict=False),
        st.integers(2**24, 2**32 - 1),
        st.integers(4, 32),
    ),
    st.builds(
        lambda number, bits: ipaddress.IPv6Network((number, bits), strict=False),
        st.integers(2**125, 2**128 - 1),
        st.integers(3, 128),
    ),
)
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def packed(text: str) -> bytes:
    return ipaddress.ip_address(text).packed


@settings(max_examples=60)
@given(
    st.lists(st.tuples(networks, st.sampled_from(["DE", "US", "FR"])), min_size=1, max_size=6),
    st.sampled_from([24, 28, 32]),
    st.data(),
)
def test_an_address_is_in_the_country_of_its_narrowest_prefix(
    written: list[tuple[Network, str]], size: int, data: st.DataObject
) -> None:
    # the writer's later prefixes go over earlier ones, so the wide ones come first
    kept = dict(sorted(written, key=lambda one: one[0].prefixlen))
    picked = data.draw(st.sampled_from(sorted(kept, key=str)))
    first, last = int(picked.network_address), int(picked.broadcast_address)
    number = data.draw(st.sampled_from([first, last]) | st.integers(first, last))
    address = ipaddress.ip_address(number.to_bytes(picked.max_prefixlen // 8))
    inside = [one for one in kept if address.version == one.version and address in one]
    expected = kept[max(inside, key=lambda one: one.prefixlen)]
    with tempfile.TemporaryDirectory() as folder:
        records = {str(one): code.lower() for one, code in kept.items()}
        geo = Geo(mmdb.write(Path(folder, "x.mmdb"), records, record_size=size))

    assert geo.country(address.packed) == expected


@pytest.mark.parametrize("version", [4, 6])
def test_a_file_tells_countries(tmp_path: Path, version: int) -> None:
    records = {"192.0.2.0/24": DE, "198.51.100.0/24": US}
    geo = Geo(mmdb.write(tmp_path / "c.mmdb", records, version=version))

    assert geo.has_countries()
    assert not geo.has_systems()
    assert geo.kind == "Test-Country"
    assert geo.country(packed("192.0.2.9")) == "DE"
    assert geo.country(packed("198.51.100.9")) == "US"
    assert geo.country(packed("203.0.113.1")) == ""
    assert geo.country(packed("2001:db8::1")) == ""
    assert geo.system(packed("192.0.2.9")) == 0


def test_a_file_tells_systems(tmp_path: Path) -> None:
    record: mmdb.Value = {"autonomous_system_number": 13335, "autonomous_system_organization": "x"}
    geo = Geo(mmdb.write(tmp_path / "a.mmdb", {"1.1.1.0/24": record, "2001:db8::/32": record}))

    assert geo.has_systems()
    assert not geo.has_countries()
    assert geo.system(packed("1.1.1.1")) == 13335
    assert geo.system(packed("2001:db8::9")) == 13335
    assert geo.system(packed("1.1.2.1")) == 0


@pytest.mark.parametrize(
    ("record", "country", "system"),
    [
        ("cn", "CN", 0),
        (["jp", "google"], "JP", 0),
        ("private", "", 0),
        ([], "", 0),
        ({"country": "Germany", "country_code": "DE", "asn": "AS3320"}, "DE", 3320),
        ({"country": "FR", "asn": 12}, "FR", 12),
        ({"country": {"iso_code": 7}, "asn": "none"}, "", 0),
        (None, "", 0),
        (3, "", 0),
        ({"autonomous_system_number": True}, "", 0),
    ],
)
def test_the_records_of_several_makers_are_understood(
    record: object, country: str, system: int
) -> None:
    assert country_of(record) == country
    assert system_of(record) == system


def test_what_is_no_such_file_is_refused(tmp_path: Path) -> None:
    for name, content in (("text", b"hello"), ("empty", b""), ("zeros", bytes(4096))):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(GeoError, match="not a MaxMind DB file"):
            Geo(str(tmp_path / name))
    with pytest.raises(GeoError, match="cannot be read: no such file"):
        Geo(str(tmp_path / "none"))
    with pytest.raises(GeoError, match=r"cannot be read: is a directory"):
        Geo(str(tmp_path))


@settings(max_examples=150)
@given(st.data())
def test_a_damaged_file_is_refused_or_knows_less(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "x.mmdb")
        mmdb.write(path, {"192.0.2.0/24": DE, "10.0.0.0/8": US}, version=4)
        content = bytearray(path.read_bytes())
        for _ in range(data.draw(st.integers(1, 4))):
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
        cut = data.draw(st.integers(0, len(content)))
        path.write_bytes(content[:cut] if data.draw(st.booleans()) else content)
        try:
            geo = Geo(str(path))
            geo.has_countries()
        except GeoError:
            return
        for address in ("192.0.2.1", "10.0.0.1", "::1"):
            assert isinstance(geo.country(packed(address)), str)


def test_a_file_that_is_overwritten_in_place_does_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "x.mmdb"
    geo = Geo(mmdb.write(path, {"192.0.2.0/24": DE}))
    path.write_bytes(b"")

    assert geo.country(packed("192.0.2.1")) == "DE"
