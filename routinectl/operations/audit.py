"""Auditing a workspace from its files alone: the journal, and the checkpoint that dropped segments left behind."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from routinectl import clock
from routinectl.core.audit import Report, Seed, audit
from routinectl.core.standing import from_plain, run_of
from routinectl.core.units import to_iso
from routinectl.engine.keeping import Keeping
from routinectl.files import checkpoint, lease, lock
from routinectl.files.journal import Journal
from routinectl.files.layout import Layout
from routinectl.process import proc


def run(layout: Layout, *, only: Collection[str] = (), since: datetime | None = None) -> Report:
    """Return what is wrong in a workspace; no daemon is asked, and nothing is written.

    Without a serve, slots after the newest answered one are nobody's fault yet: the next serve answers them. Findings
    can be limited to some routines, and to what happened since an instant. Runs that go on, and those whose end is in the
    keeper's log, where it waits for the next serve or command, are left out of `open`.
    """
    journal = Journal(layout)
    seed = _seed(layout, journal)
    events = journal.read_new()
    report = audit(events, clock.now(), seed, decided=lock.is_held(layout.lock("serve")))
    damaged = {event.data["segment"] for event in events if event.type == "journal.damaged" and "segment" in event.data}
    findings = [
        item
        for item in report.findings
        if (not only or item.id in only) and (since is None or item.at >= to_iso(since)) and not (item.id == "" and damaged)
    ]
    told = {run_of(item["ended"]["run"]) for item in Keeping(layout).records() if "ended" in item}
    processes = {event.data["run"]: event.data for event in events if event.type == "run.started"}
    lost = tuple(
        (name, run)
        for name, run in report.open
        if (not only or name in only) and run not in told and not _is_alive(layout, name, processes.get(run))
    )
    journal.close()
    return replace(report, findings=tuple(findings), open=lost)


def _is_alive(layout: Layout, name: str, started: Mapping[str, Any] | None) -> bool:
    """Say whether any lease of a routine is held, or the process of a run lives: some programs close what they inherit."""
    if started is not None and started["boot"] == proc.boot_id() and proc.is_alive(started["pid"], started["start_time"]):
        return True
    return any(lease.held(layout, name, number) for number in range(64) if layout.lease(name, number).exists())


def _seed(layout: Layout, journal: Journal) -> dict[str, Seed]:
    """Return what the second checkpoint says, where the journal does not begin at its beginning; the journal then starts there."""
    first = journal.segments()[:1]
    saved = checkpoint.read(layout.base) if first and first[0] > 1 else None
    if saved is None or not journal.seek(saved.position, saved.seq, saved.time):
        return {}
    found: dict[str, Seed] = {}
    for record in saved.records:
        standing = from_plain(json.loads(record.split(b"\t", 3)[3]))
        if standing.doc is None or standing.deleted or standing.mark is None or standing.revised_at is None:
            continue
        found[standing.id] = Seed(
            standing.doc,
            standing.revised_at,
            standing.mark,
            standing.enabled,
            tuple(to_iso(slot) for slot in standing.holds),
            tuple(run.id for run in standing.runs.values() if run.retry_at is None),
            standing.approval if standing.approval and standing.approval["state"] == "granted" else None,
            standing.run_count,
        )
    return found
