"""Measures routinectl beside a bare spawn loop and other schedulers, on the same program, and writes RESULTS.md.

    make bench                     all of it, about 40 minutes; needs gcc, and for the others a network and root's crontab
    make bench ROUNDS=3 QUICK=1    routinectl and the C loop only, without the long journal and the 100 000 routines
    make bench ONLY="disk commands"   these parts, printed and not written down

Rounds of routinectl and of the loop alternate, and ratios are medians of paired rounds: absolute times on a shared
machine mean little.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from routinectl.files import etc
from routinectl.files.layout import Layout

HERE = Path(__file__).resolve().parent
COMMAND = [sys.executable, "-m", "routinectl"]
ROUNDS = int(os.environ.get("ROUNDS", "5"))
QUICK = bool(os.environ.get("QUICK"))
ROOT = Path(__file__).resolve().parent.parent
ONLY = os.environ.get("ONLY", "").split()
OTHERS = ("apscheduler", "yacron", "cronstable")


class Bench:
    """A folder with the compiled programs, and the figures found so far."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.marks = folder / "marks"
        for name in ("tiny", "loop"):
            subprocess.run(["gcc", "-O2", "-o", folder / name, HERE / f"{name}.c"], check=True)
        self.lines: list[str] = []

    def starts(self, due: float) -> list[float]:
        """Return how late each start was, in milliseconds, in order."""
        return sorted((float(line) - due) * 1000 for line in self.marks.read_text().split()) if self.marks.exists() else []

    def c_loop(self, count: int) -> list[float]:
        self.marks.unlink(missing_ok=True)
        done = subprocess.run(
            [self.folder / "loop", str(count), self.folder / "tiny", self.marks], capture_output=True, text=True, check=True
        )
        return self.starts(float(done.stdout))

    def workspace(self, count: int, trigger: str, more: str = "") -> Path:
        root = self.folder / f"w{time.monotonic_ns()}"
        (root / "routines").mkdir(parents=True)
        (root / "routinectl.yaml").write_text("timezone: UTC\nlimits: {min_interval: 1s, max_concurrent_runs: 4096, pools: {p: 4096}}\n")
        for number in range(count):
            path = root / "routines" / f"r{number:05d}" / "ROUTINE.yaml"
            path.parent.mkdir()
            path.write_text(
                f"name: Routine {number}\ntriggers:\n  - {trigger}\ntimeout: 10m\n{more}action:\n  command: [{self.folder}/tiny, {self.marks}]\n"
            )
        return root

    def routinectl(self, count: int, more: str = "") -> list[float]:
        due = (datetime.now(UTC) + timedelta(seconds=8 + count / 150)).replace(microsecond=0)
        root = self.workspace(count, f'at: "{due.isoformat()}"', more)
        self.marks.unlink(missing_ok=True)
        process = subprocess.Popen([*COMMAND, "-w", root, "serve", "--log-level", "error"], stderr=subprocess.DEVNULL)
        wait_until(due.timestamp() + 3 + count / 200)
        process.send_signal(signal.SIGTERM)
        process.wait()
        shutil.rmtree(root)
        return self.starts(due.timestamp())


def wait_until(epoch: float) -> None:
    while (left := epoch - time.time()) > 0:
        time.sleep(min(left, 1))


def median(values: list[float]) -> float:
    return statistics.median(values)


def lateness(bench: Bench) -> None:
    bench.lines += [
        "## Lateness",
        "",
        "Milliseconds from the due instant to the start of the last program (of one: the median of the rounds); claims durable, leases taken, through the keeper.",
        "",
    ]
    bench.lines += ["| due at once | C posix_spawn | routinectl | ratio (median of pairs) | all ran |", "|---|---|---|---|---|"]
    for count in (1, 100, 1000, 3000):
        pairs = []
        ran = True
        for _ in range(ROUNDS if count < 3000 else min(ROUNDS, 2)):
            pairs.append((bench.c_loop(count)[-1], (late := bench.routinectl(count))[-1]))
            ran = ran and len(late) == count
        limit, ours = median([pair[0] for pair in pairs]), median([pair[1] for pair in pairs])
        ratio = median([pair[1] / pair[0] for pair in pairs])
        bench.lines.append(f"| {count} | {limit:.1f} | {ours:.1f} | {ratio:.2f} | {'yes' if ran else 'NO'} |")
        print(bench.lines[-1], flush=True)


