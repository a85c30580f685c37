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


def files_at(root: Path, revision: str, paths: tuple[str, ...]) -> dict[str, bytes] | None:
    """Return the files below some paths as a revision has them, by path from `root`; None where git knows no such revision."""
    found = _git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    if found.returncode:
        return None
    listed = _git(root, "ls-tree", "-r", "-z", found.stdout.strip(), "--", *paths).stdout.split("\0")
    blobs = [(meta.split()[2], path) for meta, _, path in (item.partition("\t") for item in listed) if meta]
    done = subprocess.run(["git", *_SAFE, "cat-file", "--batch"], cwd=root, env=_environment(), capture_output=True, check=False,
                          input="".join(f"{name}\n" for name, _ in blobs).encode())  # fmt: skip
    files: dict[str, bytes] = {}
    rest = done.stdout
    for _, path in blobs:
        head, _, rest = rest.partition(b"\n")
        size = int(head.rsplit(b" ", 1)[1])
        files[path], rest = rest[:size], rest[size + 1 :]
    return files


def export(root: Path, revision: str, target: Path) -> str:
    """Write the files of a revision below `root` into a new folder; return what went wrong, empty when nothing did."""
    import io
    import tarfile

    target.mkdir(parents=True, mode=0o700)
    done = subprocess.run(
        ["git", *_SAFE, "archive", "--format=tar", revision, "--", "."], cwd=root, env=_environment(), capture_output=True, check=False
    )
    if done.returncode:
        return done.stderr.decode(errors="replace").strip()
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        if hasattr(tarfile, "data_filter"):
            archive.extractall(target, filter="data")
        else:  # Python before 3.11.4: git writes no path that leads out, but it may write links that do
            archive.extractall(target, [item for item in archive if item.isreg() or item.isdir()])  # noqa: S202 - an archive of our own workspace, without links
    return ""


def _environment() -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if not key.startswith("GIT_")} | {"LC_ALL": "C.UTF-8"}


def _git(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["git", *_SAFE, *arguments], cwd=folder, env=_environment(), capture_output=True, text=True, check=False)
