"""Removing what retention says: old run folders, and journal segments that a checkpoint and the ledgers both hold."""

from __future__ import annotations

import os
from datetime import UTC, datetime

from routinectl import clock
from routinectl.core.retention import KeptRun, expired
from routinectl.core.settings import Retention
from routinectl.engine.world import World
from routinectl.files import run_logs
from routinectl.files.layout import Layout


def retain(layout: Layout, limits: Retention, world: World) -> int:
    """Remove expired run folders; return how many."""
    removed = 0
    now = clock.now()
    for name in run_logs.routines(layout):
        runs = [_kept(layout, name, run_id) for run_id in run_logs.kept(layout, name)]
        found = sorted((run for run in runs if run is not None), key=lambda run: run.made)
        standing = world.standing(name) if name in world else None
        spared = {standing.last_good, *standing.runs} if standing is not None else set()
        for run_id, _ in expired(found, limits, spared, now):
            run_logs.remove(layout, name, run_id)
            removed += 1
    return removed


def _kept(layout: Layout, name: str, run_id: str) -> KeptRun | None:
    try:
        made = datetime.fromtimestamp(os.stat(layout.run(name, run_id)).st_mtime, UTC)
    except OSError:
        return None
    return KeptRun(run_id, made, run_logs.size_of(layout, name, run_id))
