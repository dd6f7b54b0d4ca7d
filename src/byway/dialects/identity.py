"""Users by UUID, as some protocols have them in place of passwords."""

from __future__ import annotations

from typing import Annotated
from uuid import uuid4

from pydantic import SecretStr

from byway.values.problems import Path, Problems
from byway.values.texts import Reads, text_of, text_schema
from byway.values.user import Named
from byway.values.written import Node
from byway.values.wrong import Wrong


def _uuid(value: object) -> SecretStr:
    text = text_of(value)
    if not text or len(text.encode()) > 255:
        raise Wrong("the uuid is empty, or too long", "byway password makes one")
    return SecretStr(text)


Uuid = Annotated[SecretStr, Reads(_uuid, text_schema("b831381d-6324-4d53-ad4f-8cda48b30811"))]


class UuidUser(Named):
    """A user of an inbound, who has a UUID."""

    uuid: Uuid
    """A UUID; of another text one is made, as Xray does."""


def check_uuids(path: Path, inbound: Node, problems: Problems) -> None:
    """Users are told apart by their UUIDs alone."""
    users, seen = inbound.get("users"), set()
    for at, user in enumerate(users.items() if users is not None else []):
        uuid = (user.text("uuid") or "").lower().replace("-", "")
        if uuid and uuid in seen:
            where = (*path, "users", at, "uuid")
            problems.add(where, "another user has this uuid", "each user needs another one")
        seen.add(uuid)


def new_uuid() -> str:
    """A new one."""
    return str(uuid4())
