"""From what a run at `propose_edits` has left in its folder to a proposal on record."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from routinectl.core.event import Event
from routinectl.core.standing import Run, Standing
from routinectl.core.verdict import GOOD
from routinectl.engine.host import REPORT
from routinectl.files import atomic, regular, run_logs
from routinectl.files.layout import Layout

_MOST_BYTES = 256 * 1024 * 1024  # of a patch
_MOST_FILES = 100  # that the event names
_MOST_CALLS = 50  # of one run that are proposed
EDITS, CALL, PROPOSAL = "edits", "call", "proposal.json"


def _suggested(folder: Path, standing: Standing, name: str, run: Run, end: Event) -> Iterator[Event]:
    """Yield the calls that a run would have liked to make outside, each as a proposal."""
    calls = run_logs.left(folder, REPORT).get("suggested", [])
    for number, call in enumerate(calls[:_MOST_CALLS]):
        proposal = f"p-{hashlib.sha256(f'{run.key}/{number}'.encode()).hexdigest()[:8]}"
        yield Event("proposal.created", name, {
            "at": end.data["at"], "proposal": proposal, "what": CALL, "by": f"run {run.key}", "run": run.id, "revision": standing.revision,
            "reason": f"{call['tool']} {call['arguments'].get('url', '')}".strip(), "tool": call["tool"], "arguments": call["arguments"],
        })  # fmt: skip


def refused(folder: Path) -> list[str]:
    """Return what of a run's changes may not be proposed, each with its reason."""
    return list(run_logs.left(folder, PROPOSAL).get("refused", ()))


def events(layout: Layout, standing: Standing, name: str, run: Run, end: Event) -> Iterator[Event]:
    """Yield the proposals of a run that had a host: its calls, and the patch that it has left, which is kept."""
    folder = layout.run(name, run.key)
    yield from _suggested(folder, standing, name, run, end)
    files = run_logs.left(folder, PROPOSAL).get("files")
    if not files or end.data["outcome"] not in GOOD:
        return
    try:
        patch = regular.read(folder / "proposal.patch", _MOST_BYTES)
    except OSError:
        return  # an end is recorded whatever became of its patch
    proposal = f"p-{hashlib.sha256(run.key.encode()).hexdigest()[:8]}"
    path = layout.proposal(proposal)
    path.parent.mkdir(mode=0o700, exist_ok=True)
    atomic.write(path, patch, mode=0o600)
    yield Event("proposal.created", name, {
        "at": end.data["at"], "proposal": proposal, "what": EDITS, "by": f"run {run.key}", "run": run.id, "revision": standing.revision,
        "reason": end.data.get("message") or "", "sha256": hashlib.sha256(patch).hexdigest(), "count": len(files), "files": files[:_MOST_FILES],
    })  # fmt: skip
