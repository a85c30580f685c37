"""Reads a workspace's files and the runs' own marks, and nothing else: was a slot doubled, is one without a verdict?"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from datetime import datetime
from pathlib import Path

from routinectl.core.audit import audit
from routinectl.core.event import decode


def events(root: Path) -> list:
    found = []
    for path in sorted((root / ".routinectl/journal").glob("*.jsonl")):
        found += [decode(line) for line in path.read_bytes().splitlines()]
    return found


def marks(path: Path) -> list[tuple[str, str]]:
    """Return (routine, slot) for every start of a program, as the programs themselves wrote it."""
    if not path.exists():
        return []
    return [tuple(line.split()[:2]) for line in path.read_text().splitlines()]


def doubled(root: Path, path: Path) -> list[str]:
    """Return slots that have two claims on record, or two starts by the runs' own marks."""
    claims = Counter(
        (event.subject, event.data["slot"]) for event in events(root) if event.type == "run.claimed" and event.data.get("slot")
    )
    starts = Counter(marks(path))
    return [f"{key}: {count}" for counter in (claims, starts) for key, count in counter.items() if count > 1]


def unclaimed(root: Path, path: Path) -> list[str]:
    """Return starts without a claim on record."""
    claims = {(event.subject, event.data["slot"]) for event in events(root) if event.type == "run.claimed" and event.data.get("slot")}
    return [str(key) for key in marks(path) if key not in claims]


def without_verdict(root: Path, until: datetime) -> list[str]:
    """Return what the audit finds: slots without a verdict, or with two."""
    return [str(finding) for finding in audit(events(root), until).findings]


def open_runs(root: Path) -> list[str]:
    """Return runs that were claimed and never ended."""
    going: dict[str, str] = {}
    for event in events(root):
        if event.type == "run.claimed":
            going[event.data["run"]] = event.subject
        elif event.type == "run.ended":
            going.pop(event.data["run"], None)
    return [f"{name} {run}" for run, name in going.items()]


def outcomes(root: Path) -> dict[str, int]:
    counts: dict[str, int] = defaultdict(int)
    for event in events(root):
        if event.type == "run.ended":
            counts[event.data["outcome"]] += 1
    return dict(counts)


def state(root: Path, name: str) -> dict:
    return json.loads((root / "routines" / name / "state.json").read_text())
