"""How a serve fares, in a file that other processes read: how long its turns and its syncs took."""

from __future__ import annotations

import json
from pathlib import Path

from routinectl.core.meter import Signs, signs_from
from routinectl.files import atomic
from routinectl.files.layout import Layout


def _path(layout: Layout) -> Path:
    return layout.private / "signs.json"


def read(layout: Layout) -> Signs:
    """Return what was counted so far; nothing where that cannot be read."""
    try:
        return signs_from(json.loads(_path(layout).read_bytes()))
    except (OSError, ValueError, KeyError, TypeError):
        return Signs()


def write(layout: Layout, signs: Signs) -> None:
    """Replace it; not durable, for it is counted on anyway. Raises OSError."""
    atomic.write(_path(layout), json.dumps(signs.to_plain()).encode(), mode=0o600, durable=False)
