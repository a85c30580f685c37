"""P7 and P19: a long run stays flat, and a bad definition harms nobody.

Short: 45 seconds at 20 fires a second and 3 simulated hours; long: 15 minutes and 24 hours; `ROUTINECTL_SOAK=3600` an hour.
"""

from __future__ import annotations

import contextlib
import gc
import os
import pathlib
import random
import time
import tracemalloc
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import checker
import pytest
import simulation
from conftest import ROOT, keepers_of, until

from routinectl.core.audit import audit
from routinectl.files import journal

pytestmark = pytest.mark.slow
SHORT = os.environ.get("ROUTINECTL_PROOFS") == "short"
SECONDS = float(os.environ.get("ROUTINECTL_SOAK", "30" if SHORT else "900"))
HOURS = 3 if SHORT else 24
FIRES = 20
MORE = 0.05  # of memory
SERVE_BYTES = 16 << 20  # what a serve takes at the least


def sizes(pid: int) -> tuple[int, int]:
    """Return the private memory in KiB and the open descriptors of a process: the fewest of a second, for some come and go."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    private = sum(int(line.split()[1]) for line in rollup if line.startswith("Private"))
    counts = []
    for _ in range(20):
        counts.append(len(os.listdir(f"/proc/{pid}/fd")))
        time.sleep(0.05)
    return private, min(counts)


def zombies(*parents: int) -> int:
    found = 0
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = path.read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue
        found += state == "Z" and int(parent) in parents
    return found


def test_twenty_fires_a_second_leave_it_as_it_was(workspace):
    workspace.configure("limits: {max_concurrent_runs: 100}")
    for number in range(FIRES):
        workspace.define(f"r{number:02d}", "triggers: [{every: 1s}]\ntimeout: 1m\naction: {command: ['true']}\n")
    with workspace.serving("--log-level", "error") as serving:
        time.sleep(min(SECONDS / 3, 120))
        pids = serving.process.pid, *keepers_of(workspace.root)
        before = [sizes(pid) for pid in pids]
        time.sleep(SECONDS * 2 / 3)
        after = [sizes(pid) for pid in pids]
        dead = zombies(*pids)
    fired = Counter(event["type"] for event in workspace.events())["run.claimed"]

    print(
        f"{SECONDS:.0f} s, {fired} runs; private KiB and descriptors of serve {before[0]} -> {after[0]}, of the keeper {before[1]} -> {after[1]}"
    )
    for (memory, _), (later, _) in zip(before, after, strict=True):
        assert later <= memory * (1 + MORE) + (1024 if SHORT else 0)
    assert after[0][1] == before[0][1]
    assert dead <= 1  # one that ended in this very moment
    assert fired >= FIRES * SECONDS * 0.9


def bytes_held() -> int:
    """Return what is held, apart from the interpreter's table of names, which doubles now and then under whoever comes by."""
    snapshot = tracemalloc.take_snapshot().filter_traces([tracemalloc.Filter(inclusive=False, filename_pattern=pathlib.__file__)])
    return sum(trace.size for trace in snapshot.traces)


def test_a_simulated_day_leaves_it_as_it_was(tmp_path):
    """The product's serve on the simulated machine: what it holds after a day is what it held after an hour."""
    root = tmp_path / "workspace"
    root.mkdir()
    story = simulation.Story(1, root)
    held = []
    with simulation.stage(story):
        story.disk.on_unlock = lambda: None
        story.chance = story.machine.chance = random.Random(2)
        story.set_up()
        for name, every in zip(story.names, ("20s", "1m", "5m"), strict=True):
            text = f'{{"triggers": [{{"every": "{every}"}}], "action": {{"command": ["true"]}}, "timeout": "10m"}}'
            story.layout.definition(name).write_text(text)
        story.start_serve()
        story.machine.durations = (0.05,)
        tracemalloc.start()
        end = story.clock.now() + timedelta(hours=HOURS)
        mark = story.clock.now() + timedelta(hours=1)
        while story.clock.now() < end:
            story.machine.end_due_runs()
            serving = story.serves[0]
            if serving.patience() <= 0:
                story.run_as(serving.actor, serving.turn)
            story.keeper_step()
            ends = [run.ends - story.clock.boot() for run in story.machine.runs.values()]
            story.clock.pass_time(min([serving.patience(), *ends]))
            if story.clock.now() >= mark:
                mark += timedelta(hours=1)
                story.lines.clear()
                story.told.clear()
                starts = len(story.machine.starts)
                story.machine.starts.clear()
                story.disk.forget()  # it remembers everything, and is not what is measured
                gc.collect()
                held.append((bytes_held(), len(story.serves[0].actor.fds), starts))
        tracemalloc.stop()
        report = audit(journal.read_all(story.layout), story.clock.now())
        story.disk.bury(story.serves[0].actor)
        story.machine.kill_keeper()

    print(f"{HOURS} h: bytes held, descriptors and starts by the hour: {held}; {report.slots} slots, {len(report.findings)} findings")
    assert held[-1][0] <= held[1][0] + SERVE_BYTES * MORE
    assert held[-1][1] == held[0][1]
    assert report.findings == ()


def test_a_hundred_broken_definitions_stop_none_of_nine_hundred(workspace):
    samples = sorted((ROOT / "tests/sample_definitions/invalid").glob("*.yaml"))
    workspace.configure("limits: {max_concurrent_runs: 1000}")
    due = (datetime.now(UTC) + timedelta(seconds=20)).replace(microsecond=0)
    marks = workspace.root.parent / "marks"
    for number in range(1000):
        if number % 10:
            text = f"triggers: [{{at: '{due.isoformat()}'}}]\ntimeout: 1m\naction: {{command: '{checker.MARK} >> {marks}'}}\n"
        else:
            text = samples[number // 10 % len(samples)].read_text(errors="surrogateescape")
        path = workspace.define(f"r{number:03d}", "")
        path.write_bytes(text.encode(errors="surrogateescape"))

    def good(kind: str) -> list[dict]:
        return [event for event in workspace.events(kind) if not event["subject"].endswith("0")]

    with workspace.serving("--log-level", "error"), contextlib.suppress(AssertionError):  # what is wrong then is said below
        until(lambda: len(good("run.ended")) >= 900, 200)
    started, ended = good("run.claimed"), good("run.ended")
    print("never ended:", {event["subject"] for event in started} - {event["subject"] for event in ended})
    claims = [event["data"] for event in started]
    late = max((datetime.fromisoformat(data["at"]) - due).total_seconds() for data in claims)

    print(f"{len(claims)} of 900 ran, the last was claimed {late:.2f} s after its instant; {len(samples)} kinds of broken files")
    assert len(claims) == len(checker.marks(marks)) == len(ended) == 900
    assert {data["reason"] for data in claims} == {"on_time"}
