"""Whether an attempt that failed is followed by another one, and when.

A waiting retry counts as a running run, and holds no lease. A pause, a disabling, a deletion or a new schedule ends it.
An interrupted run is tried again only if its definition says that this does no harm (`idempotent: true`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from routinectl.core.units import parse_duration

if TYPE_CHECKING:
    from routinectl.core.routine import Routine
    from routinectl.core.standing import Run, Standing

_LONGEST = timedelta(days=366)


@dataclass(frozen=True, slots=True)
class Retry:
    """How failed attempts are repeated. `attempts` counts the first one."""

    attempts: int = 1
    delay: timedelta = timedelta(seconds=30)
    backoff: float = 2.0
    max_delay: timedelta = timedelta(minutes=10)
    on: frozenset[str] = frozenset({"failed", "timed_out"})

    def wait(self, attempt: int) -> timedelta:
        """Return how long to wait after an attempt (the first is 1) before the next one."""
        growth = min(self.backoff ** (attempt - 1), _LONGEST / max(self.delay, timedelta(seconds=1)))
        return min(self.delay * growth, self.max_delay)


NEVER = Retry()


def read(doc: Mapping[str, Any]) -> Retry:
    """Return the retry policy of a definition."""
    return Retry(
        int(doc.get("attempts", 1)),
        parse_duration(doc.get("delay", "30s")),
        float(doc.get("backoff", 2.0)),
        parse_duration(doc.get("max_delay", "10m")),
        frozenset(doc.get("on", ("failed", "timed_out"))),
    )


def next_attempt(routine: Routine, run: Run, outcome: str, ended: datetime) -> datetime | None:
    """Return when the next attempt of a run is due, or None when this end is final; it may still be `abandoned`."""
    if outcome == "interrupted":
        if not routine.idempotent or run.attempt >= max(routine.retry.attempts, 2):
            return None
    elif outcome not in routine.retry.on or run.attempt >= routine.retry.attempts:
        return None
    return ended + routine.retry.wait(run.attempt)


def abandoned(routine: Routine, standing: Standing, run: Run) -> str:
    """Return why a run is not tried again although its policy says so, empty when it is."""
    if standing.deleted:
        return "deleted"
    if not routine.enabled:
        return "disabled"
    if standing.paused is not None:
        return "paused"
    if standing.revised_at is not None and standing.revised_at > run.claimed_at:
        return "its schedule was changed"
    return ""
