"""Calls of the kernel that Python has no name for."""

from __future__ import annotations

import ctypes
import os

libc = ctypes.PyDLL(None, use_errno=True)  # no switching of threads around a call: one of them forks


def checked(result: int, what: str) -> int:
    """Return the result of a call of libc. Raises OSError, which says `what` was tried."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result
