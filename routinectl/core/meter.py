"""Counters folded from events: what the metrics count. They live in the checkpoint, so they survive a restart.

Every label has a closed list of values (outcomes, verdicts and reasons, kinds of triggers): no name of a routine.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from routinectl.core.event import Event
from routinectl.core.units import from_iso

LATENESS = (0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 60.0, 600.0, 3600.0)  # seconds
TURNS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0)
SYNCS = (0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0)
DURATIONS = (0.1, 1.0, 10.0, 60.0, 600.0, 3600.0, 21600.0)
_COUNTED = {"serve.started": "serve_starts", "clock.jumped": "clock_jumps", "journal.damaged": "journal_damages",
            "run.retrying": "retries", "sla.breached": "sla_breaches", "notice.sent": "notices_sent", "notice.failed": "notices_failed"}  # fmt: skip
_PLAIN_KINDS = frozenset({"manual", "after", "message", "webhook", "file", "dispatch"})


@dataclass(slots=True)
class Histogram:
    """How many observations fell under each bound (the last: above all), and their sum."""

    bounds: tuple[float, ...]
    counts: list[int] = field(default_factory=list)
    total: float = 0.0

    def __post_init__(self) -> None:
        self.counts = self.counts or [0] * (len(self.bounds) + 1)

    def observe(self, value: float) -> None:
        """Count one observation."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


@dataclass(slots=True)
class Meter:
    """The counters of a workspace since its first event. Keys are a family's name and its labels' values."""

    counters: dict[tuple[str, ...], int] = field(default_factory=dict)
    lateness: Histogram = field(default_factory=lambda: Histogram(LATENESS))
    durations: Histogram = field(default_factory=lambda: Histogram(DURATIONS))

    def fold(self, event: Event) -> None:
        """Count one event."""
        kind, data = event.type, event.data
        if kind == "run.claimed":
            self._claimed(data)
        elif kind == "run.ended":
            self._add("runs", data["outcome"])
            if data.get("started_at"):
                self.durations.observe(max((from_iso(data["at"]) - from_iso(data["started_at"])).total_seconds(), 0.0))
        elif kind in ("slot.skipped", "slot.missed"):
            of = "requests_refused" if "request" in data else "slots"
            self._add(of, kind.partition(".")[2], data["reason"], by=int(data.get("count", 1)))
        elif kind == "run.requested":
            asked = str(data.get("trigger", "")).partition(" ")[0] or "manual"
            self._add("requests", asked if asked in _PLAIN_KINDS else "other")
        elif kind in _COUNTED:
            self._add(_COUNTED[kind])

    def _claimed(self, data: Mapping[str, Any]) -> None:
        if data.get("attempt", 1) > 1 or not data.get("slot"):
            return
        self._add("slots", "ran", data["reason"])
        if "collapsed" in data:
            self._add("slots", "missed", "collapsed", by=int(data["collapsed"]["count"]))
        self.lateness.observe(max((from_iso(data["at"]) - from_iso(data["due"])).total_seconds(), 0.0))

    def _add(self, *key: str, by: int = 1) -> None:
        self.counters[key] = self.counters.get(key, 0) + by

    def to_plain(self) -> dict[str, Any]:
        """Return it as JSON data."""
        return {"counters": [[*key, value] for key, value in sorted(self.counters.items())],
                "lateness": [self.lateness.counts, self.lateness.total], "durations": [self.durations.counts, self.durations.total]}  # fmt: skip


def from_plain(plain: Mapping[str, Any]) -> Meter:
    """Return the meter of JSON data; what an older version did not count begins at nothing."""
    if not plain:
        return Meter()
    counters = {tuple(key): value for *key, value in plain["counters"]}
    return Meter(counters, _histogram(LATENESS, plain["lateness"]), _histogram(DURATIONS, plain["durations"]))


def _histogram(bounds: tuple[float, ...], plain: list[Any]) -> Histogram:
    counts, total = plain
    return Histogram(bounds, list(counts), total) if len(counts) == len(bounds) + 1 else Histogram(bounds)


@dataclass(slots=True)
class Signs:
    """How a serve fares, in seconds: turns of its loop, in which it hears nothing else, and syncs of the journal."""

    turns: Histogram = field(default_factory=lambda: Histogram(TURNS))
    syncs: Histogram = field(default_factory=lambda: Histogram(SYNCS))

    def to_plain(self) -> dict[str, Any]:
        """Return it as JSON data."""
        return {"turns": [self.turns.counts, self.turns.total], "syncs": [self.syncs.counts, self.syncs.total]}


def signs_from(plain: Mapping[str, Any]) -> Signs:
    """Return the signs of JSON data. Raises KeyError, TypeError and ValueError for what is none."""
    return Signs(_histogram(TURNS, plain["turns"]), _histogram(SYNCS, plain["syncs"]))
