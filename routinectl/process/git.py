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


def commit(root: Path, paths: list[Path], message: str) -> str:
    """Commit exactly these files; return what git said against it, empty when it worked or they are committed as they are."""
    names = [str(path) for path in paths]
    added = _git(root, "add", "--", *names)
    changed = _git(root, "status", "--porcelain", "--untracked-files=all", "--", *names)
    if added.returncode == changed.returncode == 0 and not changed.stdout:
        return ""
    done = _git(root, "commit", "--quiet", "--only", "-m", message, "--", *names)
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


def listed(root: Path) -> list[str] | None:
    """Return the files below `root` that are tracked, or untracked and not ignored; None where it is in no work tree."""
    done = subprocess.run(
        ["git", *_SAFE, "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", "."], cwd=root, env=_environment(),
        capture_output=True, check=False)  # fmt: skip
    return None if done.returncode else sorted({os.fsdecode(name) for name in done.stdout.split(b"\0") if name})


def difference(before: str, after: str, folder: Path) -> tuple[bytes, list[tuple[str, int | None, int | None]]]:
    """Return what changed between two folders in `folder` as a patch, and each file with its added and removed lines (None: binary).

    No repository takes part, and no configuration: what is compared was written by a run.
    """
    words = ["git", *_SAFE, "diff", "--no-index", "--no-ext-diff", "--no-textconv", "--no-renames", "--no-color"]
    env = _environment() | {
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_CEILING_DIRECTORIES": str(folder),
    }
    text, counted = (
        subprocess.run([*words, *more, before, after], cwd=folder, env=env, capture_output=True, check=False).stdout
        for more in (["--binary", "--src-prefix=", "--dst-prefix="], ["--numstat", "-z"]))  # fmt: skip
    return text, _counted(counted, before, after)


def _counted(data: bytes, before: str, after: str) -> list[tuple[str, int | None, int | None]]:
    """Read `--numstat -z` of two folders: counts, then both names, one of which may be /dev/null."""
    found = []
    parts = data.split(b"\0")
    for index in range(0, len(parts) - 2, 3):
        added, removed, _ = os.fsdecode(parts[index]).split("\t")
        names = [os.fsdecode(part) for part in parts[index + 1 : index + 3]]
        name = next(name.removeprefix(top + "/") for name, top in zip(names, (before, after), strict=True) if name != os.devnull)
        found.append((name, None if added == "-" else int(added), None if removed == "-" else int(removed)))
    return found


def apply(root: Path, patch: bytes, *, check: bool) -> str:
    """Apply a patch of `difference` to the files below `root`, or only see whether that can be done; return what git says against it."""
    done = _apply(root, patch, *(["--check"] if check else []))
    return "" if done.returncode == 0 else done.stderr.decode(errors="replace").strip()


def touched(root: Path, patch: bytes) -> list[str]:
    """Return the files that `apply` would change, as git itself reads the patch."""
    done = _apply(root, patch, "--numstat", "-z")
    return sorted(os.fsdecode(line.split(b"\t", 2)[2]) for line in done.stdout.split(b"\0") if line)


def _apply(root: Path, patch: bytes, *options: str) -> subprocess.CompletedProcess[bytes]:
    words = ["git", *_SAFE, "apply", "-p1", "--whitespace=nowarn", *options, "-"]
    env = _environment() | {"GIT_CEILING_DIRECTORIES": str(root.parent)}
    return subprocess.run(words, cwd=root, env=env, input=patch, capture_output=True, check=False)


def _environment() -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if not key.startswith("GIT_")} | {"LC_ALL": "C.UTF-8"}


def _git(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["git", *_SAFE, *arguments], cwd=folder, env=_environment(), capture_output=True, text=True, check=False)
