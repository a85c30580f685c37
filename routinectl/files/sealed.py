"""Sealed copies: the very bytes that were hashed, for runs that only what was approved may act with.

A copy stands for a routine's folder, under a name made of its content, and so deep below the workspace that `../..` leads
to its root as it does from the folder itself. Files that the action names elsewhere lie in it under `.named`, as they lie
below the root. It is made once for all runs of that content, its bytes are hashed again before each of them, and upkeep
removes it when no approval and no run needs it. The rest of the folder (its `memory/` and `out/` among it) a run that is
not confined finds by links; for a confined one it is mounted beside the copies (`process/view.py`).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from routinectl.files.content import Contents, Part, files_in, is_content
from routinectl.files.layout import Layout
from routinectl.files.lock import hold

NAMED, _OUTSIDE = ".named", ".outside"  # files elsewhere; those of them that are in no workspace
_NOT_LINKED = frozenset({".git", NAMED})  # a copy is no repository
_MOST_LINKS = 1000
_CLOSED, _OPEN = 0o555, 0o755


class ChangedError(Exception):
    """The files are not those that the run was claimed with."""


@dataclass(frozen=True, slots=True)
class Sealed:
    """A sealed copy: `place` is that of the routine's folder, `copies` says for each file outside of it where its copy is."""

    place: str
    root: str
    folder: str
    copies: dict[str, str]

    @property
    def modules(self) -> str:
        """Where the copies of files elsewhere lie as they do below the root of the workspace."""
        return f"{self.place}/{NAMED}"

    def where(self, path: str) -> str:
        """Return where the sealed bytes of an absolute path are; the path itself where it is none of them."""
        if path == self.folder or path.startswith(f"{self.folder}/"):
            return self.place + path[len(self.folder) :]
        return self.copies.get(path, path)


def seal(contents: Contents, routine_id: str, definition: str, named: Sequence[str], content: str, *, linked: bool) -> Sealed:
    """Return a sealed copy of what a routine acts with, whose fingerprint is `content`; `linked` for one that is not confined.

    Raises ChangedError where the files have another one by now, OSError.
    """
    layout = contents.layout
    parts = contents.parts(routine_id, named) or ()
    root, folder = str(layout.root), str(layout.folder(routine_id))
    outside = [part for part in parts if not part.path.startswith(f"{folder}/")]
    place = str(layout.sealed(routine_id, content))
    copies = {part.path: f"{place}/{NAMED}/{_below(part.path, root, number)}" for number, part in enumerate(outside) if not part.by_state}
    found = Sealed(place, root, folder, copies)
    elsewhere = [Part(part.name, found.where(part.path), part.by_state) for part in outside]
    if not _is(contents, found, elsewhere, definition, content):
        with hold(layout.lock("sealing")):
            if not _is(contents, found, elsewhere, definition, content):  # else another command has made it meanwhile
                _make(layout, found, parts)
        if not _is(contents, found, elsewhere, definition, content):
            remove(Path(place))
            raise ChangedError
    if linked:
        os.makedirs(f"{folder}/out", exist_ok=True)
        _link_the_rest(found)
    return found


def _is(contents: Contents, found: Sealed, elsewhere: Sequence[Part], definition: str, content: str) -> bool:
    """Say whether there is a copy, and it is that of `content`, by everything that lies in it.

    An empty folder is in no fingerprint, and neither is one that is not there: so each of them is looked for.
    """
    if not all(os.path.isdir(path) and not os.path.islink(path) for path in (found.place + below for below in _folders_of(found.folder))):
        return False
    inside = files_in(found.place)
    return inside is not None and contents.fingerprint(definition, [*inside, *elsewhere]) == content


def _folders_of(folder: str) -> Iterator[str]:
    """Yield a routine's folder (as nothing) and those below that its copy has too, empty ones among them: a link or a run may lead there."""
    for path, folders, _ in os.walk(folder):
        yield path[len(folder) :]
        folders[:] = [name for name in folders if is_content(name) and not os.path.islink(f"{path}/{name}")]


def _below(path: str, root: str, number: int) -> str:
    return path[len(root) + 1 :] if path.startswith(f"{root}/") else f"{_OUTSIDE}/{number}/{os.path.basename(path)}"


