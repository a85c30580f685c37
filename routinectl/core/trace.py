"""A run as a span of a trace, in the words of OpenTelemetry: what followed what has one trace, attempts of a run are siblings."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from routinectl.core.event import Event
from routinectl.core.units import from_iso
from routinectl.core.verdict import FAILURES

_MARKS = (("due", "due"), ("claimed", "claimed_at"), ("started", "started_at"))
_FACTS = ("run", "attempt", "slot", "reason", "trigger", "outcome", "exit_code", "signal", "mode", "fingerprint", "commit")


@dataclass(frozen=True, slots=True)
class Span:
    """One attempt of a run. Ids are numbers of 128 and 64 bits, times nanoseconds since 1970; `marks` are instants within it."""

    name: str
    trace: int
    id: int
    begin: int
    end: int
    failed: str = ""
    facts: Mapping[str, str | int] = field(default_factory=dict)
    marks: tuple[tuple[str, int], ...] = ()


def span_of(event: Event) -> Span | None:
    """Return the span of an attempt's end; None for any other event."""
    if event.type not in ("run.ended", "run.retrying"):
        return None
    data = event.data
    whole = f"{event.subject}/{data['run']}"
    origin = (data.get("chain") or {}).get("origin", whole)
    marks = tuple((name, _nanoseconds(data[key])) for name, key in _MARKS if data.get(key))
    begin = _nanoseconds(data.get("claimed_at") or data.get("started_at") or data["at"])
    failed = data.get("message") or data["outcome"] if data["outcome"] in FAILURES else ""
    facts = {f"routinectl.{key}": data[key] for key in _FACTS if isinstance(data.get(key), (str, int)) and data[key] != ""}
    return Span(event.subject, _number(origin, 16), _number(f"{whole}.{data.get('attempt', 1)}", 8), begin,
                max(_nanoseconds(data["at"]), begin), failed, facts | {"routinectl.routine": event.subject}, marks)  # fmt: skip


def _nanoseconds(text: str) -> int:
    return round(from_iso(text).timestamp() * 1_000_000) * 1000


def _number(text: str, size: int) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:size], "big") or 1
