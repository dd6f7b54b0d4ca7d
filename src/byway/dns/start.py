"""Work beside a question, owned by whoever owns all questions."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Protocol, TypeVar

T = TypeVar("T")


class Start(Protocol):
    """Gives work to a TaskGroup. What fails in it ends nothing else; its result is None then."""

    def __call__(self, work: Coroutine[None, None, T]) -> asyncio.Task[T | None]: ...
