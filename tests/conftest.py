"""What all tests share: each family of tests knows where it may run."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.loops import TidyLoops
from tests.nowhere import entered

# How long an example takes says more of the machine's other work than of ours.
settings.register_profile(
    "untimed",
    parent=settings.default,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("untimed")

asyncio.set_event_loop_policy(TidyLoops())

# Its assertions explain themselves as those of a test file do; before anybody imports it.
pytest.register_assert_rewrite("tests.streams.conformance")

TESTS = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything under interop/ talks with real programs: mark it, so that -m can choose."""
    for item in items:
        if item.path.is_relative_to(TESTS / "interop"):
            item.add_marker(pytest.mark.interop)


@pytest.fixture
def nowhere() -> Iterator[None]:
    """For what mutates targets, follows hostile redirects or resolves hostile names: the test, and
    all that it starts, is in a network that has only `lo`."""
    with ExitStack() as stack:
        try:
            stack.enter_context(entered())
        except OSError as error:
            why = f"no network of its own can be made (needs root): {error}"
            if os.environ.get("CI") == "true":
                pytest.fail(why)
            pytest.skip(why)
        yield


@pytest.fixture(autouse=True, scope="session")
def _own_folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Control sockets and memories are made in folders of the tests' own, not in the user's."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("XDG_RUNTIME_DIR", "XDG_STATE_HOME"):
            patch.setenv(name, os.fspath(tmp_path_factory.mktemp(name)))
        yield
