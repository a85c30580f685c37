"""Removing what retention says: old run folders, and journal segments that a checkpoint and the ledgers both hold."""

from __future__ import annotations

import os
from datetime import UTC, datetime

from routinectl import clock
from routinectl.core.retention import KeptRun, expired
from routinectl.core.settings import Retention
from routinectl.engine.world import World
from routinectl.files import projections, run_logs, sealed
from routinectl.files.layout import SEALED, Layout

_TREE_SECONDS = 86400.0


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
    return removed + _drop_trees(layout, now) + _drop_sealed(layout, world, now)


def _drop_trees(layout: Layout, now: datetime) -> int:
    """Remove the files of other commits that replays were given, a day later."""
    old = [name for name, made in run_logs.made(layout.trees) if now.timestamp() - made > _TREE_SECONDS]
    for name in old:
        run_logs.remove_tree(layout.trees / name)
    return len(old)


def _drop_sealed(layout: Layout, world: World, now: datetime) -> int:
    """Remove sealed copies that neither an approval nor a run needs, a day after they were made."""
    old = []
    for copy, made in run_logs.made(layout.private):
        kind, _, rest = copy.partition(".")
        name, _, content = rest.partition(".")
        if f"{kind}." != SEALED or now.timestamp() - made <= _TREE_SECONDS:
            continue
        standing = world.standing(name) if name in world else None
        needed = {str(run.facts.get("content", "")) for run in standing.runs.values()} if standing is not None else set()
        needed.add(str(standing.approval["content"]) if standing is not None and standing.approval else "")
        if not any(item.startswith(content) for item in needed):
            old.append(layout.private / copy)
    for place in old:
        sealed.remove(place)
    return len(old)


def drop_segments(world: World, limits: Retention) -> int:
    """Remove journal segments that are too old, or too many; return how many.

    Only what a durable checkpoint holds and the ledgers have is removed: a second checkpoint is written for it, so that
    a damaged first one costs nothing. The newest segment always stays.
    """
    told, _ = projections.read_position(world.layout)
    first_needed = min(world.journal.segment, told[0])
    found = [(number, os.stat(world.journal.path(number))) for number in world.journal.segments()]
    oldest = clock.now().timestamp() - limits.age.total_seconds()
    total = sum(item.st_size for _, item in found)
    before = 0
    for number, item in found:
        if number >= first_needed or (item.st_mtime > oldest and total <= limits.size):
            break
        before = number + 1
        total -= item.st_size
    if not before:
        return 0
    world.save(base=True)
    return world.journal.drop(before)


def _kept(layout: Layout, name: str, run_id: str) -> KeptRun | None:
    try:
        made = datetime.fromtimestamp(os.stat(layout.run(name, run_id)).st_mtime, UTC)
    except OSError:
        return None
    return KeptRun(run_id, made, run_logs.size_of(layout, name, run_id))
