"""P1, P2, P17: several serves and loops of run-now on one workspace, killed, stopped, edited and set back in time.

Faults strike at random, and just before and after each full second, at which everything is due. The checker reads the
workspace's files and the marks that the runs themselves left, and nothing else. `ROUTINECTL_SEED` replays the faults
(not what the machine makes of them); `ROUTINECTL_KILLS` says how many.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import checker
import pytest
from conftest import Workspace, keepers_of, until

from routinectl.files.lock import is_held

pytestmark = pytest.mark.slow
SHORT = os.environ.get("ROUTINECTL_PROOFS") == "short"
KILLS = int(os.environ.get("ROUTINECTL_KILLS", "20" if SHORT else "1000"))
SERVES = LOOPS = 4
ROUTINES = 100
MOST = 15 if SHORT else 90  # seconds by which the clock is set
POLICIES = ["", "concurrency: {policy: queue_one}", "concurrency: {policy: allow, max: 3}", "retry: {attempts: 2, delay: 1s}",
            "misfire: {policy: skip}", "misfire: {policy: catch_up, max: 2}"]  # fmt: skip


class Chaos:
    """The serves and loops, and what is done to them."""

    def __init__(self, workspace: Workspace, marks: Path, seed: int) -> None:
        self.workspace, self.marks, self.chance = workspace, marks, random.Random(seed)
        self.serves: list[subprocess.Popen[bytes]] = []
        self.over = False
        self.done: dict[str, int] = {}
        self.offset = workspace.root.parent / "offset"

    def define(self, number: int) -> None:
        fails = "; exit 1" if number % 7 == 0 else ""
        self.workspace.define(
            f"r{number:03d}",
            f"triggers: [{{every: 1s}}]\ntimeout: {self.chance.choice(('1m', '2m'))}\n{POLICIES[number % len(POLICIES)]}\n"
            f"action: {{command: '{checker.MARK} >> {self.marks}{fails}'}}\n",
        )

    def keep_serving(self) -> None:
        self.serves = [process for process in self.serves if process.poll() is None]
        while len(self.serves) < SERVES:
            self.serves.append(subprocess.Popen(
                [sys.executable, "-m", "routinectl", "serve", "--standby", "--log-level", "error"], cwd=self.workspace.root,
                env=self.workspace.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))  # fmt: skip

    def ask(self, number: int) -> None:
        """Run now, over and over."""
        chance = random.Random(number)
        while not self.over:
            name = f"r{chance.randrange(ROUTINES):03d}"
            subprocess.run([sys.executable, "-m", "routinectl", "run-now", name, "--force"], cwd=self.workspace.root, env=self.workspace.env,
                           capture_output=True, check=False)  # fmt: skip

    def strike(self) -> None:
        """Do one thing to one of them, at a random moment or around the full second."""
        edge = 1 - time.time() % 1
        time.sleep(self.chance.choice([self.chance.uniform(0.02, 0.4), max(edge + self.chance.uniform(-0.02, 0.02), 0)]))
        kind = self.chance.choice(
            ["kill", "kill", "kill", "kill", "stop", "edit", "keeper", *(["clock", "clock"] if self.has_clock else [])]
        )
        self.done[kind] = self.done.get(kind, 0) + 1
        process = self.chance.choice(self.serves)
        match kind:
            case "kill":
                process.kill()
                process.wait()
            case "stop":
                process.send_signal(signal.SIGSTOP)
                time.sleep(self.chance.uniform(0.05, 1.5))
                process.send_signal(signal.SIGCONT)
            case "edit":
                self.define(self.chance.randrange(ROUTINES))
            case "keeper":
                for pid in keepers_of(self.workspace.root):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
            case "clock":
                self.set_clock(self.chance.choice((-MOST, -7, 0, 0, 7, MOST)))

    def set_clock(self, seconds: int) -> None:
        """Set the wall clock of all processes at once, to so many seconds off the true one."""
        with self.offset.open("r+b" if self.offset.exists() else "wb") as file:
            file.write(seconds.to_bytes(8, sys.byteorder, signed=True))

    @property
    def has_clock(self) -> bool:
        return self.offset.exists()


@pytest.mark.parametrize("clock", ["true time", "set clock"])
def test_no_slot_runs_twice_and_none_is_without_a_verdict(workspace, tmp_path, shim, clock):
    marks = tmp_path / "marks"
    (workspace.root / "routinectl.yaml").write_text("timezone: UTC\nlimits: {min_interval: 1s, max_concurrent_runs: 300}\n")
    seed = int(os.environ.get("ROUTINECTL_SEED", time.time()))
    chaos = Chaos(workspace, marks, seed)
    if clock == "set clock":
        chaos.set_clock(0)
        workspace.env |= {"LD_PRELOAD": str(shim), "SHIM": f"clock:{chaos.offset}"}
    for number in range(ROUTINES):
        chaos.define(number)
    loops = [threading.Thread(target=chaos.ask, args=(number,)) for number in range(LOOPS)]
    for loop in loops:
        loop.start()
    try:
        while chaos.done.get("kill", 0) < KILLS // (1 if clock == "true time" else 2):
            chaos.keep_serving()
            chaos.strike()
    finally:
        chaos.over = True
        for loop in loops:
            loop.join()
        for process in chaos.serves:
            process.kill()
            process.wait()
    last = settle(workspace, chaos)

    events = checker.events(workspace.root)
    slots = sum(event.type == "run.claimed" and bool(event.data.get("slot")) for event in events)
    answered = sum(int(event.data.get("count", 1)) for event in events if event.type.startswith("slot.") and "request" not in event.data)
    print(f"seed {seed}, {clock}: {chaos.done}, {slots} slots run, {answered} more answered, outcomes {checker.outcomes(workspace.root)}")
    assert checker.doubled(workspace.root, marks) == []
    assert checker.unclaimed(workspace.root, marks) == []
    assert checker.without_verdict(workspace.root, last) == []
    assert checker.open_runs(workspace.root) == []


def settle(workspace: Workspace, chaos: Chaos) -> datetime:
    """Set the clock right, have one serve clear up, and return until when it has decided."""
    if chaos.has_clock:
        chaos.set_clock(0)
    if is_held(workspace.root / ".routinectl/locks/serve.lock"):
        until(lambda: not is_held(workspace.root / ".routinectl/locks/serve.lock"))
    with workspace.serving() as serving:
        if chaos.has_clock:
            workspace.ok("doctor", "--accept-clock")
            time.sleep(MOST + 10)  # slots stay answered until the true time has caught up with the clock that was ahead
        serving.wait_for("succeeded", ROUTINES)
    until(lambda: not is_held(workspace.root / ".routinectl/locks/keeper.lock"))
    workspace.ok("status")
    # A serve that is told to stop decides no more; what was due in its last seconds waits for the next one.
    return datetime.fromisoformat(workspace.events("serve.stopped")[-1]["time"]) - timedelta(seconds=10)


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
