"""What all tests share: each family of tests knows where it may run."""

from __future__ import annotations

from pathlib import Path

import pytest

TESTS = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything under interop/ talks with real programs: mark it, so that -m can choose."""
    for item in items:
        if item.path.is_relative_to(TESTS / "interop"):
            item.add_marker(pytest.mark.interop)