def idle(bench: Bench) -> None:
    bench.lines += [
        "",
        "## Ready and idle",
        "",
        "From the start of the command to `ready` (median), with unchanged definitions and without any cache; then half a minute of idling.",
        "",
    ]
    bench.lines += [
        "| routines | ready | in units of `python -c pass` | without a cache | PSS | wakeups a second | CPU s a minute |",
        "|---|---|---|---|---|---|---|",
    ]
    unit = median([timed([sys.executable, "-c", "pass"]) for _ in range(9)])
    for count in (1, 1000, 10_000):
        root = bench.workspace(count, 'daily: "09:00"')
        first, process = ready(root)
        stop(process)
        times = []
        for _ in range(3):
            taken, process = ready(root)
            times.append(taken)
            if len(times) < 3:
                stop(process)
        time.sleep(15)
        before = usage(process.pid)
        time.sleep(30)
        after = usage(process.pid)
        pss = memory(process.pid)
        stop(process)
        shutil.rmtree(root)
        bench.lines.append(
            f"| {count} | {median(times) * 1000:.0f} ms | {median(times) / unit:.1f} | {first * 1000:.0f} ms | {pss / 1024:.1f} MiB | {(after[0] - before[0]) / 30:.2f} | {(after[1] - before[1]) * 2:.3f} |"
        )
        print(bench.lines[-1], flush=True)


def usage(pid: int) -> tuple[int, float]:
    switches = sum(
        int(line.split()[1])
        for task in Path(f"/proc/{pid}/task").iterdir()
        for line in (task / "status").read_text().splitlines()
        if line.startswith("voluntary_ctxt")
    )
    parts = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return switches, (int(parts[11]) + int(parts[12])) / os.sysconf("SC_CLK_TCK")


def ready(root: Path) -> tuple[float, subprocess.Popen]:
    began = time.perf_counter()
    process = subprocess.Popen([*COMMAND, "-w", root, "serve"], stderr=subprocess.PIPE)
    said = b""
    while b"ready" not in said:
        said += os.read(process.stderr.fileno(), 65536)
    return time.perf_counter() - began, process


def stop(process: subprocess.Popen) -> None:
    process.send_signal(signal.SIGTERM)
    process.communicate()


def timed(command: list) -> float:
    began = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    return time.perf_counter() - began


def commands(bench: Bench) -> None:
    root = bench.workspace(1000, 'daily: "09:00"')
    subprocess.run([*COMMAND, "-w", root, "list"], stdout=subprocess.DEVNULL, check=True)
    entry = [str(Path(sys.executable).parent / "routinectl")]
    asked = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "python -c 'import typer'": [sys.executable, "-c", "import typer"],
        "routinectl --version": [*entry, "--version"],
        "routinectl list (1 000 routines)": [*entry, "-w", str(root), "list"],
    }
    times: dict[str, list[float]] = {name: [] for name in asked}
    for _ in range(15):
        for name, command in asked.items():
            times[name].append(timed(command))
    base, parser = median(times["python -c pass"]), median(times["python -c 'import typer'"])
    bench.lines += ["", "## Commands", "", "| command | ms | in units of `python -c pass` | of `import typer` |", "|---|---|---|---|"]
    for name, values in times.items():
        bench.lines.append(f"| `{name}` | {median(values) * 1000:.0f} | {median(values) / base:.2f} | {median(values) / parser:.2f} |")
        print(bench.lines[-1], flush=True)
    shutil.rmtree(root)


def others(bench: Bench, count: int = 1000) -> None:
    """Ask other schedulers for the same: so many programs due in one minute."""
    environment = bench.folder / "venv"
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    subprocess.run([environment / "bin/pip", "install", "-q", *OTHERS], check=True, stderr=subprocess.DEVNULL)
    ways: dict[str, Callable[[], list[float]]] = {
        "APScheduler, in memory": lambda: apscheduler(bench, environment, count),
        "yacron": lambda: config_file(bench, [environment / "bin/yacron", "-c"], count),
        "cronstable": lambda: config_file(bench, [environment / "bin/cronstable", "-c"], count),
    }
    if shutil.which("cron") and os.getuid() == 0:
        ways["Debian's cron"] = lambda: debian_cron(bench, count)
    bench.lines += ["", f"## Others, {count} due at once", "", "One round each, with a round of the C loop right before it.", ""]
    bench.lines += ["| scheduler | last start, ms | ratio to C | started |", "|---|---|---|---|"]
    for name, way in {"routinectl": lambda: bench.routinectl(count), **ways}.items():
        limit = bench.c_loop(count)[-1]
        try:
            late = way()
        except (OSError, subprocess.CalledProcessError) as error:
            bench.lines.append(f"| {name} | could not be run: {error} | | |")
            continue
        row = f"{late[-1]:.0f} | {late[-1] / limit:.1f}" if late else "nothing started | "
        bench.lines.append(f"| {name} | {row} | {len(late)} |")
        print(bench.lines[-1], flush=True)


