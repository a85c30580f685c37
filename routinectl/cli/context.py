"""What the command line was started with: the workspace asked for, and how output may look."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass

from routinectl.errors import DefinitionError
from routinectl.files import config
from routinectl.files.layout import Layout


@dataclass(slots=True)
class Context:
    """Global options. One per process: `current`."""

    workspace: str | None = None


current = Context()


def layout() -> Layout:
    """Return the workspace that this command works on. Raises DefinitionError when there is none."""
    return config.find(current.workspace)


def me() -> str:
    """Return who is asking, as it is written into events."""
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def is_terminal() -> bool:
    """Say whether a person can be asked something."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def colours(stream: object = None) -> bool:
    """Say whether output may be coloured: on a terminal, and NO_COLOR is not set."""
    target = stream if stream is not None else sys.stdout
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb" and bool(getattr(target, "isatty", bool)())


def layout_or_none() -> Layout | None:
    """Return the workspace, or None where a command can do without one."""
    try:
        return layout()
    except DefinitionError:
        if current.workspace:
            raise
        return None
