"""Which deliveries of a webhook were heard, by the hash of what is signed: kept as long as the secret lives.

A text file a routine, one hash a line, and the secret's own hash on the first. It may be read while another process
appends: a torn last line is no hash.
"""

from __future__ import annotations

import hashlib
import os

from routinectl.files import atomic
from routinectl.files.layout import Layout

_HASH = 64


def _path(layout: Layout, routine_id: str) -> str:
    return f"{layout.private}/deliveries/{routine_id}"


def known(layout: Layout, routine_id: str, secret: bytes) -> set[str]:
    """Return the deliveries that were heard under this secret."""
    try:
        with open(_path(layout, routine_id)) as file:
            lines = file.read().split("\n")
    except FileNotFoundError:
        return set()
    return {line for line in lines[1:] if len(line) == _HASH} if lines[0] == _head(secret) else set()


def remember(layout: Layout, routine_id: str, secret: bytes, key: str) -> None:
    """Add a delivery, durably; under another secret than before the list begins anew."""
    path = _path(layout, routine_id)
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        head = _head(secret).encode()
        if os.pread(fd, _HASH, 0) != head:
            os.ftruncate(fd, 0)
            atomic.write_all(fd, head)
        atomic.write_all(fd, b"\n" + key.encode())
        os.fdatasync(fd)
    finally:
        os.close(fd)


def _head(secret: bytes) -> str:
    return hashlib.sha256(b"secret:" + secret).hexdigest()
