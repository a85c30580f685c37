"""Trigger options, shared by `add` and `edit`: from what was typed to the triggers of a definition."""

from __future__ import annotations

from typing import Any

from routinectl.core.quiet_hours import NIGHT
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


def policy_options(quiet: str | None, approval: str | None, *, ask_first: bool) -> dict[str, Any]:
    """Return the policies that were asked for by `--quiet-hours`, `--approval` and `--ask-first`. Raises UsageError."""
    found: dict[str, Any] = {}
    if quiet == "night":
        found["quiet_hours"] = dict(NIGHT)
    elif quiet:
        start, dash, end = quiet.partition("-")
        if not dash:
            raise UsageError(f"'{quiet}' is no window of time", "--quiet-hours 22:00-07:00, or --quiet-hours night")
        found["quiet_hours"] = {"start": start.strip(), "end": end.strip()}
    if approval and ask_first:
        raise UsageError("--approval and --ask-first exclude each other", "--ask-first")
    if approval or ask_first:
        found["approval"] = approval or "before_first_run"
    return found


def _weekly(text: str) -> dict[str, Any]:
    days, _, time = text.strip().rpartition(" ")
    if not days:
        raise UsageError(f"'{text}' is not days and a time", "--weekly 'mon,wed 18:30'")
    return {"weekly": {"days": [day.strip() for day in days.split(",") if day.strip()], "time": time}}
