"""The few things asked of git, always with its hooks and monitors off."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

_SAFE = ["-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null"]


def is_inside(folder: Path) -> bool:
    """Say whether a folder is in a work tree."""
    return _git(folder, "rev-parse", "--is-inside-work-tree").returncode == 0


def init(folder: Path) -> None:
    """Make an empty repository."""
    _git(folder, "init", "--quiet")


def commit(root: Path, path: Path, message: str) -> str:
    """Commit exactly one file; return what git said against it, empty when it worked."""
    added = _git(root, "add", "--", str(path))
    done = _git(root, "commit", "--quiet", "--only", "-m", message, "--", str(path))
    return "" if done.returncode == 0 else (done.stderr or done.stdout or added.stderr).strip()


def _git(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    env = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")} | {"LC_ALL": "C.UTF-8"}
    return subprocess.run(["git", *_SAFE, *arguments], cwd=folder, env=env, capture_output=True, text=True, check=False)
