"""Make a workspace with a past, to look at: `python docs/demo.py FOLDER`. The pictures in docs/images are taken of it.

Its routines are made up; the last day of their runs is written into the journal, so that there is something to see.
"""

from __future__ import annotations

import hashlib
import random
import sys
from datetime import datetime, timedelta
from pathlib import Path

from routinectl import clock
from routinectl.core.event import Event
from routinectl.core.units import to_iso
from routinectl.files.layout import Layout
from routinectl.operations.init import init
from routinectl.operations.session import Session

SETTINGS = """\
timezone: Europe/Berlin
owner: ada
limits: {max_concurrent_runs: 4}
budgets:
  assistants: {tags: [assistant], per_day: {tokens: 400000, cost_usd: 5}}
models: {default: {provider: openai, model: small, base_url: "http://127.0.0.1:9/v1", price: {input: 0.25, output: 2.0}}}
"""
AGENT = """\
---
description: Reads the repository and says what is stale, what is missing and what could go.
model: default
tools: [files.read, files.list, files.search]
budget: {tokens: 60000}
permissions: {level: propose_edits}
---
You look after a repository. Be brief, name files, and propose only what you would defend.
"""
ROUTINES = {
    "nightly-backup": ("Nightly backup", "All of /srv to the other house", "triggers: [{daily: '02:30'}]\ntags: [data]", "echo '42.1 GiB, 318 files changed'"),
    "database-dump": ("Database dump", "A consistent dump, checked by restoring it", "triggers: [{cron: '15 */3 * * *'}]\ntags: [data]", "echo 'dumped and restored: 1 204 tables'"),
    "disk-space": ("Disk space", "Fails when a disk is nearly full", "triggers: [{every: 15m}]\ntags: [watch]", "df -h / | tail -1"),
    "certificates": ("Certificate expiry", "Two weeks before a certificate ends", "triggers: [{daily: '07:00'}]\ntags: [watch]", "echo '12 certificates, the next ends in 41 days'"),
    "mirror": ("Mirror repositories", "", "triggers: [{cron: '5 * * * *'}]\ntags: [data]", "echo 'fetched 23 repositories'"),
    "web-watch": ("Web watch", "What changed on the pages we follow", "triggers: [{cron: '*/20 6-22 * * *'}]\ntags: [watch]", "echo 'nothing changed'"),
    "weekly-report": ("Weekly report", "Sent to the team on Monday morning", "triggers: [{weekly: {days: [mon], time: '08:30'}}]", "echo done"),
    "log-digest": ("Log digest", "The errors of the day, counted", "triggers: [{daily: '18:00'}]\ntags: [watch]", "echo '3 errors, 2 of them known'"),
    "deploy": ("Deploy to production", "Somebody says yes to each run", "triggers: [{daily: '16:00'}]\napproval: every_run\npermissions: {network: true}", "echo deployed"),
    "sensors": ("Sensor sync", "", "triggers: [{every: 5m}]", "echo 'stored 96 readings'"),
    "cleanup": ("Clean up old builds", "Paused while the build farm moves", "triggers: [{daily: '04:15'}]", "echo 'removed 12 builds'"),
}  # fmt: skip
AGENTS = {
    "repository-gardener": ("Repository gardener", "Looks for what is stale and proposes the change", "triggers: [{weekly: {days: [tue, fri], time: '10:00'}}]\ntags: [assistant]\nbudget: {per_day: {tokens: 120000}}",
                            "agent: {use: gardener, task: 'Look through docs/ and propose what to mend.'}"),
    "morning-review": ("Morning review", "What matters today, from notes and calendar", "triggers: [{cron: '30 7 * * 1-5'}]\ntags: [assistant]\nbudget: {per_day: {tokens: 50000, cost_usd: 0.5}}",
                       "prompt: {text: 'What matters today?'}"),
    "inbox-triage": ("Inbox triage", "Sorts mail and drafts replies; sends nothing", "triggers: [{every: 30m}]\ntags: [assistant]\npermissions: {external: suggest}",
                     "agent: {use: gardener, task: 'Sort the new mail.'}"),
}  # fmt: skip
BROKEN = "name: Quarterly audit\ntriggers: [{cron: '0 9 32 1,4,7,10 *'}]\ntimeout: ten minutes\naction: {command: ./audit.sh}\n"
# Which runs did not end well, by routine: how many back from now, and how.
TROUBLE = {
    "disk-space": {3: "failed", 4: "failed", 30: "failed"},
    "mirror": {6: "timed_out"},
    "web-watch": {11: "failed"},
    "database-dump": {2: "failed"},
}
PATCH = """\
diff --git a/docs/restore.md b/docs/restore.md
--- a/docs/restore.md
+++ b/docs/restore.md
@@ -1,4 +1,5 @@
 # Restoring

-Run restore.sh as root on the old server.
+Run `restore.sh --from latest` on any machine with the key.
+It takes about 20 minutes; the last drill was in October.
 Afterwards, check the table counts.
"""


