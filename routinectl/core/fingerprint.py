"""Fingerprints: what a definition means, and the bytes it acts with, as one short text each."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from routinectl.core import calendar

_APART = ("enabled", "creator")


def of_definition(doc: Mapping[str, Any]) -> str:
    """Return SHA-256 over the canonical JSON of an effective document; comments and layout, `enabled` and `creator` apart."""
    import hashlib  # 5 ms that a start without changes does not need

    meaning = {key: value for key, value in doc.items() if key not in _APART}
    if "calendar" in meaning:
        meaning["calendar"] = calendar.meaning(meaning["calendar"])
    text = json.dumps(meaning, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def of_content(definition: str, files: Iterable[tuple[str, int, bytes]]) -> str:
    """Return SHA-256 over a definition's fingerprint and (path, mode as git has it, digest of the bytes) of the files it acts with."""
    import hashlib

    total = hashlib.sha256(definition.encode())
    for path, mode, digest in sorted(files):
        total.update(f"\0{path}\0{mode:o}\0".encode(errors="surrogateescape"))
        total.update(digest)
    return total.hexdigest()
