"""Moments and spans as people type them at options such as --since and --at."""

from __future__ import annotations

from datetime import datetime

from routinectl.core.schedule.moment import looks_like_moment, parse_bound
from routinectl.core.schedule.zone import Zone, load
from routinectl.core.units import from_epoch, from_iso, parse_duration
from routinectl.errors import UsageError
from routinectl.operations.session import Session


def moment(text: str, session: Session, *, past: bool, zone: Zone | None = None) -> datetime:
    """Return the instant of a text: ISO 8601 (local time without an offset), or a duration from now.

    Raises UsageError for anything else.
    """
    if looks_like_moment(text):
        if text.endswith("Z") or "." in text:
            try:
                return from_iso(text)
            except ValueError:
                raise UsageError(f"'{text}' is not an ISO 8601 moment", "2026-11-21T09:00") from None
        return from_epoch(parse_bound(text, zone or load(session.settings.timezone)))
    try:
        span = parse_duration(text.removesuffix(" ago"))
    except ValueError:
        raise UsageError(f"'{text}' is neither a moment nor a duration", "2026-11-21T09:00, or 2d") from None
    return session.now - span if past else session.now + span
