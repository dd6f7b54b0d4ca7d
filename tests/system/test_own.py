"""Which addresses are this host's, and how many flows it has room for."""

from __future__ import annotations

import resource

from byway.flow import packed_address
from byway.system.limits import flows_for, open_files, raise_open_files
from byway.system.own import OwnAddresses


def test_knows_its_own() -> None:
    own = OwnAddresses()
    for host, expected in (("127.0.0.1", True), ("::1", True), ("192.0.2.77", False)):
        packed = packed_address(host)
        assert packed is not None
        assert own.holds(packed) is expected
        assert own.holds(packed) is expected


def test_open_files_are_raised_to_the_hard_limit() -> None:
    assert raise_open_files() == open_files()
    assert open_files() == resource.getrlimit(resource.RLIMIT_NOFILE)[1]


def test_flows_fit_under_open_files() -> None:
    assert flows_for(20_000) > 9_000
    assert flows_for(100) == 16
    assert flows_for(resource.RLIM_INFINITY) > 100_000
