"""The budget of all flows of one user, inbound, outbound or rule."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from byway.values.section import Section
from byway.values.texts import duration, rate, size
from byway.values.wrong import Wrong


class Limit(Section):
    """A limit shared by flows: at least one of these."""

    up: Annotated[int, rate("1KB/s", "100GB/s")] | None = None
    """Bytes per second from clients to targets: `1MB/s`, `8Mbit/s`."""
    down: Annotated[int, rate("1KB/s", "100GB/s")] | None = None
    """Bytes per second from targets to clients."""
    quota: Annotated[int, size("1B", "1000000TB")] | None = None
    """Bytes in total, both directions. Once used up, flows are cut and new ones refused."""
    per: Annotated[float, duration("1m", "366d")] | None = None
    """The period of the quota; none: it never resets."""
    flows: int | None = Field(default=None, ge=1, le=10_000_000)
    """Maximum number of flows; further ones are refused."""

    @model_validator(mode="after")
    def _says_something(self) -> Limit:
        if self.per is not None and self.quota is None:
            raise Wrong("per requires quota", "add quota", ("per",))
        if all(getattr(self, key) is None for key in ("up", "down", "quota", "flows")):
            raise Wrong("the limit is empty", "add up, down, quota or flows")
        return self
