"""Where the HTTP process of a serve listens, for other processes to tell: what the file says counts while it is locked."""

from __future__ import annotations

import os

from routinectl.files.layout import Layout
from routinectl.files.lock import hold, is_held

_NAME = "listens"


def tell(layout: Layout, where: str) -> None:
    """Say where, for as long as this process lives; waits until one that is about to end has done so. Raises OSError."""
    lock = hold(layout.live / _NAME)  # never closed: the kernel drops it with the process
    os.ftruncate(lock.fd, 0)
    os.pwrite(lock.fd, where.encode("utf-8", "surrogateescape"), 0)


def heard(layout: Layout) -> str:
    """Return where it listens now; nothing where none does."""
    path = layout.live / _NAME
    try:
        return os.fsdecode(path.read_bytes()) if is_held(path) else ""
    except OSError:
        return ""
