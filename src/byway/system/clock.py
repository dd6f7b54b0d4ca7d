"""Whether the kernel's clock is kept right by somebody (adjtimex(2))."""

from __future__ import annotations

import ctypes

_ERROR = 5  # TIME_ERROR
_UNSYNCHRONISED = 0x40  # STA_UNSYNC


class _Timex(ctypes.Structure):
    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_long * 32),
    )


def is_synchronised() -> bool | None:
    """Whether a time service keeps it; None where the kernel does not tell."""
    said = _Timex()
    try:
        state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(said))
    except (OSError, AttributeError):
        return None
    if state < 0:
        return None
    return state != _ERROR and not said.status & _UNSYNCHRONISED
