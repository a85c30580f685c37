"""Reads a workspace's files and the runs' own marks, and nothing else: was a slot doubled, is one without a verdict?"""

from __future__ import annotations

import contextlib
import json
from collections import Counter, defaultdict
from datetime import datetime
from pathlib import Path

from routinectl.core import reaction
from routinectl.core.audit import audit
from routinectl.core.event import decode
from routinectl.core.units import from_iso
from routinectl.engine.dispatch import request_id

MARK = "echo $ROUTINE_ID $ROUTINE_SLOT $ROUTINE_RUN_ID.$ROUTINE_ATTEMPT $ROUTINE_TRIGGER"  # what a run leaves behind


def events(root: Path) -> list:
    """Return the intact events; a damaged line shows as a gap in their numbers."""
    found = []
    for path in sorted((root / ".routinectl/journal").glob("*.jsonl")):
        for line in path.read_bytes().split(b"\n"):
            with contextlib.suppress(ValueError, KeyError):
                found.append(decode(line))
    return found


def marks(path: Path) -> list[tuple[str, ...]]:
    """Return routine, slot, run with attempt, and trigger of every start of a program, as the programs themselves wrote them."""
    return [tuple(line.split()) for line in path.read_text().splitlines()] if path.exists() else []


def doubled(root: Path, path: Path) -> list[str]:
    """Return slots and attempts that were claimed twice on record, or started twice by the runs' own marks."""
    claims = [event for event in events(root) if event.type == "run.claimed"]
    first = [event for event in claims if event.data.get("attempt", 1) == 1]
    counters = (
        Counter((event.subject, event.data["slot"]) for event in first if event.data.get("slot")),
        Counter((event.subject, event.data["run"], event.data.get("attempt", 1)) for event in claims),
        Counter(mark[:3] for mark in marks(path)),
        Counter(mark[:2] for mark in marks(path) if mark[3] == "schedule" and mark[2].endswith(".1")),
    )
    return [f"{key}: {count}" for counter in counters for key, count in counter.items() if count > 1]


def unclaimed(root: Path, path: Path) -> list[str]:
    """Return starts without a claim on record."""
    claims = {
        (event.subject, f"{event.data['run']}.{event.data.get('attempt', 1)}") for event in events(root) if event.type == "run.claimed"
    }
    return [str(mark) for mark in marks(path) if (mark[0], mark[2]) not in claims]


def without_verdict(root: Path, until: datetime) -> list[str]:
    """Return what the audit finds: slots without a verdict, or with two."""
    return [str(finding) for finding in audit(events(root), until).findings]


def open_runs(root: Path) -> list[str]:
    """Return runs that were claimed and neither ended nor wait for their next attempt."""
    going: dict[str, str] = {}
    for event in events(root):
        if event.type == "run.claimed":
            going[event.data["run"]] = event.subject
        elif event.type in ("run.ended", "run.retrying"):
            going.pop(event.data["run"], None)
    return [f"{name} {run}" for run, name in going.items()]


def unheard(events: list) -> list[str]:
    """Return requests that came twice or have two answers, and ends that a routine which follows them did not hear of."""
    asked = Counter((event.subject, event.data["request"]) for event in events if event.type == "run.requested")
    answered = Counter((event.subject, event.data["request"]) for event in events if event.data.get("request")
                       and (event.type == "slot.skipped" or (event.type == "run.claimed" and event.data.get("attempt", 1) == 1)))  # fmt: skip
    found = [f"{name}: {request} came {count} times" for (name, request), count in asked.items() if count > 1]
    found += [f"{name}: {request} has {count} answers" for (name, request), count in answered.items() if count > 1]
    listening: dict[str, list] = {}
    shut: set[str] = set()
    for event in events:
        if event.type in ("routine.created", "routine.updated"):
            listening[event.subject] = [item for item in reaction.read(event.data["definition"]) if isinstance(item, reaction.After)]
        elif event.type == "routine.deleted":
            listening.pop(event.subject, None)
        elif event.type in ("routine.disabled", "routine.enabled"):
            (shut.add if event.type == "routine.disabled" else shut.discard)(event.subject)
        elif event.type == "run.ended":
            for name in listening.keys() - shut:
                for item in listening[name]:
                    request = request_id(from_iso(event.data.get("due") or event.data["at"]), f"{event.subject}/{event.data['run']}>{name}")
                    if item.routine == event.subject and event.data["outcome"] in item.outcomes and (name, request) not in asked:
                        found.append(f"{name} has not heard of {event.subject}/{event.data['run']}")
    return found


def outcomes(root: Path) -> dict[str, int]:
    counts: dict[str, int] = defaultdict(int)
    for event in events(root):
        if event.type == "run.ended":
            counts[event.data["outcome"]] += 1
    return dict(counts)


def state(root: Path, name: str) -> dict:
    return json.loads((root / "routines" / name / "state.json").read_text())
