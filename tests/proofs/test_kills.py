"""The slow proofs: kills at random, kills at every system call that writes. `ROUTINECTL_PROOFS=short` makes them short."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta

import checker
import pytest
from conftest import until

from routinectl.files.lock import is_held

pytestmark = pytest.mark.slow
SHORT = os.environ.get("ROUTINECTL_PROOFS") == "short"
KILLS = 40 if SHORT else 200
ROUTINES = 50


def start(workspace) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "routinectl", "serve", "--log-level", "error"], cwd=workspace.root, env=workspace.env, stderr=subprocess.PIPE
    )


def test_serve_killed_at_random_neither_doubles_a_slot_nor_leaves_one_without_a_verdict(workspace, tmp_path):
    marks = tmp_path / "marks"
    (workspace.root / "routinectl.yaml").write_text("timezone: UTC\nlimits: {min_interval: 1s, max_concurrent_runs: 200}\n")
    for number in range(ROUTINES):
        workspace.define(
            f"r{number:02d}", f"triggers: [{{every: 1s}}]\ntimeout: 1m\naction: {{command: 'echo $ROUTINE_ID $ROUTINE_SLOT >> {marks}'}}\n"
        )
    seed = int(os.environ.get("ROUTINECTL_SEED", time.time()))
    chance = random.Random(seed)
    for _ in range(KILLS):
        process = start(workspace)
        # From before it has read anything to well into its second: 50 routines are due at each full second.
        time.sleep(chance.choice([chance.uniform(0.05, 0.6), chance.uniform(0.6, 1.6), 1.05 - time.time() % 1]))
        process.kill()
        process.communicate()
    with workspace.serving() as serving:
        serving.wait_for("succeeded", ROUTINES)
    until(lambda: not is_held(workspace.root / ".routinectl/locks/keeper.lock"))
    workspace.ok("status")

    print(f"seed {seed}, {KILLS} kills, {len(checker.marks(marks))} runs, outcomes {checker.outcomes(workspace.root)}")
    last = datetime.fromisoformat(workspace.events("serve.stopped")[-1]["time"])
    assert checker.doubled(workspace.root, marks) == []
    assert checker.unclaimed(workspace.root, marks) == []
    assert checker.without_verdict(workspace.root, last) == []
    assert checker.open_runs(workspace.root) == []


def test_the_checker_sees_a_removed_line_and_a_doubled_slot(workspace):
    """A proof that cannot fail is none."""
    workspace.define("x", "triggers: [{every: 1s}]\ntimeout: 1m\naction: {command: ['true']}\n")
    with workspace.serving() as serving:
        serving.wait_for("succeeded", 3)
    (path,) = (workspace.root / ".routinectl/journal").glob("*.jsonl")
    lines = path.read_bytes().splitlines(keepends=True)
    claims = [number for number, line in enumerate(lines) if b"run.claimed" in line]
    path.write_bytes(b"".join(lines[: claims[1]] + lines[claims[1] + 1 :]))
    slot = json.loads(lines[claims[1]])["data"]["slot"]
    found = checker.without_verdict(workspace.root, datetime.now(UTC) + timedelta(seconds=5))
    assert any("events are missing" in item for item in found)
    assert f"x: {slot} has no verdict" in found

    path.write_bytes(b"".join([*lines, lines[claims[1]]]))
    assert checker.doubled(workspace.root, path.with_name("none")) != []


COMMANDS = {
    "add": ["add", "new", "--daily", "09:00", "--", "true"],
    "pause": ["pause", "x", "--reason", "proof"],
    "run-now": ["run-now", "x"],
    "edit": ["edit", "x", "--set", "timeout=2m"],
}
CALLS = ["fsync", "fdatasync", "rename", "write", "ftruncate", "mkdir", "openat"]


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_killed_at_any_call_that_writes_leaves_a_readable_workspace(workspace, name):
    workspace.define("x", "triggers: [{daily: '09:00'}]\ntimeout: 1m\naction: {command: ['true']}\n")
    workspace.ok("list")
    keep = workspace.root.parent / "keep"
    shutil.copytree(workspace.root, keep, symlinks=True)
    points = 0
    for call in CALLS:
        number, done = 0, False
        step = (8 if SHORT else 1) if call == "openat" else (3 if SHORT and call == "write" else 1)
        while not done and number < 400:
            number += step
            if call == "openat" and number < 60:
                continue  # the interpreter's own start
            shutil.rmtree(workspace.root)
            shutil.copytree(keep, workspace.root, symlinks=True)
            result = subprocess.run(
                ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={call}", "-e", f"inject={call}:signal=KILL:when={number}",
                 sys.executable, "-m", "routinectl", *COMMANDS[name]],
                cwd=workspace.root, env=workspace.env, capture_output=True, text=True, timeout=60, check=False)  # fmt: skip
            done = result.returncode == 0
            points += not done
            _check(workspace, name, acknowledged=done, where=f"{call} {number}")
    print(f"{name}: killed at {points} points")
    assert points > 5


def _check(workspace, name: str, *, acknowledged: bool, where: str) -> None:
    rows = {row["id"]: row for row in workspace.ok("list", "--json").data}
    assert "x" in rows, where
    assert all(row["status"] in ("active", "paused") for row in rows.values()), (where, rows)
    if acknowledged:
        facts = {
            "add": lambda: "new" in rows,
            "pause": lambda: rows["x"]["status"] == "paused",
            "run-now": lambda: workspace.events("run.requested"),
            "edit": lambda: "timeout: 2m" in (workspace.root / "routines/x/ROUTINE.yaml").read_text(),
        }
        assert facts[name](), where
    text = (workspace.root / "routines/x/ROUTINE.yaml").read_text()
    assert re.search(r"timeout: [12]m", text), where