APSCHEDULER = """
import subprocess, sys, time
from datetime import datetime
from apscheduler.schedulers.background import BackgroundScheduler
tiny, marks, due, count = sys.argv[1], sys.argv[2], float(sys.argv[3]), int(sys.argv[4])
scheduler = BackgroundScheduler(job_defaults={"misfire_grace_time": 60})
for number in range(count):
    scheduler.add_job(lambda: subprocess.Popen([tiny, marks]), "date", run_date=datetime.fromtimestamp(due))
scheduler.start()
time.sleep(due - time.time() + 15)
"""


def apscheduler(bench: Bench, environment: Path, count: int) -> list[float]:
    bench.marks.unlink(missing_ok=True)
    due = float(int(time.time()) + 6)
    subprocess.run(
        [environment / "bin/python", "-c", APSCHEDULER, bench.folder / "tiny", bench.marks, str(due), str(count)],
        check=False,
        stderr=subprocess.DEVNULL,
    )
    return bench.starts(due)


def next_minute() -> float:
    now = time.time()
    due = (int(now) // 60 + 1) * 60
    return float(due if due - now > 15 else due + 60)


def config_file(bench: Bench, command: list, count: int) -> list[float]:
    jobs = "".join(
        f'  - name: j{number}\n    command:\n      - {bench.folder}/tiny\n      - {bench.marks}\n    schedule: "* * * * *"\n    captureStderr: false\n    captureStdout: false\n'
        for number in range(count)
    )
    path = bench.folder / "jobs.yaml"
    path.write_text("jobs:\n" + jobs)
    due = next_minute()
    bench.marks.unlink(missing_ok=True)
    process = subprocess.Popen([*command, path], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_until(due + 25)
    process.kill()
    process.wait()
    return [late for late in bench.starts(due) if late > 0]


def debian_cron(bench: Bench, count: int) -> list[float]:
    before = subprocess.run(["crontab", "-l"], capture_output=True, text=True, check=False).stdout
    subprocess.run(["crontab", "-"], input=f"* * * * * {bench.folder}/tiny {bench.marks}\n" * count, text=True, check=True)
    due = next_minute()
    bench.marks.unlink(missing_ok=True)
    process = subprocess.Popen(["cron", "-f"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until(due + 30)
    finally:
        process.kill()
        process.wait()
        subprocess.run(["crontab", "-"], input=before, text=True, check=True)
    return [late for late in bench.starts(due) if late > 0]


def policies(bench: Bench, count: int = 1000) -> None:
    """So many due at once, plain and with every policy that decides something about a start."""
    everything = (
        "cooldown: 1s\nmax_runs: 1000\npause_after_failures: 5\nretry: {attempts: 2, delay: 5m}\nsla: {success_within: 26h}\npool: p\n"
        "quiet_hours: {start: '03:00', end: '03:01'}\nexpect: {exit_codes: [0], duration: '< 10m'}\nbudget: {per_day: {runs: 24}}\n"
        "misfire: {policy: catch_up, max: 3}\ncalendar: {exclude: [{dates: ['2000-01-01']}]}\n"
    )
    bench.lines += [
        "",
        f"## {count} at once, with everything on",
        "",
        "Cooldown, caps, retries, promises, a pool, quiet hours, expectations, a budget, catch-up and a calendar in each.",
        "",
    ]
    bench.lines += ["| | last start, ms | ratio to C (median of pairs) |", "|---|---|---|"]
    for name, more in (("plain", ""), ("everything on", everything)):
        pairs = [(bench.c_loop(count)[-1], bench.routinectl(count, more)[-1]) for _ in range(min(ROUNDS, 3))]
        bench.lines.append(f"| {name} | {median([pair[1] for pair in pairs]):.0f} | {median([pair[1] / pair[0] for pair in pairs]):.2f} |")
        print(bench.lines[-1], flush=True)


def throughput(bench: Bench, routines: int = 100_000, a_second: int = 100, seconds: int = 300) -> None:
    """Many routines, of which so many are due in every second: is it late, does it grow?"""
    bench.marks.unlink(missing_ok=True)
    root = bench.workspace(0, "")
    due = (datetime.now(UTC) + timedelta(seconds=120 + routines / 500)).replace(microsecond=0)
    for number in range(routines):
        at = (due + timedelta(seconds=number // a_second)) if number < a_second * seconds else due + timedelta(days=30)
        path = root / "routines" / f"r{number:06d}" / "ROUTINE.yaml"
        path.parent.mkdir()
        path.write_text(
            f"triggers: [{{at: '{at.isoformat()}'}}]\ntimeout: 10m\naction: {{command: [{bench.folder}/tiny, {bench.marks}]}}\n"
        )
    taken, process = ready(root)
    early = due.timestamp() - time.time()
    wait_until(due.timestamp() + 10)
    before = memory(process.pid)
    wait_until(due.timestamp() + seconds)
    after = memory(process.pid)
    wait_until(due.timestamp() + seconds + 5)
    stop(process)
    starts = sorted(float(line) for line in bench.marks.read_text().split())
    late = sorted(start - due.timestamp() - index // a_second for index, start in enumerate(starts))
    bench.lines += [
        "", f"## {a_second} a second out of {routines}, for {seconds} s", "",
        (f"Ready after {taken:.0f} s ({'in time' if early > 0 else 'too late'}); {len(late)} of {a_second * seconds} started; lateness of a start: "
        f"p50 {late[len(late) // 2] * 1000:.0f} ms, p99 {late[int(len(late) * 0.99)] * 1000:.0f} ms, worst {late[-1] * 1000:.0f} ms; "
        f"memory of serve {before / 1024:.0f} MiB after 10 s, {after / 1024:.0f} MiB at the end."),
    ]  # fmt: skip
    print(bench.lines[-1], flush=True)
    shutil.rmtree(root)


def memory(pid: int) -> int:
    """Return the PSS of a process in KiB."""
    return next(int(line.split()[1]) for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines() if line.startswith("Pss:"))


def long_history(bench: Bench, runs: int = 500_000) -> None:
    """A journal of twice so many events: reading it whole, from a checkpoint, and the end of one routine's ledger."""
    root = bench.workspace(11, 'daily: "09:00"')
    subprocess.run([*COMMAND, "-w", root, "list"], stdout=subprocess.DEVNULL, check=True)
    script = HERE / "journal.py"
    subprocess.run([sys.executable, script, root, str(runs)], check=True)
    whole, process = ready(root)
    stop(process)
    again, process = ready(root)
    stop(process)
    unit = median([timed([sys.executable, "-c", "pass"]) for _ in range(9)])
    asked = median([timed([*COMMAND, "-w", str(root), "history", "r00000", "--limit", "20"]) for _ in range(5)])
    micro = subprocess.run([sys.executable, script, root, "--fold"], capture_output=True, text=True, check=True).stdout.strip()
    bench.lines += [
        "", f"## A journal of {2 * runs} events", "",
        (f"Recovery without any checkpoint {whole:.1f} s, with one {again * 1000:.0f} ms. `history` of a routine with {runs // 5} runs, its last 20: "
        f"{(asked - unit) * 1000:.0f} ms over the start of the interpreter ({unit * 1000:.0f} ms). {micro}"),
    ]  # fmt: skip
    print(bench.lines[-1], flush=True)
    shutil.rmtree(root)


def disk(bench: Bench) -> None:
    """What one claim costs at the least: a write of 300 bytes and an fdatasync."""
    fd = os.open(bench.folder / "sync", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    times = []
    for _ in range(300):
        began = time.perf_counter()
        os.write(fd, b"x" * 300)
        os.fdatasync(fd)
        times.append(time.perf_counter() - began)
    os.close(fd)
    bench.lines += [
        "",
        f"A write of 300 bytes and its fdatasync here: median {median(times) * 1e6:.0f} us, p99 {sorted(times)[-3] * 1e6:.0f} us.",
    ]
    print(bench.lines[-1], flush=True)


CONFINED = """
import json, os, sys, time
sys.path.insert(0, sys.argv[1])
from routinectl.process import cgroups, confine, keeper, trial
links, binds = trial.system()
binds = [*binds, [sys.argv[3], "/etc", "plain", ""]]
null = os.open(os.devnull, os.O_RDWR)
def once(how):
    begun = time.perf_counter()
    group = groups.make(LIMITS[how]) if how in LIMITS else None
    doors = group.doors() if group is not None else cgroups.NO_DOORS
    if how == "bare":
        pid = os.posix_spawn("/bin/true", ["true"], {}, setsid=True)
        os.waitpid(pid, 0)
    elif how in FORKED:
        pid, fate = confine.start({"argv0": "/bin/true", "argv": ["true"], "stdin": os.devnull}, {}, null, -1, doors)
        assert confine.told(fate, os.waitpid(pid, 0)[1]) == (0, "")
    else:
        entry = {"argv0": "/bin/true", "argv": ["true"], "cwd": "/", "stdin": os.devnull, "limits": {}, "confine": {
            "network": False, "links": links, "hidden": [[], []], "makes": "", "base": "", "tmp": 1 << 20, "written": "", "binds": binds}}
        pid, fate = confine.start(entry, {}, null, -1, doors)
        status, fault = confine.told(fate, os.waitpid(pid, 0)[1])
        assert not status and not fault, fault
    doors.close()
    if group is not None:
        group.kill(), group.cpu()
        groups.retire(group)
    return time.perf_counter() - begun
groups = cgroups.Groups("bench")
LIMITS = {"forked, in a cgroup for CPU time": {"cpu": 60}, "forked, in one for CPU time and one for memory": {"cpu": 60, "memory": 1 << 30},
          "namespaces, in cgroups for CPU time and processes": {"processes": 512}}
FORKED = ["forked, no cgroup", *list(LIMITS)[:2]]
ways = ["bare", *FORKED, "namespaces", list(LIMITS)[2]]
if not any(cgroups.find()):
    ways = [way for way in ways if way not in LIMITS]
print(json.dumps({way: times for way, times in zip(ways, zip(*[[once(way) for way in ways] for _ in range(int(sys.argv[2]))]))}))
"""


def confinement(bench: Bench, count: int = 200) -> None:
    """What confining and cgroups cost a run: from its start to its end as the keeper sees it, rounds alternating."""
    copied = str(etc.folder(Layout(bench.folder)))
    found = json.loads(subprocess.run([sys.executable, "-I", "-S", "-c", CONFINED, str(ROOT), str(count), copied],
                                      capture_output=True, text=True, check=True).stdout)  # fmt: skip
    bench.lines += ["", "## A run of `true`, confined and in cgroups", "", f"Start to end, median of {count}; what it takes more than a bare spawn, median of pairs.", "",
                    "| | ms | more than bare, ms |", "|---|---|---|"]  # fmt: skip
    for way, times in found.items():
        more = median([time - bare for time, bare in zip(times, found["bare"], strict=True)])
        bench.lines.append(f"| {way} | {median(list(times)) * 1000:.2f} | {more * 1000:.2f} |")
        print(bench.lines[-1], flush=True)


def screens(bench: Bench) -> None:
    """What the terminal app and the web page take."""
    from screens import measure

    bench.lines += measure(bench.workspace)
    print("\n".join(bench.lines[-10:]), flush=True)


PARTS = (lateness, disk, policies, confinement, commands, screens, idle, long_history, throughput, others)


def main() -> int:
    if shutil.which("gcc") is None:
        print("Error: gcc is not here\nHint: apt-get install gcc libc6-dev", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        bench = Bench(Path(folder))
        bench.lines += [
            "# Figures",
            "",
            f"Measured on {datetime.now(UTC):%Y-%m-%d} with `make bench`: {os.cpu_count()} cores, {platform.system()} {platform.release()}, Python {platform.python_version()}, {ROUNDS} rounds.",
            "Ratios are of rounds that alternated in one run; absolute times on a shared machine mean little.",
            "",
        ]
        for part in PARTS:
            if (ONLY and part.__name__ not in ONLY) or (QUICK and part in (others, throughput, long_history)):
                continue
            part(bench)
        if ONLY:
            return 0
        (HERE / "RESULTS.md").write_text("\n".join(bench.lines) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
