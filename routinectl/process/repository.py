"""Which git repository a folder is in, and the commit it is at. Found by us, by `.git` alone; git's files are read, nothing runs.

git itself also takes any folder with a HEAD, `objects` and `refs` for a (bare) repository, wherever its files came from.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
from dataclasses import dataclass

_NAME = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_REF = re.compile(r"ref: (refs/\S+)")
_MOST_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Repository:
    """A work tree and where git keeps what belongs to it; `common` has the objects and refs that several work trees share."""

    work_tree: str
    git_dir: str
    common: str

    def owns(self, path: str) -> bool:
        """Say whether a path of it really lies in it: whoever made the repository may have put a link there that leads elsewhere."""
        real = os.path.realpath(path)
        return any(real.startswith(os.path.realpath(folder) + "/") for folder in (self.git_dir, self.common))


def find(folder: str | os.PathLike[str]) -> Repository | None:
    """Return the repository of the nearest `.git` at a folder or above it; None where there is none, or it is not one.

    A `.git` of another person is none of ours, unless the folder is theirs too.
    """
    place = os.path.realpath(folder)
    with contextlib.suppress(OSError):
        trusted = {0, os.geteuid(), os.stat(place).st_uid}
        while True:
            with contextlib.suppress(FileNotFoundError):
                entry = os.lstat(f"{place}/.git")
                found = _read(place, entry.st_mode)
                if found is not None or not stat.S_ISDIR(entry.st_mode):
                    return found if entry.st_uid in trusted else None
            if place == "/":
                return None
            place = os.path.dirname(place)
    return None


def _read(place: str, mode: int) -> Repository | None:
    """Return what a `.git` stands for: a repository, or a file that names one which names it back (a worktree, a submodule)."""
    git_dir = f"{place}/.git".replace("//", "/")
    if stat.S_ISDIR(mode):
        return Repository(place, git_dir, git_dir) if _is_one(git_dir, git_dir) else None
    named = text(git_dir).removeprefix("gitdir: ").strip() if stat.S_ISREG(mode) else ""
    if not named:
        return None
    found = os.path.realpath(os.path.join(place, named))
    above = os.path.dirname(found)
    if os.path.basename(above) == "worktrees" and os.path.realpath(text(f"{found}/gitdir").strip()) == git_dir:
        common = os.path.dirname(above)
        return Repository(place, found, common) if _is_one(found, common) else None
    trees = [re.search(r"^\s*worktree\s*=\s*(.+)$", text(f"{found}/{name}"), re.MULTILINE) for name in ("config", "config.worktree")]
    if any(item and os.path.realpath(os.path.join(found, item[1].strip().strip('"'))) == place for item in trees):
        return Repository(place, found, found) if _is_one(found, found) else None
    return None


def _is_one(git_dir: str, common: str) -> bool:
    return bool(head_of(git_dir)) and os.path.isdir(f"{common}/objects") and os.path.isdir(f"{common}/refs")


def head_of(git_dir: str) -> str:
    """Return what HEAD says: `ref: ...` or a commit; empty where it says neither."""
    said = text(f"{git_dir}/HEAD").strip()
    named = _REF.fullmatch(said)
    return said if _NAME.fullmatch(said) or (named and ".." not in named[1]) else ""


def commit(found: Repository) -> str:
    """Return the commit that HEAD names, empty before the first one."""
    said = head_of(found.git_dir)
    if not said.startswith("ref: "):
        return said
    name = said.removeprefix("ref: ")
    loose = text(f"{found.common}/{name}").strip() if found.owns(f"{found.common}/{name}") else ""
    if _NAME.fullmatch(loose):
        return loose
    packed = text(f"{found.common}/packed-refs").splitlines()
    return next((line.split(" ")[0] for line in packed if line.endswith(f" {name}") and _NAME.fullmatch(line.split(" ")[0])), "")


def text(path: str) -> str:
    """Return the text of a file of git's; empty where there is none, or it is no file: nobody waits for a pipe."""
    with contextlib.suppress(OSError):
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(fd, "rb") as file:
            if stat.S_ISREG(os.fstat(fd).st_mode):
                return file.read(_MOST_BYTES).decode(errors="replace")
    return ""
