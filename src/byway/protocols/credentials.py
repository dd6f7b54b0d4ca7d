"""Who may pass: users and passwords, compared so that time tells nothing."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Mapping

Verify = Callable[[str, str], bool]
"""Tells whether this user has this password."""


def verifier(users: Mapping[str, str]) -> Verify:
    """Make a Verify of passwords by user name. An unknown user costs the time a known one does.

    Digests are compared, not passwords, so that the length does not show either.
    """
    digests = {name: _digest(password) for name, password in users.items()}
    nobody = _digest("")

    def verify(user: str, password: str) -> bool:
        expected = digests.get(user)
        same = hmac.compare_digest(_digest(password), nobody if expected is None else expected)
        return same and expected is not None

    return verify


def _digest(password: str) -> bytes:
    return hashlib.sha256(password.encode("utf-8", "surrogatepass")).digest()
