"""P3 on a real file system: power is cut under commands that were just acknowledged, and nothing of them may be lost.

A loop-mounted ext4 image is shut down by its own ioctl without flushing its log (EXT4_IOC_SHUTDOWN, what xfstests uses):
what was not synced is gone, as after a power cut. Several loops of commands run meanwhile, and note outside of the image
which of them ended with exit code 0. A cut whose image could not be unmounted does not count, and is shown.
Needs root, gcc and a loop device. The control syncs nothing, and must lose.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import threading
import time
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import checker
import pytest
from conftest import Workspace, clean_environment, stop_keepers, until
from needs import needs

from routinectl.core.audit import audit
from routinectl.files import journal
from routinectl.files.layout import Layout

SHORT = os.environ.get("ROUTINECTL_PROOFS") == "short"
CUTS = int(os.environ.get("ROUTINECTL_CUTS", "8" if SHORT else "1000"))
CONTROL_CUTS = 4 if SHORT else 12
MKFS = shutil.which("mkfs.ext4", path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
SHUTDOWN = 0x8004587D  # _IOR('X', 125, __u32)
WITHOUT_LOG_FLUSH = 2
LOOPS = 3

pytestmark = [
    pytest.mark.slow,
    needs("root", "mkfs.ext4"),
]


@dataclass
class Image:
    """An ext4 file system in a file, mounted at `place`."""

    file: Path
    place: Path
    failures: list[str] = field(default_factory=list)

    def make(self) -> None:
        self.place.mkdir()
        with open(self.file, "wb") as file:
            file.truncate(64 << 20)
        subprocess.run([MKFS, "-q", "-F", self.file], check=True)
        self.mount()

    def mount(self) -> None:
        subprocess.run(["mount", "-o", "loop", self.file, self.place], check=True)

    def cut(self) -> None:
        """Cut the power."""
        fd = os.open(self.place, os.O_RDONLY)
        try:
            fcntl.ioctl(fd, SHUTDOWN, struct.pack("I", WITHOUT_LOG_FLUSH))
        finally:
            os.close(fd)

    def evict(self) -> None:
        """End whoever lives in another mount namespace and would keep the image mounted there."""
        ours = os.readlink("/proc/self/ns/mnt")
        for _ in range(100):
            held = 0
            for folder in Path("/proc").glob("[0-9]*"):
                with contextlib.suppress(OSError):
                    if os.readlink(folder / "ns/mnt") != ours and str(self.place) in (folder / "mountinfo").read_text():
                        held += 1
                        os.kill(int(folder.name), signal.SIGKILL)
            if not held:
                return
            time.sleep(0.05)

    def unmount(self) -> bool:
        """Unmount; where somebody still holds it, that is a cut that does not count."""
        for _ in range(100):
            done = subprocess.run(["umount", self.place], capture_output=True, text=True, check=False)
            if done.returncode == 0:
                return True
            time.sleep(0.05)
        self.failures.append(done.stderr.strip())
        return False


def booted(workspace: Workspace, *words: str) -> list[str]:
    """Return a command of a machine that has just booted: it has another boot id, in a mount namespace of its own.

    The cut is one of the disk alone. What the product knows of a run without output differs after a boot, and rightly so.
    """
    boot = workspace.root.parent.parent / "boot_id"
    script = f'mount --bind {boot} /proc/sys/kernel/random/boot_id && exec "$@"'
    return ["unshare", "-m", "--propagation", "slave", "sh", "-c", script, "sh", sys.executable, "-m", "routinectl", *words]


class Loop(threading.Thread):
    """Runs commands one after the other until the power is cut, and remembers which were acknowledged."""

    def __init__(self, workspace: Workspace, chance: random.Random, number: int) -> None:
        super().__init__()
        self.workspace, self.chance, self.number = workspace, chance, number
        self.acknowledged: list[tuple[str, str]] = []
        self.over = False
        self.process: subprocess.Popen[str] | None = None

    def run(self) -> None:
        count = 0
        while not self.over:
            count += 1
            name = f"n{self.number}-{os.getpid()}-{time.monotonic_ns()}"
            words = self.chance.choice(
                [["add", name, "--daily", "09:00", "--", "true"], ["pause", f"base{self.number}", "--reason", name],
                 ["run-now", f"base{self.number}", "--payload", f'{{"mark": "{name}"}}'],
                 ["edit", f"base{self.number}", "--set", f"description={name}"]]
            )  # fmt: skip
            self.process = subprocess.Popen(
                booted(self.workspace, *words), cwd=self.workspace.root, env=self.workspace.env,
                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)  # fmt: skip
            _, said = self.process.communicate()
            if self.process.returncode == 0:
                self.acknowledged.append((words[0], name))
            assert "Traceback" not in said or self.over, said

    def stop(self) -> None:
        self.over = True
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(signal.SIGKILL)


@pytest.fixture
def image(tmp_path):
    made = Image(tmp_path / "image", tmp_path / "disk")
    made.make()
    yield made
    stop_keepers(made.place)
    made.evict()
    made.unmount()


def lost(workspace: Workspace, acknowledged: list[tuple[str, str]]) -> list[str]:
    """Return what was acknowledged and is not on the disk, from its files alone."""
    events = journal.read_all(Layout(workspace.root))
    reasons = {str(event.data.get("reason")) for event in events if event.type == "routine.paused"}
    payloads = {str((event.data.get("payload") or {}).get("mark")) for event in events if event.type == "run.requested"}
    said = {event.data["definition"].get("description") for event in events if event.type == "routine.updated"}
    made = {event.subject for event in events if event.type == "routine.created"}
    there = {
        "add": lambda name: name in made and "daily" in (workspace.root / "routines" / name / "ROUTINE.yaml").read_text(),
        "pause": lambda name: name in reasons,
        "run-now": lambda name: name in payloads,
        "edit": lambda name: name in said,
    }
    return [f"{kind} {name}" for kind, name in acknowledged if not there[kind](name)]


def play(image: Image, tmp_path: Path, cuts: int, shim: dict[str, str]) -> tuple[int, int, list[str]]:
    """Cut the power so many times; return the valid cuts, what was acknowledged, and what of it is lost."""
    home = tmp_path / "home"
    home.mkdir(exist_ok=True)
    workspace = Workspace(image.place / "workspace", clean_environment(home), forks=False)
    (workspace.root / "routines").mkdir(parents=True)
    for number in range(LOOPS):
        text = "triggers: [{daily: '09:00'}]\ntimeout: 1m\naction: {command: ['true']}\nconcurrency: {policy: queue_one}\n"
        workspace.define(f"base{number}", text)
    marks = tmp_path / "marks"
    marks.unlink(missing_ok=True)
    (workspace.root / "routinectl.yaml").write_text("schema: 1\ntimezone: UTC\nlimits: {min_interval: 1s}\n")
    workspace.define("tick", f"triggers: [{{every: 1s}}]\ntimeout: 1m\naction: {{command: '{checker.MARK} >> {marks}'}}\n")
    workspace.ok("list")
    os.sync()
    workspace.env |= shim
    seed = int(os.environ.get("ROUTINECTL_SEED", time.time()))
    chance, valid, total, gone = random.Random(seed), 0, 0, []
    print(f"seed {seed}")
    for _ in range(cuts):
        (image.place.parent / "boot_id").write_text(f"{uuid.uuid4()}\n")
        loops = [Loop(workspace, chance, number) for number in range(LOOPS)]
        serve = subprocess.Popen(booted(workspace, "serve", "--log-level", "error"), cwd=workspace.root, env=workspace.env,
                                 stderr=subprocess.DEVNULL)  # fmt: skip
        for loop in loops:
            loop.start()
        with contextlib.suppress(AssertionError):
            until(lambda: any(loop.acknowledged for loop in loops), 10)  # noqa: B023 - asked here and now
        time.sleep(chance.uniform(0, 1))
        image.cut()
        for loop in loops:
            loop.stop()
        serve.kill()
        serve.wait()
        for loop in loops:
            loop.join()
        stop_keepers(workspace.root)
        image.evict()
        if not image.unmount():
            continue
        image.mount()
        valid += 1
        acknowledged = [item for loop in loops for item in loop.acknowledged]
        total += len(acknowledged)
        gone += lost(workspace, acknowledged)
        if not shim:
            report = audit(journal.read_all(Layout(workspace.root)), datetime.now(UTC), decided=False)
            assert [item for item in report.findings if item.id] == [], "P2 after a cut"
            assert checker.unclaimed(workspace.root, marks) == [], "P3: a run was started whose claim is lost"
            assert checker.doubled(workspace.root, marks) == [], "P1 over cuts"
    return valid, total, gone


def test_what_was_acknowledged_survives_a_power_cut(image, tmp_path):
    valid, total, gone = play(image, tmp_path, CUTS, {})

    print(f"{valid} valid cuts of {CUTS} ({len(image.failures)} could not be unmounted), {total} acknowledged, {len(gone)} lost; "
          f"{len(checker.marks(tmp_path / 'marks'))} runs started")  # fmt: skip
    assert valid >= CUTS * 0.9, image.failures
    assert total >= valid * 0.9
    assert gone == []


def test_without_syncs_it_would_not(image, tmp_path, shim):
    """The control: were nothing lost here, the cuts would prove nothing."""
    valid, total, gone = play(image, tmp_path, CONTROL_CUTS, {"LD_PRELOAD": str(shim), "SHIM": "nosync"})

    print(f"control: {valid} valid cuts, {total} acknowledged, {len(gone)} lost")
    assert gone != []
