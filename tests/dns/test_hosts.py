"""Names told by hand."""

from __future__ import annotations

import pytest

from byway.dns.hosts import Host, Hosts

BOX, OTHER = b"\xc0\xa8\1\5", b"\xc0\xa8\1\6"
HOSTS = Hosts(
    {"nas.home": Host((BOX,)), "files.home": Host(alias="nas.home"), "a.loop": Host(alias="b.loop"),
     "b.loop": Host(alias="a.loop"), "web.home": Host(alias="www.example")},
    {"test": Host((OTHER,)), "deep.test": Host((BOX,))},
)  # fmt: skip


@pytest.mark.parametrize(
    ("name", "led", "addresses"),
    [
        ("nas.home", "nas.home", (BOX,)),
        ("files.home", "nas.home", (BOX,)),
        ("web.home", "www.example", None),
        ("home", "home", None),
        ("x.test", "x.test", (OTHER,)),
        ("test", "test", None),  # *.test is what is below
        ("x.y.deep.test", "x.y.deep.test", (BOX,)),  # the nearest
        ("www.example", "www.example", None),
        ("localhost", "localhost", (b"\x7f\0\0\1", bytes(15) + b"\1")),
        ("a.localhost", "a.localhost", (b"\x7f\0\0\1", bytes(15) + b"\1")),
    ],
)
def test_where_a_name_leads(name: str, led: str, addresses: tuple[bytes, ...] | None) -> None:
    assert HOSTS.follow(name) == (led, addresses)


def test_a_ring_is_refused() -> None:
    with pytest.raises(ValueError, match="too many aliases"):
        HOSTS.follow("a.loop")
