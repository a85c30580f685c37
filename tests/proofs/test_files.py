"""P18: every final state of a watched file is offered within the rescan interval, whatever becomes of the hints.

Bursts that overflow inotify's queue, editors that save by renaming, no inotify at all, and a serve that is killed.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import until
from needs import need

pytestmark = pytest.mark.slow
SHORT = os.environ.get("ROUTINECTL_PROOFS") == "short"
FILES = 3_000 if SHORT else 30_000
ROUNDS = 3 if SHORT else 20
WATCHER = ("triggers: [{file: {paths: ['in/**/*'], on: [created, changed, deleted], settle: 1s}}]\ntimeout: 1m\n"
           "concurrency: {policy: queue_one}\naction: {command: ['true']}\n")  # fmt: skip


def told(workspace) -> dict[str, str]:
    """Return the last that was offered of every file, and check that no change was offered twice."""
    last: dict[str, str] = {}
    for event in workspace.events("run.requested", "watcher"):
        for item in event["data"]["payload"]["files"]:
            state = "deleted" if item["change"] == "deleted" else f"{item['size']} {item['modified_at']}"
            assert last.get(item["path"]) != state, f"{item['path']} was offered twice as {state}"
            last[item["path"]] = state
    return last


def as_it_is(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_size for path in folder.rglob("*") if path.is_file()}


def is_told(workspace, folder: Path) -> bool:
    known = {path: state for path, state in told(workspace).items() if state != "deleted"}
    return {path: int(state.split()[0]) for path, state in known.items()} == as_it_is(folder)


def stir(folder: Path, chance: random.Random) -> None:
    """Make, change, rename, save as editors do, and delete a lot of files at once."""
    for _ in range(FILES // ROUNDS):
        path = folder / f"d{chance.randrange(20)}" / f"f{chance.randrange(FILES // 3)}"
        path.parent.mkdir(parents=True, exist_ok=True)
        match chance.randrange(5):
            case 0 | 1:
                path.write_bytes(b"x" * chance.randrange(1, 500))
            case 2:
                path.with_name(".saving").write_bytes(b"y" * chance.randrange(1, 500))
                path.with_name(".saving").rename(path)
            case 3 if path.exists():
                path.rename(path.with_name(f"r{chance.randrange(FILES)}"))
            case _:
                path.unlink(missing_ok=True)


@pytest.mark.parametrize("hints", ["hints", "none"])
def test_every_final_state_is_offered_once(workspace, hints):
    if hints == "none":
        need("unshare")
    seed = int(os.environ.get("ROUTINECTL_SEED", time.time()))
    chance = random.Random(seed)
    folder = workspace.root / "routines/watcher/in"
    folder.mkdir(parents=True)
    workspace.define("watcher", WATCHER)
    command = [sys.executable, "-m", "routinectl", "serve", "--log-level", "error"]
    if hints == "none":
        command = ["unshare", "-Ur", "sh", "-c", 'echo 0 > /proc/sys/user/max_inotify_instances; exec "$0" "$@"', *command]
    kills = 0

    def serve():
        return subprocess.Popen(command, cwd=workspace.root, env={**workspace.env, "ROUTINECTL_SCAN_INTERVAL": "2s"},
                                stderr=subprocess.DEVNULL)  # fmt: skip

    process = serve()
    until((workspace.root / ".routinectl/files/watcher.json").exists)
    try:
        for _ in range(ROUNDS):
            stir(folder, chance)
            time.sleep(chance.uniform(0, 2.5))
            if chance.random() < 0.5:
                process.kill()
                process.wait()
                kills += 1
                stir(folder, chance)
                process = serve()
        until(lambda: is_told(workspace, folder), 60)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()
    batches = len(workspace.events("run.requested", "watcher"))
    print(f"seed {seed}, {hints}: {len(told(workspace))} files, {batches} batches, {kills} kills; every final state was offered once")
    assert batches > 0
