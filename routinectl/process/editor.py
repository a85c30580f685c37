"""Running a person's editor."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from pathlib import Path


def command() -> str:
    """Return what a person wants to edit with ($VISUAL, $EDITOR), else an editor that is there, or an empty text."""
    wanted = os.environ.get("VISUAL") or os.environ.get("EDITOR")
    return wanted or next((name for name in ("sensible-editor", "nano", "vim", "vi") if shutil.which(name)), "")


def run(words: str, path: Path) -> int:
    """Open a file with an editor (its words as in a shell) on this terminal; return its exit code, 127 when it is not there."""
    try:
        return subprocess.run([*shlex.split(words), str(path)], check=False).returncode
    except OSError:
        return 127
