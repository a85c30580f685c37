"""What a decision asks for: values, each with its reason. The engine records and carries them out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from routinectl.core.catch_up import Interval
from routinectl.core.standing import Request, Run


@dataclass(frozen=True, slots=True)
class Start:
    """Begin an attempt: for a slot (with the earlier ones that it answers too, if any), for a request, or a retry."""

    id: str
    due: datetime
    reason: str
    slot: datetime | None = None
    collapsed: Interval | None = None
    request: Request | None = None
    held: bool = False
    retry: Run | None = None
    payloads: tuple[Mapping[str, Any], ...] = ()  # of several requests that one run answers


@dataclass(frozen=True, slots=True)
class Skip:
    """Answer a slot, an interval of slots or a request with a final no: `missed` or `skipped`, with the reason."""

    id: str
    missed: bool
    reason: str
    slot: datetime | None = None
    interval: Interval | None = None
    request: str | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    excluded: bool = False


@dataclass(frozen=True, slots=True)
class Hold:
    """Keep a slot, or a request, open for later; `until` an instant, where that is known."""

    id: str
    reason: str
    slot: datetime | None = None
    request: str | None = None
    until: datetime | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    excluded: bool = False


@dataclass(frozen=True, slots=True)
class Resume:
    """End a pause whose time is over."""

    id: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Pause:
    """Pause a routine that has failed too often."""

    id: str
    reason: str


@dataclass(frozen=True, slots=True)
class Stop:
    """Stop a run, because a newer one replaces it."""

    id: str
    run: str


@dataclass(frozen=True, slots=True)
class Abandon:
    """End a run that waits for its next attempt, and will not get it."""

    id: str
    run: Run
    why: str


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask a person to approve this content."""

    id: str
    content: str
    mode: str
    expires: datetime
    slot: datetime | None = None
    request: str | None = None


@dataclass(frozen=True, slots=True)
class Expire:
    """Nobody answered a request for approval in its time."""

    id: str


@dataclass(frozen=True, slots=True)
class Breach:
    """A promise about lateness is broken since an instant."""

    id: str
    promise: str
    since: datetime


@dataclass(frozen=True, slots=True)
class Recover:
    """A routine that was overdue has succeeded."""

    id: str
    promises: tuple[str, ...]


Wish = Start | Skip | Hold | Resume | Pause | Stop | Abandon | Ask | Expire | Breach | Recover
