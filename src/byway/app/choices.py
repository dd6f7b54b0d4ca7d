"""The members that a person selected in groups of type select, kept for the next start."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from byway.config import Config, SelectGroup
from byway.ledger.log import Log
from byway.system.state import StateFile


class Choices:
    """Those of one app, in a file."""

    def __init__(self, file: StateFile, log: Log) -> None:
        self._file = file
        self._log = log

    @property
    def problem(self) -> str:
        """Why the file could not be read or written; "": it could."""
        return self._file.problem

    def read(self, config: Config) -> Mapping[str, str]:
        """Those of an earlier life, where a config has something to choose."""
        if not any(isinstance(group, SelectGroup) for group in config.groups.values()):
            return {}
        found = self._file.read().get("choices")
        if self.problem:
            self._log.warning("earlier selections are lost", error=self.problem)
        return {str(k): str(v) for k, v in found.items()} if isinstance(found, dict) else {}

    async def remember(self, choices: Mapping[str, str]) -> None:
        """Write them down, in a thread."""
        if not await asyncio.to_thread(self.write, dict(choices)):
            self._log.warning("a selection cannot be saved", error=self.problem)

    def write(self, choices: Mapping[str, str]) -> bool:
        """Write them down; whether that went well. Waits for the disk."""
        return self._file.write({"choices": dict(choices)})