def make(root: Path, now: datetime) -> None:
    """Make the workspace, with the day before `now` behind it."""
    root.mkdir(parents=True, exist_ok=True)
    init(root, use_git=False)
    (root / "routinectl.yaml").write_text(SETTINGS)
    (root / "agents/gardener").mkdir(parents=True)
    (root / "agents/gardener/AGENT.md").write_text(AGENT)
    (root / "docs").mkdir()
    (root / "docs/restore.md").write_text("# Restoring\n\nRun restore.sh as root on the old server.\nAfterwards, check the table counts.\n")
    for name, (title, about, keys, command) in ROUTINES.items():
        _write(root, name, title, about, keys, f"action: {{command: {command!r}}}")
    for name, (title, about, keys, action) in AGENTS.items():
        _write(root, name, title, about, keys, f"action: {{{action}}}")
    with Session(Layout(root), now=now - timedelta(days=2)) as session:
        chance = random.Random(7)  # noqa: S311, the same past each time
        for name in (*ROUTINES, *AGENTS):
            _past(session, name, now, chance)
        session.append(
            Event("routine.paused", "cleanup", {"at": to_iso(now - timedelta(hours=9)), "by": "ada", "reason": "the build farm moves"})
        )
    with Session(Layout(root)) as session:
        _propose(session, "repository-gardener", now)
        session.append(Event("routine.drafted", "inbox-triage", {"at": to_iso(now - timedelta(minutes=40)), "by": "the agent of ada"}))
        routine = session.routine("deploy")
        assert routine is not None
        content = session.engine.content_of(routine, session.standing("deploy"))
        asked = {
            "at": to_iso(now - timedelta(minutes=12)),
            "mode": "every_run",
            "expires": to_iso(now + timedelta(hours=23)),
            "content": content,
        }
        session.append(Event("approval.requested", "deploy", asked))
    _write_text(root, "quarterly-audit", BROKEN)


def _write(root: Path, name: str, title: str, about: str, keys: str, action: str) -> None:
    head = f"name: {title}\n" + (f"description: {about}\n" if about else "")
    _write_text(root, name, f"{head}{keys}\ntimeout: 10m\n{action}\n")


def _write_text(root: Path, name: str, text: str) -> None:
    folder = root / "routines" / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "ROUTINE.yaml").write_text(text)


def _past(session: Session, name: str, now: datetime, chance: random.Random) -> None:
    """Write the runs of the last day and a half."""
    routine, standing = session.routine(name), session.standing(name)
    assert routine is not None
    slots = [slot for slot in routine.schedule.upcoming(session.now, 1000) if now - timedelta(hours=36) < slot < now]
    events = []
    for back, slot in enumerate(reversed(slots)):
        outcome = TROUBLE.get(name, {}).get(back, "quiet" if name == "web-watch" else "succeeded")
        took = timedelta(seconds=chance.uniform(1, 8) if name != "nightly-backup" else 1260)
        run = f"{slot:%Y%m%dT%H%M%SZ}-{chance.getrandbits(32):08x}"
        facts = {"run": run, "slot": to_iso(slot), "attempt": 1, "trigger": " + ".join(routine.schedule.matching(slot))}
        claimed = {
            **facts,
            "at": to_iso(slot),
            "due": to_iso(slot),
            "reason": "on_time",
            "lease": 1,
            "revision": standing.revision,
            "timeout": 600.0,
            "kill_grace": 10.0,
        }
        ended = {**facts, "at": to_iso(slot + took), "outcome": outcome, "reason": "on_time", "due": to_iso(slot), "started_at": to_iso(slot),
                 "exit_code": 0 if outcome in ("succeeded", "quiet") else 1, "message": "/ is 93% full" if outcome == "failed" and name == "disk-space" else ""}  # fmt: skip
        events += [(slot, Event("run.claimed", name, claimed)), (slot + took, Event("run.ended", name, ended))]
    session.append(*(event for _, event in sorted(events, key=lambda item: item[0])))


def _propose(session: Session, name: str, now: datetime) -> None:
    run = f"{now - timedelta(hours=3):%Y%m%dT%H%M%SZ}-5ca1ab1e"
    path = session.layout.proposal("p-51c0ffee")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(PATCH)
    session.append(Event("proposal.created", name, {
        "proposal": "p-51c0ffee", "at": to_iso(now - timedelta(hours=3)), "what": "edits", "by": f"run {run}", "run": run,
        "reason": "docs/restore.md names a server that is gone", "files": [{"path": "docs/restore.md", "added": 2, "removed": 1}], "count": 1,
        "sha256": hashlib.sha256(PATCH.encode()).hexdigest(), "revision": session.standing(name).revision}))  # fmt: skip


if __name__ == "__main__":
    make(Path(sys.argv[1]).resolve(), clock.now())
