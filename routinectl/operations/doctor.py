"""Checking the machine and the workspace: does what the promises rest on hold here?"""

from __future__ import annotations

import importlib.util
import json
import os
import resource
import shutil
import stat
import zoneinfo
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from routinectl import clock
from routinectl.core.event import Event
from routinectl.core.standing import run_of
from routinectl.core.units import from_iso, to_iso
from routinectl.engine import confinement, launch
from routinectl.files import atomic, definitions, lock, run_logs
from routinectl.files.layout import Layout
from routinectl.operations import limits
from routinectl.operations.notices import dereference
from routinectl.operations.session import Session
from routinectl.process import ability, keep, landlock, proc, seccomp, trial

_SYNC_TIMES = 20
_WATCHES = Path("/proc/sys/fs/inotify/max_user_watches")
_ENOUGH_WATCHES = 8192
_SLOW_SYNC = 0.05
_FUNCTIONS = {"cpu": "CPU time", "memory": "memory", "processes": "processes"}
_UNIT_HINT = "systemctl cat 'routinectl-*': hardening of its unit is inherited by every run; routinectl service install writes it anew"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at: whether it is well, what was found, and what to do if not."""

    name: str
    well: bool
    found: str
    hint: str = ""


def check(session: Session) -> list[Check]:
    """Return everything that was looked at."""
    return [
        *_file_system(session.layout),
        *_machine(),
        *_confinement(session),
        _limits(session),
        *_service(session),
        *_clock(session),
        *_workspace(session),
    ]


def _file_system(layout: Layout) -> Iterator[Check]:
    path = layout.tmp / f"doctor-{os.getpid()}"
    held = lock.try_lock(path)
    second = lock.try_lock(path)
    works = held is not None and second is None
    yield Check("locks", works, "flock keeps others out" if works else "two holders of one lock: this file system has no flock",
                "move the workspace to a local file system")  # fmt: skip
    for item in (held, second):
        if item is not None:
            item.close()
    os.unlink(path)
    times = []
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        for _ in range(_SYNC_TIMES):
            atomic.write_all(fd, b"x" * 200)
            before = clock.awake()
            os.fdatasync(fd)
            times.append(clock.awake() - before)
    finally:
        os.close(fd)
        os.unlink(path)
    median = sorted(times)[len(times) // 2]
    yield Check(
        "sync",
        median < _SLOW_SYNC,
        f"fdatasync takes {median * 1000:.2f} ms (median of {_SYNC_TIMES})",
        "a faster disk: every start waits for one",
    )
    free = shutil.disk_usage(layout.root)
    enough = free.free > 100 * 1024 * 1024
    yield Check("space", enough, f"{free.free // 1024**2} MiB free", "without space nothing starts: df -h, retention in routinectl.yaml")


def _machine() -> Iterator[Check]:
    zones = len(zoneinfo.available_timezones())
    yield Check("zones", zones > 300, f"{zones} time zones", "apt-get install tzdata, or pip install tzdata")
    if _WATCHES.exists():
        watches = int(_WATCHES.read_text())
        yield Check(
            "inotify", watches >= _ENOUGH_WATCHES, f"{watches} watches allowed", f"sysctl fs.inotify.max_user_watches={_ENOUGH_WATCHES}"
        )
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield Check("descriptors", hard >= 4096, f"{hard} open files allowed", "ulimit -Hn 65536")
    yield Check(
        "git", shutil.which("git") is not None, "git is there" if shutil.which("git") else "git is not installed", "apt-get install git"
    )


def _confinement(session: Session) -> Iterator[Check]:
    """Confine a program for real. Where that cannot be done, only routines that ask for it are worse off: they are refused.

    Who starts runs is asked, not this shell: a serve's unit may take from it what is possible here.
    """
    found = trial.best()
    serve = _serve(session)
    routines = [routine for routine in map(session.routine, session.alive()) if routine is not None]
    confined = [routine.id for routine in routines if routine.permissions.confined]
    if serve is not None and not serve["confinement"]:
        text = f"the serve that runs (pid {serve['pid']}) can keep no program in ({serve['why_not']})"
        text += f", and {confined[0]} asks for it" if confined else "; no routine asks for it"
        yield Check("confinement", not confined, text, _UNIT_HINT if found.level else trial.remedy())
    elif found.level:
        extras = [f"landlock {landlock.version()}"] if landlock.version() else []
        extras += ["system calls filtered"] if seccomp.program() else []
        yield Check("confinement", True, "; ".join([f"{found.level} keeps a program in", *filter(None, [", ".join(extras)])]))
        yield from _layers(session, [routine.id for routine in routines if confinement.needs_layers(session.layout, routine)])
        free = len(routines) - len(confined)
        if free and confined:
            yield Check(
                "full routines", True, f"{free} of {len(routines)} routines run with their user's power, which could forge anything here"
            )
    else:
        text = f"nothing confines ({found.why_not})" + (f", and {confined[0]} asks for it" if confined else "; no routine asks for it")
        yield Check("confinement", not confined, text, trial.remedy())


def _layers(session: Session, needed: list[str]) -> Iterator[Check]:
    session.layout.tmp.mkdir(parents=True, exist_ok=True)
    why_not = trial.overlay(session.layout.tmp)
    text = "what a confined run writes over a person's files is kept in an overlay until it has ended"
    if why_not:
        text = f"a confined run may write its memory and out/ only: {why_not}" + (f"; {needed[0]} asks for more" if needed else "")
    yield Check(
        "overlays",
        not why_not or not needed,
        text,
        "move the workspace to a file system that can be the upper one of an overlay: ext4, xfs, btrfs",
    )


def _limits(session: Session) -> Check:
    """Look at what limits of a whole run rest on, in the serve that runs where there is one."""
    serve = _serve(session)
    ways = serve["limits"] if serve is not None and "limits" in serve else limits.here()
    counted = [_FUNCTIONS[function] for function, way in ways.items() if way == "cgroup"]
    rest = [_FUNCTIONS[function] for function, way in ways.items() if way == "sampled"]
    texts = [f"{', '.join(counted)} of a whole run by cgroups"] if counted else []
    texts += [f"{', '.join(rest)} sampled once a second: a lower bound"] if rest else []
    texts += ["processes limited for each user, which binds nobody who is root"] if ways["processes"] == "rlimit" else []
    routines = [routine for routine in map(session.routine, session.alive()) if routine is not None]
    refused = [routine.id for routine in routines if limits.is_refused(routine, ways)]
    texts += [f"{refused[0]} does not start: budget.per_day.cpu must be counted"] if refused else []
    return Check("limits", not refused, "; ".join(texts), f"Delegate=yes in the unit of serve; or {limits.HINT}")


def _serve(session: Session) -> dict[str, Any] | None:
    """Return what the serve that lives said it can do; None where there is none, or it has not said yet."""
    try:
        found: dict[str, Any] = json.loads(session.layout.ability.read_bytes()) if session.serve_lives else {}
    except (OSError, ValueError):
        return None
    return found if found and proc.is_alive(found["pid"], found["start"]) else None


def _service(session: Session) -> Iterator[Check]:
    """Compare what runs below the serve that lives can do with what this shell can."""
    serve = _serve(session)
    if serve is None:
        return
    lacks = ability.less(serve, ability.look())
    text = f"runs of the serve that runs (pid {serve['pid']}) cannot {'; nor '.join(lacks)}, and this shell can" if lacks else (
        f"the serve that runs (pid {serve['pid']}) can do what this shell can")  # fmt: skip
    yield Check("serve", not lacks, text, _UNIT_HINT)
    yield from _keeper(session, serve["pid"])


def _keeper(session: Session, serve: int) -> Iterator[Check]:
    """Runs have what their keeper has, and one that still has runs outlives a serve that was put into another unit."""
    found = keep.connect(session.layout.live)
    if found is None:
        return
    wire, hello = found
    wire.close()
    if hello["alive"] and proc.bounds(hello["pid"]) != proc.bounds(serve):
        names = ", ".join(sorted(set(session.world.running.values())))
        text = f"the keeper (pid {hello['pid']}) is bound otherwise than this serve and goes on for runs from before ({names}): what it starts has what they have"
        yield Check("keeper", False, text, "one of this serve follows when none of its runs goes on; routinectl cancel ID ends one")


def _notices(session: Session) -> Iterator[Check]:
    targets = session.settings.notify.targets
    if not targets:
        return
    senders = {target.sender for target in targets.values()}
    if "apprise" in senders:
        found = importlib.util.find_spec("apprise") is not None
        yield Check("apprise", found, "apprise is there" if found else "apprise is not installed", "pip install 'routinectl[notify]'")
    if "desktop" in senders:
        found = shutil.which("notify-send") is not None
        yield Check("desktop", found, "notify-send is there" if found else "notify-send is not installed", "apt-get install libnotify-bin")
    empty = [name for name, target in targets.items() if target.sender == "apprise" and not dereference(session.layout, target.value)]
    text = f"{len(targets)} targets of notices" + (f", and {empty[0]} has no URL here" if empty else "")
    yield Check("targets", not empty, text, "routinectl notify list")


def _clock(session: Session) -> Iterator[Check]:
    kept = clock.synchronised()
    yield Check(
        "clock",
        True,
        "a time service keeps it" if kept else "no time service keeps it, as far as the kernel knows (it may run on the host)",
    )
    last = session.world.journal.last_time
    if last:
        ahead = from_iso(last) - session.now
        well = ahead < timedelta(seconds=5)
        yield Check("journal time", well, f"the last event is {abs(int(ahead.total_seconds()))}s {'ahead of' if not well else 'before'} the clock",
                    "if the clock is right: routinectl doctor --accept-clock")  # fmt: skip


def _workspace(session: Session) -> Iterator[Check]:
    layout = session.layout
    mode = stat.S_IMODE(os.stat(layout.private).st_mode)
    yield Check("private folder", mode & 0o077 == 0, f".routinectl has mode {mode:03o}", f"chmod 700 {layout.private}")
    secrets = layout.root / "secrets"
    if secrets.is_dir():
        open_files = [path.name for path in secrets.iterdir() if path.is_file() and stat.S_IMODE(path.stat().st_mode) & 0o077]
        well = stat.S_IMODE(secrets.stat().st_mode) & 0o077 == 0 or not open_files
        yield Check(
            "secrets", well, "only you may read secrets/" if well else f"others may read secrets/{open_files[0]}", f"chmod -R go= {secrets}"
        )
    aside = run_logs.aside(layout)
    yield Check("set aside", not aside, f"{len(aside)}: what a run wrote was not let out, .routinectl/set-aside/{aside[0]}" if aside else "nothing",
                "look at it, with nothing that runs what it finds there (no git, no editor with plugins); then: rm -r .routinectl/set-aside")  # fmt: skip
    yield from _notices(session)
    damage = session.world.journal.damage
    yield Check(
        "journal",
        not damage,
        f"{session.world.journal.seq} events, {len(damage)} damaged places",
        "routinectl events | grep journal.damaged",
    )
    orphans = [f"{name} {run_id}" for run_id, name in session.world.running.items() if not _minded(session, name, run_id)]
    yield Check(
        "runs",
        not orphans,
        f"{len(session.world.running)} going on" + (f", not minded: {orphans[0]}" if orphans else ""),
        "routinectl serve",
    )
    broken = [name for name in session.alive() if session.standing(name).invalid is not None]
    good = len(session.alive()) - len(broken)
    broken += [problem.file for problem in definitions.nameless(layout)]
    yield Check("definitions", not broken, f"{good} good" + (f", broken: {', '.join(broken[:5])}" if broken else ""),
                "routinectl validate")  # fmt: skip
    yield _starts(session)


def _starts(session: Session) -> Check:
    """Look for what runs would lack, with the environment that this command has; a serve may have another."""
    routines = [routine for routine in map(session.routine, session.alive()) if routine is not None]
    lacking = [(routine.id, launch.fault_of(session.layout, session.settings, routine)) for routine in routines if routine.enabled]
    lacking = [(name, why) for name, why in lacking if why]
    count = f", and {len(lacking) - 1} more" if len(lacking) > 1 else ""
    text = f"{lacking[0][0]} cannot start: {lacking[0][1]}{count}" if lacking else "every routine has what its runs need"
    return Check("starts", not lacking, text, f"routinectl show {lacking[0][0]}" if lacking else "")


def _minded(session: Session, name: str, run_id: str) -> bool:
    run = session.standing(name).runs[run_of(run_id)]
    if not session.engine.keeping.is_dead():
        return True
    return bool(run.pid) and proc.is_alive(run.pid, run.start_time) and run_logs.has_started(session.layout, name, run_id)


def accept_clock(session: Session, by: str) -> str:
    """Record that a person believes the clock although the journal is ahead of it; return the doubted instant."""
    doubted = session.world.journal.last_time or to_iso(session.now)
    session.append(Event("clock.accepted", "", {"at": to_iso(session.now), "doubted": doubted, "by": by}))
    return doubted
