"""A message as it came: where its text is when it is JSON. One rule for the command, the spool and the HTTP face."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from routinectl.core import foreign

TEXT_KEYS = ("text", "message", "MESSAGE", "body")  # where the JSON of a message may have its text: the first that is text counts


def read(line: str, key: str = "") -> tuple[str, dict[str, Any]]:
    """Return the text of a message and the JSON that came with it; what is no object of JSON is text itself."""
    if line.startswith("{"):
        try:
            data = foreign.parse(line)
        except ValueError:
            return line, {}
        return text_in(data, key), data
    return line, {}


def text_in(data: Mapping[str, Any], key: str = "") -> str:
    """Return the text in the JSON of a message: at a key (`params.message`), or at the first of the usual ones."""
    if key:
        value: Any = data
        for part in key.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        return value if isinstance(value, str) else ""
    return next((data[name] for name in TEXT_KEYS if isinstance(data.get(name), str)), "")
