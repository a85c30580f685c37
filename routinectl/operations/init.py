"""Making a workspace."""

from __future__ import annotations

import os
import shutil
import socket
from dataclasses import dataclass, field
from pathlib import Path

from routinectl.core.schedule import zone
from routinectl.errors import UsageError
from routinectl.files import atomic, regular, schemas
from routinectl.files.layout import Layout
from routinectl.process import git, repository

IGNORED = """\
# routinectl: what is not for git
/.routinectl/
/secrets/
/inbox/
/routines/*/state.json
/routines/*/history.jsonl
/routines/*/memory/
/agents/*/memory/
"""
_CONFIG = """\
# yaml-language-server: $schema=.routinectl/workspace.schema.json
schema: 1
timezone: {timezone}
# Only these machines serve this workspace: a second clone elsewhere would fire everything twice.
serve_on: [{host}]
"""


@dataclass(slots=True)
class Made:
    """What init made, and what was there already."""

    root: Path
    timezone: str
    made: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)


def init(root: Path, *, timezone: str | None = None, use_git: bool = True) -> Made:
    """Make a workspace of a folder; what is there already stays as it is. Raises UsageError, ScheduleError, OSError."""
    root = root.expanduser().absolute()
    if root.exists() and not root.is_dir():
        raise UsageError(f"{root} is not a folder", "routinectl init another-folder")
    name = timezone or local_zone()
    zone.load(name)
    made = Made(root, name)
    layout = Layout(root)
    layout.routines.mkdir(parents=True, exist_ok=True)
    layout.make()
    config = _CONFIG.format(timezone=name, host=_quoted(socket.gethostname()))
    _write(made, layout.config, config)
    if (root / "secrets").exists():
        made.kept.append("secrets/")
    else:
        (root / "secrets").mkdir(mode=0o700)
        made.made.append("secrets/")
    write_schemas(layout)
    if use_git:
        _git(made, layout)
    return made


def write_schemas(layout: Layout) -> None:
    """Put the schemas where editors find them, by the first line of every definition."""
    for name in ("routine", "workspace"):
        atomic.write(layout.private / f"{name}.schema.json", schemas.path_of(name).read_bytes(), durable=False)


def local_zone() -> str:
    """Return the IANA name of this machine's zone, UTC when it cannot be told."""
    candidates = [os.environ.get("TZ", "").removeprefix(":")]
    try:
        candidates.append(Path("/etc/timezone").read_text().strip())
    except OSError:
        candidates.append("")
    link = os.path.realpath("/etc/localtime")
    if "/zoneinfo/" in link:
        candidates.append(link.partition("/zoneinfo/")[2])
    for found in candidates:
        name = "UTC" if found in ("Etc/UTC", "UCT", "Etc/UCT", "Zulu", "Etc/Zulu") else found
        if name and _loads(name):
            return name
    return "UTC"


def _loads(name: str) -> bool:
    from routinectl.errors import ScheduleError

    try:
        zone.load(name)
    except ScheduleError:
        return False
    return True


def _quoted(host: str) -> str:
    return host if host and host[0].isalpha() and host.replace("-", "").replace(".", "").isalnum() else f'"{host}"'


def _write(made: Made, path: Path, text: str) -> None:
    name = path.name
    if path.exists():
        made.kept.append(name)
        return
    atomic.write(path, text.encode())
    made.made.append(name)


def _git(made: Made, layout: Layout) -> None:
    ignore = layout.root / ".gitignore"
    try:
        present = regular.read(ignore, 1 << 20).decode(errors="surrogateescape")
    except FileNotFoundError:
        present = ""
    missing = [line for line in IGNORED.splitlines() if line not in present.splitlines()]
    if missing:
        joint = "" if not present or present.endswith("\n") else "\n"
        atomic.write(ignore, (present + joint + "\n".join(missing) + "\n").encode(errors="surrogateescape"))
        made.made.append(".gitignore")
    else:
        made.kept.append(".gitignore")
    if shutil.which("git") is None:
        made.kept.append("no git: it is not installed")
        return
    if repository.find(layout.root) is None:
        if git.init(layout.root):
            made.made.append(".git/")
        else:
            made.kept.append(".git: no repository that routinectl would use")
    # A repository of its own: `git clean -fdx` steps over it, and so spares the journal.
    git.init(layout.private)
