"""Secrets in files that only the workspace's owner may read."""

from __future__ import annotations

import os
from pathlib import Path

from routinectl.files import atomic, regular

_MOST_BYTES = 64 * 1024


def read(path: str) -> bytes:
    """Return a secret without the white space around it; nothing when its file cannot be read, or is no small file."""
    try:
        return regular.read(path, _MOST_BYTES).strip()
    except OSError:
        return b""


def write(path: str, data: bytes) -> None:
    """Replace a secret, durably. Raises OSError."""
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    atomic.write(Path(path), data, mode=0o600)
