"""What the messages to and from a keeper are made of, apart from the socket they travel through."""

from __future__ import annotations

import json
from typing import Any

MAX_DESCRIPTORS = 250  # the kernel takes 253 with one message
_dumps = json.JSONEncoder(separators=(",", ":")).encode


def encode(message: dict[str, Any]) -> bytes:
    """Return a message as JSON."""
    return _dumps(message).encode()


class Closed(ConnectionError):
    """The other end is gone."""
