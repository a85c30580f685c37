"""Where everything of a workspace lies. Every path of routinectl is made here.

The paths that are made for every run are made from one text: joining Paths part by part is felt in a burst.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from routinectl.errors import NotFoundError

CONFIG = "routinectl.yaml"
DEFINITION = "ROUTINE.yaml"
SEALED = "sealed."  # begins the names of sealed copies


def is_name(text: str) -> bool:
    """Say whether a text names a thing in a folder, and nowhere else."""
    return text not in ("", ".", "..") and "/" not in text and "\0" not in text


def _name(text: str) -> str:
    """Return the name of a routine, an agent, a run. Raises NotFoundError for what would be a path that leads elsewhere."""
    if not is_name(text):
        raise NotFoundError(f"{text!r} is no name of anything here: it would be a path", "routinectl list")
    return text


@dataclass(frozen=True, slots=True)
class Layout:
    """The paths of one workspace; `root` is absolute. None that is made of a name leads out of its folder."""

    root: Path

    @property
    def config(self) -> Path:
        """The settings of the workspace."""
        return self.root / CONFIG

    @property
    def routines(self) -> Path:
        """The folder of all routines."""
        return self.root / "routines"

    @property
    def private(self) -> Path:
        """What belongs to routinectl alone."""
        return self.root / ".routinectl"

    @property
    def journal(self) -> Path:
        """The folder of the journal's segments: the truth."""
        return self.private / "journal"

    @property
    def checkpoint(self) -> Path:
        """The folded journal up to a position; may be deleted while the whole journal, or `base`, is there."""
        return self.private / "checkpoint"

    @property
    def base(self) -> Path:
        """A second checkpoint, from when journal segments were dropped: what they said is in here too."""
        return self.private / "checkpoint.base"

    @property
    def cache(self) -> Path:
        """What may always be deleted."""
        return self.private / "cache"

    @property
    def runs(self) -> Path:
        """The folders of runs."""
        return self.private / "runs"

    @property
    def locks(self) -> Path:
        """Lock files, never unlinked."""
        return self.private / "locks"

    @property
    def live(self) -> Path:
        """Sockets, the wake pipe and the keepers' logs."""
        return self.private / "run"

    @property
    def trees(self) -> Path:
        """Files of other commits, for runs that are replayed as they were."""
        return self.private / "trees"

    def proposal(self, proposal_id: str) -> Path:
        """The patch of a proposal of edits; kept, whatever becomes of it."""
        return self.private / "proposals" / f"{_name(proposal_id)}.patch"

    @property
    def tmp(self) -> Path:
        """Files on their way to another place."""
        return self.private / "tmp"

    @property
    def agents(self) -> Path:
        """The folder of all saved agents."""
        return self.root / "agents"

    def agent(self, name: str) -> Path:
        """The file of a saved agent; skills and whatever else it needs lie beside it."""
        return self.root / "agents" / _name(name) / "AGENT.md"

    @property
    def inbox(self) -> Path:
        """The spool of messages: a folder for each channel, a file for each message."""
        return self.root / "inbox"

    @property
    def wake(self) -> Path:
        """The pipe that wakes a serve."""
        return self.live / "wake"

    @property
    def ability(self) -> Path:
        """What the serve that runs said it can do, with its process."""
        return self.live / "ability.json"

    def folder(self, routine_id: str) -> Path:
        """The folder of a routine."""
        return Path(f"{self.root}/routines/{_name(routine_id)}")

    def leads_out(self, routine_id: str) -> bool:
        """Say whether the folder of a routine is a link to another place than this workspace: nothing is written there."""
        folder = self.folder(routine_id)
        return os.path.islink(folder) and not os.path.realpath(folder).startswith(os.path.realpath(self.root) + "/")

    def definition(self, routine_id: str) -> Path:
        """The definition of a routine."""
        return Path(f"{self.root}/routines/{_name(routine_id)}/{DEFINITION}")

    def resolve(self, routine_id: str, text: str) -> str:
        """Return the absolute path of a path in a definition: relative ones start at the routine's folder, `workspace:` ones at the root."""
        if text.startswith("workspace:"):
            return os.path.normpath(f"{self.root}/{text.removeprefix('workspace:')}")
        return os.path.normpath(os.path.join(self.folder(routine_id), text))

    def run(self, routine_id: str, run_id: str) -> Path:
        """The folder of one run."""
        return Path(f"{self.root}/.routinectl/runs/{_name(routine_id)}/{_name(run_id)}")

    def set_aside(self, routine_id: str, run_id: str) -> Path:
        """Where what a run wrote is moved to when it may not be let out; kept until a person removes it."""
        return self.private / "set-aside" / _name(routine_id) / _name(run_id)

    def sealed(self, routine_id: str, content: str) -> Path:
        """The sealed copy of what a routine acts with; a dot cannot be part of an id."""
        return Path(f"{self.root}/.routinectl/{SEALED}{_name(routine_id)}.{content[:32]}")

    def lock(self, name: str) -> Path:
        """A lock file."""
        return Path(f"{self.root}/.routinectl/locks/{name}.lock")

    def lease(self, routine_id: str, number: int) -> Path:
        """A lease file; a dot cannot be part of an id, so leases never meet other locks."""
        return Path(f"{self.root}/.routinectl/locks/{_name(routine_id)}.{number}.lock")

    def make(self) -> None:
        """Create the private folders, into which only the owner may look, and that of the routines."""
        os.makedirs(self.routines, exist_ok=True)
        os.makedirs(self.private, mode=0o700, exist_ok=True)
        for folder in (self.journal, self.cache, self.runs, self.locks, self.live, self.tmp):
            os.makedirs(folder, mode=0o700, exist_ok=True)
