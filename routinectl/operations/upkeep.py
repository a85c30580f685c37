"""The upkeep of a workspace, done by a process of its own so that no fire waits for it: `python -m routinectl.operations.upkeep`.

Takes the folder and what is to be done (retention, audit, memory), and answers one JSON object with the findings.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from routinectl.engine.retain import retain
from routinectl.engine.world import World
from routinectl.files import config, run_logs
from routinectl.files.layout import Layout
from routinectl.operations import audit

_MOST = 50


def keep_up(root: Path, tasks: list[str]) -> dict[str, Any]:
    """Do these tasks and return what was done and found: run folders removed, what an audit found, memories over the cap."""
    layout = Layout(root)
    settings = config.load(layout)
    found: dict[str, Any] = {}
    world = World(layout)
    world.load()
    if "retention" in tasks:
        found["retention"] = retain(layout, settings.retention, world)
    if "audit" in tasks:
        report = audit.run(layout)
        found["audit"] = [str(item) for item in report.findings][:_MOST]
    if "memory" in tasks and settings.maintenance.memory:
        sizes = {name: run_logs.tree_size(layout.folder(name) / "memory") for name in world.ids()}
        found["memory"] = {name: size for name, size in sizes.items() if size > settings.maintenance.memory}
    world.journal.close()
    return found


if __name__ == "__main__":
    os.nice(10)
    print(json.dumps(keep_up(Path(sys.argv[1]), sys.argv[2:])))
