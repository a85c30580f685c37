"""The right to run a routine, held by at most one run per place on this machine.

A lease is a plain flock on `locks/<id>.<k>.lock`. The run inherits its descriptor and the keeper keeps a copy, so it
outlives a daemon that dies while the run goes on; the kernel drops it with the last holder, so there is no expiry and
nothing to clean up. With `leftovers: keep` only the keeper has it, until the leader has ended: what is kept must not hold it. It is given up only by closing descriptors, never by an unlock, which would take it from a living
run. What a lease does not promise: uniqueness of slots. That comes from the journal.
"""

from __future__ import annotations

import os
from collections.abc import Collection

from routinectl.files.layout import Layout
from routinectl.files.lock import Lock, is_held, open_file, try_lock


def take(layout: Layout, routine_id: str, parallel: int, used: Collection[int]) -> tuple[int, Lock] | None:
    """Take the first free lease of a routine; None when all are held (by runs, or by what a run left behind)."""
    for number in range(parallel):
        if number not in used:
            held = try_lock(layout.lease(routine_id, number))
            if held is not None:
                return number, held
    return None


def make(layout: Layout, routine_id: str) -> None:
    """Make a routine's first lease file before it is needed: making a file costs twenty times what opening one does."""
    path = layout.lease(routine_id, 0)
    if not path.exists():
        os.close(open_file(path))


def held(layout: Layout, routine_id: str, number: int) -> bool:
    """Say whether a lease is held by anybody."""
    return is_held(layout.lease(routine_id, number))
