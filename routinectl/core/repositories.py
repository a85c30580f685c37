"""What makes a folder a repository for the programs that run what its configuration says, by the names in it.

git takes a folder for its own where there is `.git` (folder, file or link), or where it is what such a folder is: `HEAD` beside
`objects` and `refs`, or beside `commondir`, which says that these are elsewhere. Mercurial, Sapling, Jujutsu, Pijul and Darcs are as trusting. Case
does not count: on some file systems it does not.
"""

from __future__ import annotations

NAMES = (".git", ".hg", ".sl", ".jj", ".pijul", "_darcs")


def signs(names: set[str]) -> list[str]:
    """Return which of the names in a folder make it a repository."""
    low = {name.lower(): name for name in names}
    return [*(low[name] for name in NAMES if name in low), *([low["head"]] if is_bare(names) else [])]


def is_bare(names: set[str]) -> bool:
    """Say whether the names in a folder make it a repository itself."""
    low = {name.lower() for name in names}
    return "head" in low and ("commondir" in low or {"objects", "refs"} <= low)
