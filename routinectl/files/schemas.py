"""Where the JSON Schemas lie: in the wheel beside the package, in a checkout at its top level."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

from routinectl.core.schema import Accepts, compile_schema

NAMES = ("routine", "agent", "workspace", "event", "state", "history")
_PACKAGE = Path(__file__).resolve().parent.parent


def path_of(name: str) -> Path:
    """Return the file of a schema (`routine`, `workspace`, ...)."""
    shipped = _PACKAGE / "schemas" / f"{name}.schema.json"
    return shipped if shipped.exists() else _PACKAGE.parent / "schemas" / f"{name}.schema.json"


@functools.cache
def load(name: str) -> dict[str, Any]:
    """Return a schema as plain data."""
    schema: dict[str, Any] = json.loads(path_of(name).read_bytes())
    return schema


@functools.cache
def accepts(name: str) -> Accepts:
    """Return the fast check of a schema."""
    return compile_schema(load(name))
