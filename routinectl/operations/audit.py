"""Auditing a workspace from its files alone: the journal, and the checkpoint that dropped segments left behind."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import replace
from datetime import datetime

from routinectl import clock
from routinectl.core.audit import Report, Seed, audit
from routinectl.core.standing import from_plain
from routinectl.core.units import to_iso
from routinectl.files import checkpoint, lease, lock
from routinectl.files.journal import Journal
from routinectl.files.layout import Layout


def run(layout: Layout, *, only: Collection[str] = (), since: datetime | None = None) -> Report:
    """Return what is wrong in a workspace; no daemon is asked, and nothing is written.

    Without a serve, slots after the newest answered one are nobody's fault yet: the next serve answers them. Findings
    can be limited to some routines, and to what happened since an instant. Runs that still hold their lease are left
    out of `open`.
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
    going = tuple((name, key) for name, key in report.open if (not only or name in only) and not _is_alive(layout, name))
    journal.close()
    return replace(report, findings=tuple(findings), open=going)


def _is_alive(layout: Layout, name: str) -> bool:
    """Say whether any lease of a routine is held."""
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
            tuple(standing.runs),
            standing.approval if standing.approval and standing.approval["state"] == "granted" else None,
        )
    return found
