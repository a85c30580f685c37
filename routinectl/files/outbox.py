"""Where the notices stand, in one file: how far the journal was read, the open incidents, and what is on its way."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from routinectl.core.event import AS_JSON
from routinectl.files import atomic
from routinectl.files.layout import Layout


def path(layout: Layout) -> Path:
    """Return the file."""
    return layout.private / "notices.json"


def read(layout: Layout) -> dict[str, Any]:
    """Return what was written; nothing when there is no file, or a damaged one: telling goes on from now."""
    try:
        plain = json.loads(path(layout).read_bytes())
    except (OSError, ValueError):
        return {}
    return plain if isinstance(plain, dict) and plain.get("schema") == 1 else {}


def write(layout: Layout, plain: dict[str, Any]) -> None:
    """Replace it, durably. Raises OSError."""
    atomic.write(path(layout), json.dumps({"schema": 1, **plain}, ensure_ascii=False).encode("utf-8", AS_JSON), mode=0o600)
