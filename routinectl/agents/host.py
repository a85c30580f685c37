"""The run's own process where more is to be done than to start a program: it stays outside the confinement, the work inside.

It is given the run's folder, and `host.json` in there says what to do.

At `propose_edits` it copies the workspace, starts the program confined with the copy in the workspace's place, and leaves
what has changed as a proposal in the run's folder: `proposal.patch`, and `proposal.json` about it. It ends as the program ends.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Any

from routinectl.files import edits
from routinectl.process import confine, git

SPEC = "host.json"
_MOST_PATCH = 10 << 20
_BASE, _EDITED = "base", "edited"


def program(folder: Path) -> list[str]:
    """Return the command that is a run's host; the folder holds what it is to do."""
    package = Path(__file__).resolve().parents[2]
    start = "import sys; sys.path.insert(0, sys.argv[1]); from routinectl.agents.host import main; main(sys.argv[2])"
    return [sys.executable, "-I", "-c", start, str(package), str(folder)]


class Stopped:
    """Whether the run was told to end: then nothing of it is proposed."""

    def __init__(self) -> None:
        self.now = False
        signal.signal(signal.SIGTERM, self._hear)
        signal.signal(signal.SIGINT, self._hear)

    def _hear(self, number: int, frame: object) -> None:
        self.now = True


def main(folder: str) -> None:
    """Do what the folder's `host.json` says, and end as the program has ended."""
    place = Path(folder)
    spec = json.loads((place / SPEC).read_bytes())
    stopped = Stopped()
    try:
        status = _propose(place, spec, stopped)
    except (OSError, edits.TooLarge) as error:
        _fail(str(error))
    end_like(status)


def _fail(message: str) -> None:
    sys.stderr.write(f"{message}\n")
    sys.stderr.flush()
    os._exit(1)


def run_confined(entry: dict[str, Any], env: dict[str, str]) -> int:
    """Run a program confined, with this process's output; return its exit status. Raises OSError when it never began."""
    pid, fate = confine.start(entry, env, 1, -1)
    status, fault = confine.told(fate, os.waitpid(pid, 0)[1])
    if fault:
        raise OSError(fault)
    return status


def end_like(status: int) -> None:
    """End as another process has ended, so that whoever waits for this one sees the truth."""
    number = status & 0x7F
    if number:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if number not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    os._exit(status >> 8)


def _propose(folder: Path, spec: dict[str, Any], stopped: Stopped) -> int:
    root, tree = Path(spec["root"]), folder / "tree"
    names = git.listed(root)
    edits.copy(root, edits.everything(root) if names is None else names, tree / _BASE)
    edits.duplicate(tree / _BASE, tree / _EDITED)
    status = run_confined(_inside(spec, tree / _EDITED), dict(os.environ))
    if status == 0 and not stopped.now:
        status = _leave(folder, tree)
    return status


def _inside(spec: dict[str, Any], edited: Path) -> dict[str, Any]:
    """Return the program's entry with the copy in the workspace's place, and on it what the copy has not."""
    entry: dict[str, Any] = spec["entry"]
    root = spec["root"]
    binds = [[str(edited), root, True]]
    for source, target, writable in entry["confine"]["binds"]:
        within = target.startswith(root + "/")
        place = edited / target.removeprefix(root + "/")
        if within and not writable and os.path.lexists(place):
            continue  # the copy has it, and there it may be changed
        if within and os.path.isdir(source):
            place.mkdir(parents=True, exist_ok=True)
        binds.append([source, target, writable])
    if not os.path.isdir(edited / os.path.relpath(entry["cwd"], root)) and entry["cwd"].startswith(root + "/"):
        raise OSError(f"the workdir {entry['cwd']} holds no file that git knows, so the copy has none")
    return {**entry, "confine": {**entry["confine"], "binds": binds, "empty": [], "base": "", "with_parent": True}}


def _leave(folder: Path, tree: Path) -> int:
    """Leave what was changed as a proposal; return the exit status of the run."""
    refused = edits.refused(tree / _BASE, tree / _EDITED)
    if refused:
        (folder / "proposal.json").write_text(json.dumps({"refused": refused[:20]}))
        sys.stderr.write(f"these changes may not be proposed: {'; '.join(refused[:5])}\n")
        return 1 << 8
    patch, files = git.difference(_BASE, _EDITED, tree)
    if len(patch) > _MOST_PATCH:
        sys.stderr.write(f"its changes are {len(patch) >> 20} MiB; a proposal may have {_MOST_PATCH >> 20}\n")
        return 1 << 8
    if patch:
        (folder / "proposal.patch").write_bytes(patch)
        found = [{"path": name, "added": added, "removed": removed} for name, added, removed in files]
        (folder / "proposal.json").write_text(json.dumps({"files": found}))
    return 0
