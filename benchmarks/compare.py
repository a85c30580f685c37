"""The same scenarios against Debian's cron, cronstable and routinectl, each with its best settings; writes docs/comparison.md.

    make compare                 all of it, about 15 minutes; as root, with cron, libfaketime and a network for cronstable
    make compare ONLY=forbid     one scenario

Each scenario is a function below: it starts a daemon with jobs, does something to it, and says what was seen, from the
marks that the jobs left and the records that the tool offers. Nothing is expected: the sentence in the table is what
happened in this run.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

HERE = Path(__file__).resolve().parent
PAGE = HERE.parent / "docs/comparison.md"
FAKETIME = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1")
Environment = dict[str, str]


@dataclass
class Job:
    """What every tool is asked to run. `every` is in seconds; a tool without seconds takes the next whole minute."""

    name: str
    command: str
    every: int = 2
    forbid: bool = False
    catch_up: bool = False
    timeout: int = 0
    cron: str = ""
    zone: str = ""


@dataclass
class Tool:
    """A scheduler in a folder of its own; subclasses know how it is configured and asked."""

    folder: Path
    venv: Path
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    name = ""
    settings = ""

    def configure(self, jobs: list[Job]) -> None:
        raise NotImplementedError

    def command(self) -> list[str]:
        raise NotImplementedError

    def record(self) -> str:
        """Return what the tool itself says of the runs, as one text."""
        return ""

    def recorded(self) -> int:
        """Return how many runs are on record."""
        return 0

    def start(self, env: Environment | None = None) -> subprocess.Popen[bytes]:
        log = open(self.folder / f"log{len(self.processes)}", "ab")  # noqa: SIM115 - the daemon writes to it
        process = subprocess.Popen(self.command(), cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                   env={**os.environ, **(env or {})}, start_new_session=True)  # fmt: skip
        log.close()
        self.processes.append(process)
        return process

    def said(self) -> str:
        return "".join(path.read_text(errors="replace") for path in sorted(self.folder.glob("log*")))

    def end(self) -> None:
        """Stop whatever still lives of it and its jobs."""
        for process in self.processes:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            process.wait()
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if str(self.folder).encode() in (entry / "environ").read_bytes() + (entry / "cmdline").read_bytes():
                    os.kill(int(entry.name), signal.SIGKILL)


class Cron(Tool):
    name = "cron"
    settings = "Debian's cron 3.0, root's crontab; `flock -n` for forbid and `timeout` for a timeout, as its users do"

    def configure(self, jobs: list[Job]) -> None:
        lines = [f'MAILTO=""\nMARKS={self.folder}/marks\n']
        for job in jobs:
            command = job.command
            if job.forbid:
                command = f"flock -n {self.folder}/lock sh -c '{command}'"
            if job.timeout:
                command = f"timeout {job.timeout} sh -c '{command}'"
            lines.append(f"{job.cron or '* * * * *'} {command}\n".replace("%", r"\%"))
        subprocess.run(["crontab", "-"], input="".join(lines), text=True, check=True)

    def command(self) -> list[str]:
        return ["cron", "-f", "-L", "5"]

    def start(self, env: Environment | None = None) -> subprocess.Popen[bytes]:
        Path("/var/run/crond.pid").unlink(missing_ok=True) if not self.alive() else None
        return super().start(env)

    def alive(self) -> bool:
        return any(process.poll() is None for process in self.processes)

    def end(self) -> None:
        super().end()
        subprocess.run(["crontab", "-r"], capture_output=True, check=False)
        for path in Path("/etc/cron.d").glob("compare[0-9]"):
            path.unlink()


class Cronstable(Tool):
    name = "cronstable"
    settings = (
        "cronstable from the package index, with `state:` on disk, `onMissed: run-all` where catch-up is asked, `concurrencyPolicy: Forbid`"
    )
    extra = ""

    def configure(self, jobs: list[Job]) -> None:
        lines = [f"state:\n  path: {self.folder}/state\n{self.extra}jobs:\n"]
        for job in jobs:
            schedule = job.cron or f"*/{job.every} * * * * * *"
            lines.append(
                f'  - name: {job.name}\n    command: |\n      {job.command}\n    schedule: "{schedule}"\n    captureStdout: true\n    captureStderr: true\n'
            )
            lines.append(f"    environment:\n      - key: MARKS\n        value: {self.folder}/marks\n")
            lines.append(f"    concurrencyPolicy: {'Forbid' if job.forbid else 'Allow'}\n")
            lines.append("    onMissed: run-all\n    startingDeadlineSeconds: 3600\n" if job.catch_up else "")
            lines.append(f"    executionTimeout: {job.timeout}\n    killTimeout: 1\n" if job.timeout else "")
            lines.append(f"    timezone: {job.zone}\n" if job.zone else "")
        (self.folder / "jobs.yaml").write_text("".join(lines))

    def command(self) -> list[str]:
        return [str(self.venv / "bin/cronstable"), "-c", str(self.folder / "jobs.yaml")]

    def record(self) -> str:
        texts = [path.read_bytes().decode(errors="replace") for path in sorted((self.folder / "state").rglob("*")) if path.is_file()]
        return "\n".join(texts)

    def recorded(self) -> int:
        return sum(path.stat().st_size > 0 for path in (self.folder / "state").rglob("runs%2F*/*.json"))


class Routinectl(Tool):
    name = "routinectl"
    settings = "`routinectl serve`, nothing but what the scenario asks for"

    def configure(self, jobs: list[Job]) -> None:
        (self.folder / "routines").mkdir()
        (self.folder / "routinectl.yaml").write_text("timezone: UTC\nlimits: {min_interval: 1s, max_concurrent_runs: 50}\n")
        for job in jobs:
            trigger = f'cron: "{job.cron}"' if job.cron else f"every: {job.every}s"
            zone = f"timezone: {job.zone}\n" if job.zone else ""
            misfire = "misfire: {policy: catch_up, max: 1000}\n" if job.catch_up else ""
            limit = f"timeout: {job.timeout}s\nkill_grace: 1s\n" if job.timeout else "timeout: 10m\n"
            parallel = "" if job.forbid or job.catch_up else "concurrency: {policy: allow, max: 20}\n"
            path = self.folder / "routines" / job.name / "ROUTINE.yaml"
            path.parent.mkdir()
            path.write_text(
                f"{zone}triggers: [{{{trigger}}}]\n{misfire}{limit}{parallel}action:\n  env: {{MARKS: {self.folder}/marks}}\n  command: |-\n    {job.command}\n"
            )

    def command(self) -> list[str]:
        return [sys.executable, "-m", "routinectl", "serve"]

    def record(self) -> str:
        return subprocess.run([sys.executable, "-m", "routinectl", "history", "--json", "--limit", "1000"], cwd=self.folder, capture_output=True,
                              text=True, check=False).stdout  # fmt: skip

    def recorded(self) -> int:
        return self.record().count('"outcome": "succeeded"')


def marks(tool: Tool) -> list[list[str]]:
    """Return what the jobs wrote, line by line."""
    path = tool.folder / "marks"
    return [line.split() for line in path.read_text().splitlines()] if path.exists() else []


def wait_for(question: Callable[[], object], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if question():
            return True
        time.sleep(0.05)
    return False


def patience(tool: Tool) -> float:
    """Return within how many seconds a job is started the first time."""
    return 65.0 if isinstance(tool, Cron) else 15.0


# -- scenarios: each says in a sentence what was seen


def autumn(tool: Tool) -> str:
    """A job every ten minutes of a zone, in the hour that the clock repeats in autumn."""
    if not FAKETIME.exists():
        return "not run: libfaketime is missing"
    tool.configure([Job("tick", "env -u LD_PRELOAD date +%s >> $MARKS", cron="*/10 * * * *", zone="Europe/Berlin")])
    fake = {"LD_PRELOAD": str(FAKETIME), "FAKETIME": "@2026-10-25 00:55:00 x60", "TZ": "UTC", "NO_FAKE_STAT": "1"}
    if isinstance(tool, Cron):
        fake |= {"TZ": "Europe/Berlin", "FAKETIME": "@2026-10-25 02:55:00 x60"}  # it knows no zone but the system's
    began = time.time()
    tool.start(fake)
    time.sleep(72)
    minutes = [int(line[0]) - began - 5 for line in marks(tool)]  # a second is a minute, and the repeated hour begins after five
    repeated = sum(-1 <= minute < 59 for minute in minutes)
    return f"{repeated} of the 6 fires of the repeated hour" if minutes else "no fire at all (it may not run under a faked clock)"


def killed(tool: Tool) -> str:
    """kill -9 of the daemon while a job that prints runs."""
    tool.configure([Job("talk", "echo begun >> $MARKS; for i in $(seq 30); do echo line $i; sleep 0.1; done; echo finished >> $MARKS; exit 7",
                        every=30, forbid=True)])  # fmt: skip
    process = tool.start()
    if not wait_for(lambda: marks(tool), patience(tool) + 20):
        return "the job was never started"
    time.sleep(0.8)
    process.kill()
    process.wait()
    time.sleep(0.5)
    tool.start()
    time.sleep(5)
    finished = ["finished"] in marks(tool)
    known = bool(re.search(r'"exit_code": ?7|"exitCode": ?7|"retcode": ?7', tool.record()))
    return f"the job {'went on to its end' if finished else 'died with the daemon'}; its exit code is {'on record' if known else 'not on record'}"


def forbid(tool: Tool) -> str:
    """`forbid` across a crash: the daemon is killed while a run goes on, and started again."""
    tool.configure([Job("slow", "echo + $(date +%s.%N) >> $MARKS; sleep 6; echo - $(date +%s.%N) >> $MARKS", every=2, forbid=True)])
    process = tool.start()
    if not wait_for(lambda: marks(tool), patience(tool)):
        return "the job was never started"
    process.kill()
    process.wait()
    tool.start()
    time.sleep(62 if isinstance(tool, Cron) else 9)
    now = most = 0
    for sign, _ in sorted((line for line in marks(tool) if len(line) == 2), key=lambda line: float(line[1])):
        now += 1 if sign == "+" else -1
        most = max(most, now)
    return f"{most} at once"


def kills(tool: Tool) -> str:
    """A job every second with catch-up; 50 times kill -9 and a start again."""
    if isinstance(tool, Cron):
        return "not asked: it has no seconds and no catch-up; what falls into the downtime is gone"
    tool.configure([Job("tick", "echo ${ROUTINE_SLOT:-${CRONSTABLE_SCHEDULED_AT:-unknown}} $(date +%s) >> $MARKS", every=1, catch_up=True)])
    chance = random.Random(1)
    began = time.time()
    process = tool.start()
    time.sleep(4)
    for _ in range(50):
        time.sleep(chance.uniform(0.5, 3.0))
        process.kill()
        process.wait()
        process = tool.start()
    time.sleep(20)
    process.send_signal(signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(20)
    time.sleep(3)
    ran = [line[0] for line in marks(tool) if len(line) == 2]
    slots = Counter(ran)
    if "unknown" in slots:
        seconds = int(time.time() - began) - 5
        more = f"at least {len(ran) - seconds} of them a second time" if len(ran) > seconds else f"at least {seconds - len(ran)} lost"
        return f"{len(ran)} runs in about {seconds} seconds, {more} (a job is not told its slot, so no more can be said from its marks)"
    first, last = (datetime.fromisoformat(text) for text in (min(slots), max(slots)))
    due = int((last - first).total_seconds()) + 1
    twice = sum(count > 1 for count in slots.values())
    return f"{due} slots: {due - len(slots)} lost, {twice} run twice"


def two(tool: Tool) -> str:
    """Two daemons on one configuration and one store."""
    if isinstance(tool, Cronstable):
        tool.extra = f"cluster:\n  backend: filesystem\n  filesystem:\n    path: {tool.folder}/lease\n  electLeader: true\n"
        (tool.folder / "lease").mkdir()
    tool.configure([Job("tick", "date +%s >> $MARKS", every=5)])
    first = tool.start()
    time.sleep(3)
    second = tool.start()
    time.sleep(70 if isinstance(tool, Cron) else 21)
    both = first.poll() is None and second.poll() is None
    starts = Counter(line[0] for line in marks(tool))
    twice = sum(count > 1 for count in starts.values())
    return f"{'both run' if both else 'one refuses to start'}; {twice} of {len(starts)} due instants ran twice"


def broken(tool: Tool) -> str:
    """Four definitions, one of them broken."""
    jobs = [Job(f"job{number}", f"echo job{number} >> $MARKS", every=5) for number in range(4)]
    tool.configure(jobs)
    if isinstance(tool, Cron):
        subprocess.run(["crontab", "-r"], check=False)
        for number, job in enumerate(jobs):  # its way to have several files
            line = f"* * * {'99' if number == 1 else '*'} * root {job.command}\n"
            Path(f"/etc/cron.d/compare{number}").write_text(f"MARKS={tool.folder}/marks\n{line}")
    elif isinstance(tool, Cronstable):
        text = (tool.folder / "jobs.yaml").read_text()
        head, *parts = text.split("  - name: ")
        folder = tool.folder / "conf.d"
        folder.mkdir()
        for number, part in enumerate(parts):
            state = head if number == 0 else "jobs:\n"
            (folder / f"job{number}.yaml").write_text(
                state + "  - name: " + (part if number != 1 else part.replace("schedule:", "schedul:"))
            )
        tool.command = lambda: [str(tool.venv / "bin/cronstable"), "-c", str(folder)]  # type: ignore[method-assign]
    else:
        path = tool.folder / "routines/job1/ROUTINE.yaml"
        path.write_text(path.read_text().replace("triggers:", "trigers:"))
    process = tool.start()
    wait_for(lambda: len({line[0] for line in marks(tool)}) >= 3, patience(tool))
    ran = {line[0] for line in marks(tool)}
    return f"{len(ran)} of the 3 good ones run{'' if process.poll() is None else '; the daemon ended'}"


def stop(tool: Tool) -> str:
    """SIGTERM to the daemon while a long job runs."""
    tool.configure([Job("long", "echo begun >> $MARKS; sleep 8; echo finished >> $MARKS; exit 3", every=30, forbid=True)])
    process = tool.start()
    if not wait_for(lambda: marks(tool), patience(tool) + 20):
        return "the job was never started"
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(30)
    took = time.monotonic() - began
    left = process.poll() is not None
    wait_for(lambda: ["finished"] in marks(tool), 10)
    time.sleep(1)
    finished = ["finished"] in marks(tool)
    known = bool(re.search(r'"exit_code": ?3|"exitCode": ?3|"retcode": ?3', tool.record()))
    return (f"it ends after {took:.1f} s{'' if left else ' (not yet)'}; the job {'ran to its end' if finished else 'was stopped'}; "
            f"its exit code is {'on record' if known else 'not on record'}")  # fmt: skip


def leftovers(tool: Tool) -> str:
    """A job that runs into its timeout and has left a child in a session of its own."""
    child = f"sleep 77.{os.getpid() % 1000:03d}"
    tool.configure([Job("tree", f"echo begun >> $MARKS; setsid {child} & setsid -f {child}; sleep 60", every=30, timeout=2, forbid=True)])
    process = tool.start()
    if not wait_for(lambda: marks(tool), patience(tool) + 20):
        return "the job was never started"
    time.sleep(7)
    found = subprocess.run(["pgrep", "-fc", f"^{child}$"], capture_output=True, text=True, check=False).stdout.strip()
    subprocess.run(["pkill", "-9", "-f", f"^{child}$"], check=False)
    return f"{found} of 2 children still run{'' if process.poll() is None else '; the daemon ended'}"


def full(tool: Tool) -> str:
    """The disk that holds the daemon's state is full, and is freed later."""
    if isinstance(tool, Cron):
        return "not asked: it keeps no state; its jobs run, and nothing is recorded with or without a disk"
    place = tool.folder / ("state" if isinstance(tool, Cronstable) else ".routinectl")
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", place], check=True)
    try:
        tool.configure([Job("tick", "echo tick >> $MARKS", every=2)])
        process = tool.start()
        if not wait_for(lambda: len(marks(tool)) >= 2, 15):
            return "the job was never started"
        filler = os.open(place / "filler", os.O_WRONLY | os.O_CREAT)
        for size in (65536, 512, 1):
            with contextlib.suppress(OSError):
                while os.write(filler, b"x" * size):
                    continue
        os.close(filler)
        time.sleep(3)
        before = len(marks(tool))
        time.sleep(8)
        during = len(marks(tool)) - before
        alive = process.poll() is None
        (place / "filler").unlink()
        time.sleep(10)
        after = len(marks(tool)) - before - during
        time.sleep(2)
        known = tool.recorded()
        return (f"{'it stays up' if alive else 'the daemon ended'}; {during} runs started in 8 s on the full disk, {after} in the 10 s after space "
                f"was freed; {known} of all {len(marks(tool))} are on record")  # fmt: skip
    finally:
        tool.end()
        time.sleep(0.5)
        subprocess.run(["umount", "-l", place], check=False)


