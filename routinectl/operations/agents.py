"""Saved agents: listing and checking them, and trying one by hand, under the same confinement as on a clock."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from routinectl.core import permissions
from routinectl.core.agent import READING
from routinectl.core.routine import build, effective
from routinectl.core.wish import Start
from routinectl.engine import host, launch, proposing
from routinectl.errors import DefinitionError, NotFoundError, RoutinectlError
from routinectl.files import agents, definitions, run_logs
from routinectl.files.layout import Layout
from routinectl.operations.session import Session
from routinectl.process import child, leavings, mask

Row = dict[str, Any]


def rows(session: Session) -> list[Row]:
    """Return every saved agent: what it is, or what is wrong with it, and which routines use it."""
    users: dict[str, list[str]] = {}
    for name in session.alive():
        used = (session.standing(name).doc or {}).get("action", {}).get("agent", {}).get("use")
        if used:
            users.setdefault(used, []).append(name)
    return [{**_row(session, name), "routines": users.get(name, [])} for name in agents.names(session.layout)]


def _row(session: Session, name: str) -> Row:
    try:
        return {"name": name, "valid": True, **_meaning(agents.load(session.layout, name, session.settings))}
    except DefinitionError as error:
        problems = [{"message": item.message, "where": item.where, "hint": item.hint} for item in error.problems]
        return {"name": name, "valid": False, "description": "", "problems": problems}


def _meaning(found: agents.Agent) -> Row:
    granted = permissions.read({"action": {"agent": {}}, "permissions": found.head.get("permissions", {})})
    return {"description": found.head.get("description", ""), "model": found.head.get("model", "default"),
            "tools": list(found.head.get("tools", READING)), "may": permissions.words(granted), "external": granted.external,
            "budget": found.head.get("budget", {})}  # fmt: skip


def show(session: Session, name: str) -> Row:
    """Return one agent whole. Raises NotFoundError, DefinitionError."""
    found = agents.load(session.layout, name, session.settings)
    folder = session.layout.agent(name).parent
    beside = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() and path.name != agents.FILE)
    used: list[str] = next((row["routines"] for row in rows(session) if row["name"] == name), [])
    return {"name": name, **_meaning(found), "instructions": found.instructions, "beside": beside, "routines": used}


@dataclass(frozen=True, slots=True)
class Trial:
    """What is to be tried by hand: a task, the payload, and whether the agent may only read."""

    task: str
    payload: dict[str, Any] | None = None
    read_only: bool = False
    timeout: str = "10m"


class _ByHand(Layout):
    """The workspace, for a run that belongs to no routine: an agent's own folder is the folder it works in."""

    def folder(self, routine_id: str) -> Path:
        """Return the folder of the agent."""
        return self.agents / routine_id.removeprefix("@")


def try_out(session: Session, name: str, asked: Trial, show_line: Callable[[bytes], None]) -> Row:
    """Have an agent do a task now, and return what came of it. It is no run of a routine: nothing of it is in the journal.

    What it prints goes to `show_line` and into its folder, secrets masked. Raises NotFoundError, DefinitionError, RoutinectlError.
    """
    agents.load(session.layout, name, session.settings)
    layout = _ByHand(session.layout.root)
    routine_id = f"@{name}"
    doc: dict[str, Any] = {"timeout": asked.timeout, "action": {"agent": {"use": name, "task": asked.task}}}
    doc["action"] |= {"payload": asked.payload} if asked.payload else {}
    doc |= {"permissions": {"level": "read_only", "external": "none", "write": []}} if asked.read_only else {}
    problems = definitions.problems_of(doc, name, session.settings, session.now, past=True)
    if problems:
        raise DefinitionError(f"the agent {name} cannot be tried", problems[0].hint, problems)
    merged, _, _ = agents.resolve(layout, effective(name, doc, session.settings), session.settings)
    merged["budget"] = {key: value for key, value in merged.get("budget", {}).items() if key != "per_day"}  # a day's budget is a routine's
    routine = replace(build(name, merged, session.now), id=routine_id)
    prepared = launch.prepare(layout, session.settings, routine, "", {})
    if prepared.fault:
        raise RoutinectlError(f"the agent {name} cannot be tried: {prepared.fault}", "routinectl doctor")
    key = f"{session.now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"
    entry = launch.entry_of(layout, routine, prepared, Start(routine_id, session.now, "on_time", slot=session.now), key, session.now)
    folder = layout.run(routine_id, key)
    masker = mask.Masker(prepared.masks)
    with open(folder / "out", "wb") as out:

        def heard(data: bytes, *, last: bool = False) -> None:
            data = masker.feed(data) + (masker.finish() if last else masker.calm())
            out.write(data)
            show_line(data)

        code = child.follow(entry["argv"], {**launch.base_environment(), **entry["env"]}, routine.timeout.total_seconds(), heard)
        heard(b"", last=True)
    left = leavings.judge(str(folder)) if prepared.confine is not None else {}
    report = run_logs.left(folder, host.REPORT)
    return {
        "agent": name,
        "run": key,
        "exit_code": code or int("denied" in left),
        "folder": str(folder.relative_to(layout.root)),
        **_after(folder),
        **report,
        **left,
    }


def _after(folder: Path) -> Row:
    """Return what a run has left beside its report."""
    found: Row = {"turns": str(folder / host.TURNS)} if (folder / host.TURNS).exists() else {}
    if (folder / "proposal.patch").exists():
        found["patch"] = str(folder / "proposal.patch")
    return {**found, "refused": proposing.refused(folder)}


def require(session: Session, name: str) -> str:
    """Return an agent's name. Raises NotFoundError when there is none."""
    if not os.path.isfile(session.layout.agent(name)):
        raise NotFoundError(f"there is no agent '{name}'", f"routinectl agents list; an agent is a file: agents/{name}/{agents.FILE}")
    return name
