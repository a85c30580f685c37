"""Whole histories from seeds: see `simulation.py`. `ROUTINECTL_SEED=N` plays from N on, `ROUTINECTL_SCHEDULES=N` as many.

A few are part of every test run; `make proofs` plays thousands. And because a proof that cannot fail is none, the same
schedules are played with one rule of the protocol taken out at a time: each time a promise must be seen to break.
"""

from __future__ import annotations

import os
import time

import pytest
import simulation

from routinectl.core import decision
from routinectl.engine import recover
from routinectl.engine.engine import Engine
from routinectl.files import journal
from routinectl.files.journal import Journal

SHORT = os.environ.get("ROUTINECTL_PROOFS") == "short"
WORKERS = 2
SCHEDULES = int(os.environ.get("ROUTINECTL_SCHEDULES", "600" if SHORT else "20000"))
CONTROL = 400  # schedules in which a missing rule must be noticed


def play(first: int, count: int) -> None:
    starts = effects = 0
    for seed in range(first, first + count):
        story = simulation.play(seed)
        starts, effects = starts + len(story.machine.starts), effects + story.disk.effects
    print(f"{count} schedules from seed {first}: {starts} runs started, {effects} effects, no promise broken")


def test_fifty_schedules():
    play(1, 50)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(WORKERS))
def test_no_promise_breaks_in_thousands_of_schedules(part):
    seed = int(os.environ.get("ROUTINECTL_SEED", 1 if SHORT else time.time()))  # what CI plays is always the same
    print(f"seed {seed}")
    play(seed + part * SCHEDULES, SCHEDULES // WORKERS)


def never_syncs(patch) -> None:
    patch.setattr(Journal, "sync", lambda self: None)


def forgets_that_out_was_made(patch) -> None:
    patch.setattr(recover.run_logs, "has_started", lambda layout, name, key: False)


def keeps_torn_lines(patch) -> None:
    patch.setattr(Journal, "_cut_torn_line", lambda self: None)


def decides_without_folding_first(patch) -> None:
    def record(self, make, now):
        events = list(make())
        with self.world.journal.transaction() as others:
            self.world.fold(others)
            self.world.journal.append(events, now)
            self.world.fold(events)
        self.world.journal.sync()
        self.tell([*others, *events])
        return events

    patch.setattr(Engine, "record", record)


def hands_over_before_the_sync(patch) -> None:
    fire = Engine.fire

    def fires(self, names, now):
        sync, self.world.journal.sync = self.world.journal.sync, lambda: None
        try:
            return fire(self, names, now)
        finally:
            self.world.journal.sync = sync

    patch.setattr(Engine, "fire", fires)


def never_closes_a_pause(patch) -> None:
    patch.setattr(decision, "_interval_verdict", lambda *words, **more: [])


def lets_a_failed_sync_be(patch) -> None:
    patch.setattr(Journal, "_leave_doubt", lambda self: None)


def names_no_segment(patch) -> None:
    patch.setattr(journal.atomic, "sync_folder", lambda folder: None)


@pytest.mark.slow
@pytest.mark.parametrize(
    "missing",
    [never_syncs, forgets_that_out_was_made, keeps_torn_lines, decides_without_folding_first, hands_over_before_the_sync,
     never_closes_a_pause, lets_a_failed_sync_be, names_no_segment],
)  # fmt: skip
def test_a_missing_rule_is_noticed(missing, monkeypatch):
    missing(monkeypatch)
    for seed in range(1, CONTROL):
        try:
            simulation.play(seed)
        except AssertionError as error:
            print(f"{missing.__name__}: {str(error).splitlines()[0][:160]}")
            return
    pytest.fail(f"{CONTROL} schedules, and nothing was noticed")
