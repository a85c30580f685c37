"""Trigger options, shared by `add` and `edit`: from what was typed to the triggers of a definition."""

from __future__ import annotations

from typing import Any

from routinectl.errors import UsageError


def trigger_options(
    cron: list[str] | None, every: list[str] | None, daily: list[str] | None, weekly: list[str] | None,
    at: list[str] | None, schedule: list[str] | None, *, anchor: str | None,
) -> list[dict[str, Any]]:  # fmt: skip
    """Return the triggers that were asked for; an interval gets the anchor it counts from."""
    triggers: list[dict[str, Any]] = [{"cron": text} for text in cron or ()]
    triggers += [{"every": text, **({"anchor": anchor} if anchor else {})} for text in every or ()]
    triggers += [{"daily": text} for text in daily or ()]
    triggers += [_weekly(text) for text in weekly or ()]
    triggers += [{"at": text} for text in at or ()]
    return triggers + [{"schedule": text} for text in schedule or ()]


def _weekly(text: str) -> dict[str, Any]:
    days, _, time = text.strip().rpartition(" ")
    if not days:
        raise UsageError(f"'{text}' is not days and a time", "--weekly 'mon,wed 18:30'")
    return {"weekly": {"days": [day.strip() for day in days.split(",") if day.strip()], "time": time}}
