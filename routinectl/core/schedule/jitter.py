"""Stable jitter: one offset per routine, only ever later, the same after every restart."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta


def offset_of(routine_id: str, time_triggers: Iterable[str], jitter: timedelta) -> timedelta:
    """Return the offset of a routine: SHA-256 of its id and its time triggers, modulo the jitter, in whole seconds.

    An edit of a trigger may move it; a restart, another machine or another routine never does.
    """
    seconds = int(jitter.total_seconds())
    if seconds <= 0:
        return timedelta()
    import hashlib

    text = "\n".join([routine_id, *time_triggers])
    return timedelta(seconds=int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") % seconds)