def _make(layout: Layout, found: Sealed, parts: Iterable[Part]) -> None:
    """Copy these files into a new place.

    What was there, and is not what it should be, gives way: it keeps its files for who works in it, until upkeep.
    """
    import shutil

    place = Path(found.place)
    fresh, old = layout.tmp / f"{place.name}-{os.getpid()}", place.with_name(f"{place.name}-{os.urandom(4).hex()}")
    remove(fresh)
    for below in _folders_of(found.folder):
        os.makedirs(f"{fresh}{below}")
    for part in parts:
        if part.by_state:
            continue
        target = fresh / found.where(part.path)[len(found.place) + 1 :]
        target.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):  # then the fingerprint is another
            if os.path.isdir(part.path):
                os.symlink(os.readlink(part.path), target)
            else:
                shutil.copyfile(part.path, target)
                target.chmod(os.stat(part.path).st_mode & 0o777)  # no set-id bits: nobody approved a user
    with contextlib.suppress(FileNotFoundError):
        place.chmod(_OPEN)  # a closed folder cannot be moved
        place.rename(old)
    fresh.rename(place)
    for path, _, _ in os.walk(place):
        os.chmod(path, _CLOSED)


def _link_the_rest(found: Sealed) -> None:
    """Put links to everything else beside the copies, so that a program finds there what lies beside the files themselves."""
    for original, copy in _folders(found):
        with contextlib.suppress(FileNotFoundError):
            there = set(os.listdir(copy))
            names = [name for name in os.listdir(original) if name not in there and name not in _NOT_LINKED]
            if original == found.folder or original.startswith(f"{found.folder}/"):
                names = [name for name in names if not is_content(name)]  # what is neither a copy nor this came later
            if names and len(names) <= _MOST_LINKS:
                with _opened(copy):
                    for name in names:
                        with contextlib.suppress(FileExistsError):
                            os.symlink(f"{original}/{name}", f"{copy}/{name}")


def _folders(found: Sealed) -> Iterator[tuple[str, str]]:
    """Yield every folder that has a copy, and the copy: the routine's own and those below, and those that hold a file elsewhere."""
    for path, folders, _ in os.walk(found.place):
        folders[:] = [name for name in folders if name != NAMED]
        yield found.folder + path[len(found.place) :], path
    for path, copy in found.copies.items():
        pair = os.path.dirname(path), os.path.dirname(copy)
        yield pair
        while os.path.dirname(pair[0]).startswith(f"{found.root}/"):  # a package's folder has others above it
            pair = os.path.dirname(pair[0]), os.path.dirname(pair[1])
            yield pair


def difference(place: Path, root: Path, routine_id: str) -> str:
    """Return a file that is not the same in a sealed copy and in another copy of the workspace, empty where there is none.

    One that the other copy lacks is no difference: a run that works there acts without it.
    """
    here = {f"routines/{routine_id}/{part.name}": part.path for part in files_in(str(place)) or ()}
    there = {f"routines/{routine_id}/{part.name}": part.path for part in files_in(f"{root}/routines/{routine_id}") or ()}
    for path, folders, names in os.walk(place / NAMED):
        folders[:] = [name for name in folders if name != _OUTSIDE]
        here |= {os.path.relpath(f"{path}/{name}", place / NAMED): f"{path}/{name}" for name in names}
    there |= {name: f"{root}/{name}" for name in here if os.path.lexists(root / name)}
    return next((name for name, path in sorted(there.items()) if name not in here or not _same(here[name], path)), "")


def _same(one: str, other: str) -> bool:
    import filecmp

    if os.path.isdir(one) or os.path.isdir(other):
        return os.path.islink(one) and os.path.islink(other) and os.readlink(one) == os.readlink(other)
    return filecmp.cmp(one, other, shallow=False)


def rest_of(folder: str) -> list[str]:
    """Return the paths in a routine's folder that are not sealed with it and a run may still see: its memory, its results, its ledger."""
    with contextlib.suppress(OSError):
        return [entry.path for entry in os.scandir(folder) if not is_content(entry.name) and not entry.is_symlink()]
    return []


@contextlib.contextmanager
def _opened(folder: str) -> Iterator[None]:
    os.chmod(folder, _OPEN)
    try:
        yield
    finally:
        os.chmod(folder, _CLOSED)


def remove(place: Path) -> None:
    """Remove a sealed copy, whose folders are closed even to their owner."""
    import shutil

    for path, _, _ in os.walk(place):
        with contextlib.suppress(OSError):
            os.chmod(path, _OPEN)
    shutil.rmtree(place, ignore_errors=True)
