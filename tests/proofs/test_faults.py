"""P4 and P5: every command and a serving tick, with each of their system calls killed, failed, cut short or torn.

strace injects a kill or an error at the N-th call of one kind, for every N until the command gets through untouched;
short and torn writes come from a small preloaded shim. Then: what was acknowledged is there, the workspace can be read,
and what failed is told in words. The short form takes a sample of the points (every k-th), the long form all of them.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys

import checker
import pytest
from needs import needs

pytestmark = [pytest.mark.slow, needs("strace")]
SHORT = os.environ.get("ROUTINECTL_PROOFS") == "short"
X = "triggers: [{daily: '09:00'}]\ntimeout: 1m\naction: {command: ['true']}\n"
NOW = "triggers: [{every: 1s}]\ntimeout: 1m\nmisfire: {window: 1h}\naction: {command: ['true']}\n"
COMMANDS = {
    "add": ["add", "new", "--daily", "09:00", "--", "true"],
    "pause": ["pause", "x", "--reason", "proof"],
    "run-now": ["run-now", "x"],
    "edit": ["edit", "x", "--set", "timeout=2m"],
    "disable": ["disable", "x"],
    "rm": ["rm", "x", "--yes"],
    "serve": ["serve", "--once", "--log-level", "error"],
}
WRITES = ["fsync", "fdatasync", "rename", "write", "ftruncate", "mkdir", "openat"]
KILLS = [(call, "signal=KILL") for call in WRITES]
ERRORS = [("write", "error=ENOSPC"), ("write", "error=EIO"), ("fsync", "error=EIO"), ("fdatasync", "error=EIO"), ("rename", "error=EROFS"),
          ("rename", "error=ENOSPC"), ("openat", "error=ENOSPC"), ("openat", "error=EROFS"), ("flock", "error=ENOLCK"), ("flock", "error=EIO")]  # fmt: skip
# The call with that number may be the byte of a signal that came (a child's end) instead of the write it was in the rehearsal.
# No pipe fails so outside of strace, and what the interpreter says of it is not ours.
STRUCK_BYTE = re.compile(r"Exception ignored when trying to write to the signal wakeup fd:\nTraceback.*?\nOSError: [^\n]*\n", re.DOTALL)
SAMPLE = 2  # points of each kind of call, in the short form


class Bench:
    """A workspace that is put back as it was before each trial."""

    def __init__(self, workspace, name: str) -> None:
        self.workspace, self.name = workspace, name
        workspace.define("x", NOW if name == "serve" else X)
        (workspace.root / ".git").mkdir()
        workspace.ok("list")
        self.keep = workspace.root.parent / "keep"
        shutil.copytree(workspace.root, self.keep, symlinks=True)

    def trial(self, before: list[str], env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        shutil.rmtree(self.workspace.root)
        shutil.copytree(self.keep, self.workspace.root, symlinks=True)
        return subprocess.run(
            [*before, sys.executable, "-m", "routinectl", *COMMANDS[self.name]], cwd=self.workspace.root,
            env={**self.workspace.env, **(env or {})}, capture_output=True, text=True, timeout=60, check=False)  # fmt: skip

    def traced(self, call: str, more: list[str]) -> tuple[subprocess.CompletedProcess[str], str]:
        log = self.workspace.root.parent / "strace"
        result = self.trial(["strace", "-f", "-y", "-qq", "-o", str(log), "-e", f"trace={call}", *more])
        return result, log.read_text()

    def calls(self, call: str) -> list[int]:
        """Return which calls of a kind (the first is 1) to strike: those on files of the workspace."""
        _, log = self.traced(call, [])
        first = log.split(maxsplit=1)[0] if log else ""
        lines = [line for line in log.splitlines() if line.split(maxsplit=1)[0] == first and f" {call}(" in line]
        found = [number for number, line in enumerate(lines, 1) if f"{self.workspace.root}/" in line]
        step = max(len(found) // SAMPLE, 1) if SHORT else 1
        return found[::step]

    def check(self, result: subprocess.CompletedProcess[str], where: str) -> None:
        """P3 to P5 after one trial."""
        done = result.returncode == 0
        assert "Traceback" not in STRUCK_BYTE.sub("", result.stderr), (where, result.stderr)
        if not done and result.returncode > 0:
            assert re.search("Error: |cannot be written|could not", result.stderr), (where, result.returncode, result.stderr)
        workspace = self.workspace
        rows = {row["id"]: row for row in workspace.ok("list", "--json").data}
        assert all(row["status"] in ("active", "paused", "disabled") for row in rows.values()), (where, rows)
        file = workspace.root / "routines/x/ROUTINE.yaml"
        facts = {
            "add": lambda: "new" in rows,
            "pause": lambda: rows["x"]["status"] == "paused",
            "run-now": lambda: workspace.events("run.requested"),
            "edit": lambda: "timeout: 2m" in file.read_text(),
            "disable": lambda: rows["x"]["status"] == "disabled",
            "rm": lambda: "x" not in rows and not file.exists(),
            "serve": lambda: True,
        }
        if done:
            assert facts[self.name](), where
        if self.name != "rm":
            assert "x" in rows, where
            assert re.search(r"triggers: ", file.read_text()), where
        assert checker.doubled(workspace.root, workspace.root / "none") == [], where


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize(("kind", "faults"), [("killed", KILLS), ("failed", ERRORS)])
def test_at_any_call(workspace, name, kind, faults):
    bench = Bench(workspace, name)
    points = told = 0
    for call, fault in faults:
        for number in bench.calls(call):
            result, _ = bench.traced(call, ["-e", f"inject={call}:{fault}:when={number}"])
            points += 1
            told += result.returncode != 0
            bench.check(result, f"{name} {kind} {call} {fault} {number}")
    print(f"{name} {kind} at {points} points; {told} of them ended it")
    assert points > 5


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("how", ["short", "torn"])
def test_at_any_write(workspace, shim, name, how):
    bench = Bench(workspace, name)
    points = 0
    for number in range(1, 8 if SHORT else 40, 2 if SHORT else 1):
        result = bench.trial([], {"LD_PRELOAD": str(shim), "SHIM": f"{how}:{number}"})
        points += 1
        bench.check(result, f"{name} {how} {number}")
        if how == "torn" and result.returncode == 0:
            break
    print(f"{name}, writes {how}: {points} points")
