"""Which name an address was told for."""

from __future__ import annotations

from byway.dns.given_names import KEPT_LEAST, GivenNames
from byway.flow import Target

ONE, OTHER = Target.of("192.0.2.1", 5000), Target.of("192.0.2.2", 5000)
ADDRESS = bytes((203, 0, 113, 1))


def test_a_client_has_its_own_names_and_else_the_last() -> None:
    now = 0.0
    names = GivenNames(clock=lambda: now)
    names.note(ONE, [ADDRESS], "a.example", 10)
    names.note(OTHER, [ADDRESS], "b.example", 10)
    assert names.name(Target.of("192.0.2.1", 6000), ADDRESS) == "a.example"
    assert names.name(OTHER, ADDRESS) == "b.example"
    assert names.name(Target.of("192.0.2.3", 1), ADDRESS) == "b.example"
    assert names.name(ONE, bytes(4)) is None
    now = KEPT_LEAST + 1
    assert names.name(ONE, ADDRESS) is None


def test_programs_of_this_host_are_one_client() -> None:
    names = GivenNames()
    names.note(Target.of("127.0.0.1", 1), [ADDRESS], "a.example", 60)
    names.note(OTHER, [ADDRESS], "b.example", 60)
    for own in (Target.of("127.0.0.9", 2), Target.of("::1", 3), None):
        assert names.name(own, ADDRESS) == "a.example"


def test_they_are_bounded() -> None:
    names = GivenNames(most=10)
    for n in range(100):
        names.note(ONE, [n.to_bytes(4)], "a.example", 60)
    assert len(names) == 10
    assert names.name(ONE, (99).to_bytes(4)) == "a.example"
