"""Users and passwords."""

from __future__ import annotations

import pytest

from byway.protocols.credentials import verifier


@pytest.mark.parametrize(
    ("user", "password", "right"),
    [
        ("ann", "secret", True),
        ("ann", "Secret", False),
        ("ann", "", False),
        ("Ann", "secret", False),
        ("bob", "", True),
        ("bob", "x", False),
        ("nobody", "", False),
        ("", "", False),
        ("zoë", "пароль", True),
        ("ann", "\ud800", False),
    ],
)
def test_verifier(user: str, password: str, right: bool) -> None:
    verify = verifier({"ann": "secret", "bob": "", "zoë": "пароль"})
    assert verify(user, password) is right