SCENARIOS = [autumn, killed, forbid, kills, two, broken, stop, leftovers, full]
TOOLS: list[type[Tool]] = [Cron, Cronstable, Routinectl]


def main() -> int:
    only = os.environ.get("ONLY", "")
    missing = [tool for tool in ("cron", "crontab", "flock", "setsid") if shutil.which(tool) is None]
    if os.geteuid() != 0 or missing:
        print(
            f"Error: this needs root{' and ' + ', '.join(missing) if missing else ''}\nHint: apt-get install cron libfaketime",
            file=sys.stderr,
        )
        return 1
    rows = []
    with tempfile.TemporaryDirectory(prefix="compare-") as name:
        venv = Path(name) / "venv"
        subprocess.run([sys.executable, "-m", "venv", venv], check=True)
        subprocess.run([venv / "bin/pip", "install", "-q", "cronstable"], check=True, stderr=subprocess.DEVNULL)
        version = subprocess.run([venv / "bin/cronstable", "--version"], capture_output=True, text=True, check=False).stdout.strip()
        for scenario in SCENARIOS:
            if only and scenario.__name__ != only:
                continue
            seen = []
            for kind in TOOLS:
                folder = Path(name) / f"{scenario.__name__}-{kind.name}"
                folder.mkdir()
                tool = kind(folder, venv)
                try:
                    seen.append(scenario(tool))
                except (OSError, subprocess.SubprocessError) as error:
                    seen.append(f"could not be run: {error}")
                finally:
                    tool.end()
                print(f"{scenario.__name__} | {kind.name} | {seen[-1]}", flush=True)
            rows.append((scenario, seen))
    if not only:
        PAGE.write_text(page(rows, version))
    return 0


def page(rows: list[tuple[Callable[[Tool], str], list[str]]], version: str) -> str:
    lines = [
        "# Side by side",
        "",
        f"Seen on {datetime.now(UTC):%Y-%m-%d} with `make compare` (`benchmarks/compare.py`: each row is a function there). One run each; what is in the table is what happened, not what should have.",
        "",
        *(f"- **{kind.name}**: {kind.settings}." for kind in TOOLS),
        f"- cronstable is {version}; in the row of two daemons it elects a leader through its lease file.",
        "",
        f"| scenario | {' | '.join(kind.name for kind in TOOLS)} |",
        f"|---|{'---|' * len(TOOLS)}",
    ]
    for scenario, seen in rows:
        lines.append(f"| {(scenario.__doc__ or '').strip()} (`{scenario.__name__}`) | {' | '.join(seen)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
