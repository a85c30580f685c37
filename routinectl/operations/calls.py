"""Calls that an agent would have made outside, made once a person has approved them: by the same tools, confined, with the network."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from routinectl.core.event import Event
from routinectl.core.units import to_iso
from routinectl.engine import host, launch
from routinectl.errors import RoutinectlError
from routinectl.files import run_logs
from routinectl.operations.session import Session
from routinectl.process import child, leavings

Item = dict[str, Any]
_SECONDS = 90.0
_MOST_SHOWN = 4000  # characters of what came of it that are recorded


def make(session: Session, item: Item) -> Item:
    """Make a call that was proposed, and record what came of it. Raises RoutinectlError when it could not be made at all."""
    name = item["routine"]
    routine = session.good(name)
    networked = replace(routine, permissions=replace(routine.permissions, level="read_only", network=True))
    prepared = launch.prepare(session.layout, session.settings, networked, "", {})
    if prepared.fault:
        raise RoutinectlError(f"{item['proposal']} could not be made: {prepared.fault}", "routinectl doctor")
    folder = run_logs.make(session.layout, name, f"call-{item['proposal']}")
    entry = launch.tools_entry(session.layout, name, prepared, folder)
    job = routine.action.job
    servers = (
        {key: value for key, value in launch.servers_of(session.layout, job).items() if item["tool"].startswith(f"{key}.")} if job else {}
    )
    spec = {"kind": "call", "entry": entry, "mcp": servers, "tool": item["tool"], "arguments": item["arguments"], "seconds": _SECONDS}
    (folder / host.SPEC).write_text(json.dumps(spec))
    said = _ran(folder, {**launch.base_environment(), **prepared.env})
    left = leavings.judge(str(folder)) if prepared.confine is not None else {}
    if left.get("denied"):
        said = {"done": False, "text": left["message"]}
    found = {"done": bool(said.get("done")), "text": str(said.get("text", "nothing came back"))[:_MOST_SHOWN]}
    session.append(Event("proposal.done", name, {"at": to_iso(session.now), "proposal": item["proposal"], "tool": item["tool"], **found}))
    return found


def _ran(folder: Path, env: dict[str, str]) -> Item:
    text = child.output_of(host.program(folder), env, _SECONDS + 30)
    try:
        found: Item = json.loads(text.strip().splitlines()[-1])
    except (ValueError, IndexError):
        return {"done": False, "text": f"it could not be made: {text.strip()[-500:]}"}
    return found
