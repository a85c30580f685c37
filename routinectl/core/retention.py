"""Which run folders go: by count, age and size, oldest first, with the reason for each.

The last good run of a routine is kept whatever the limits say, and so are runs that go on.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from routinectl.core.settings import Retention


@dataclass(frozen=True, slots=True)
class KeptRun:
    """A run's folder: when it was made, and its bytes."""

    id: str
    made: datetime
    size: int


def expired(runs: Sequence[KeptRun], limits: Retention, spared: Collection[str], now: datetime) -> list[tuple[str, str]]:
    """Return (run id, reason) of the runs of one routine that go. `runs` is ordered, oldest first."""
    gone: list[tuple[str, str]] = []
    total = sum(run.size for run in runs)
    surplus = len(runs) - limits.runs
    for run in runs:
        reason = ""
        if surplus > 0:
            reason = f"more than {limits.runs} runs"
        elif now - run.made > limits.age:
            reason = "older than retention.age"
        elif total > limits.size:
            reason = "together larger than retention.size"
        if not reason:
            break
        if run.id in spared:
            continue
        gone.append((run.id, reason))
        total -= run.size
        surplus -= 1
    return gone
