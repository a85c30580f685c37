"""The folders of runs: what a run printed, its result line and its payload."""

from __future__ import annotations

import contextlib
import json
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from routinectl.core import legible
from routinectl.core.event import AS_JSON
from routinectl.files import atomic, regular
from routinectl.files.layout import Layout

_TAIL_BYTES = 4096
_PART_BYTES = 1024 * 1024
_MOST_BYTES = 256 * 1024 * 1024  # of a file that is taken whole: more than any that a run's keeper or host leaves
_LINE = 500  # characters of a summary line that are kept


def make(layout: Layout, routine_id: str, run_id: str) -> Path:
    """Create the folder of a run; it may exist already (it was prepared, and then not used)."""
    folder = layout.run(routine_id, run_id)
    try:
        os.mkdir(folder, 0o700)
    except FileNotFoundError:
        os.makedirs(folder, 0o700, exist_ok=True)
    except FileExistsError:
        return folder
    return folder


def make_own(folder: Path) -> Path:
    """Create the only part of a run's folder that a confined run may write: its result is in there."""
    path = folder / "own"
    path.mkdir(mode=0o700, exist_ok=True)
    return path


def write_payload(folder: Path, payload: Any) -> Path:
    """Write a run's input beside its output and return where."""
    path = folder / "payload.json"
    path.write_bytes(json.dumps(payload, ensure_ascii=False, indent=1).encode("utf-8", AS_JSON) + b"\n")
    return path


def payload(folder: Path) -> Any:
    """Return the input that a run was given, None when it had none (or its folder is gone)."""
    try:
        return json.loads(regular.read(folder / "payload.json", _MOST_BYTES))
    except (OSError, ValueError, RecursionError):
        return None


def has_started(layout: Layout, routine_id: str, run_id: str) -> bool:
    """Say whether the keeper ever began to start this run: it makes `out` first, and never twice."""
    folder = layout.run(routine_id, run_id)
    return os.path.lexists(folder / "out")


def summary(folder: Path) -> tuple[str, bool]:
    """Return the one line a run is remembered by, and whether it asked to be quiet.

    The line is the first of the file ROUTINE_RESULT, else the last of the output. A run whose result file is there and
    empty has nothing to report.
    """
    confined = os.path.isdir(folder / "own")
    try:
        data = _head(folder / "own" / "result" if confined else folder / "result")
    except OSError:
        return last_line(folder / "out"), False
    lines = data.decode(errors="replace").strip().splitlines()
    return (_clean(lines[0]), False) if lines else ("", True)


def _head(path: Path) -> bytes:
    """Return how a file begins that a run has written: not where a link of its leads, and not a pipe that never ends. Raises OSError."""
    fd = regular.opened(path, links=False)
    try:
        return os.read(fd, _TAIL_BYTES)
    finally:
        os.close(fd)


def deliver(root: Path, source: Path, path: str, *, overwrite: bool) -> None:
    """Copy a run's output to where its definition wants it, never through a link below the workspace. Raises OSError."""
    folder = os.path.dirname(path)
    os.makedirs(folder, exist_ok=True)
    real = os.path.realpath(root) + folder[len(str(root)) :] if folder.startswith(str(root)) else folder
    if os.path.realpath(folder) != real:
        raise OSError(f"{folder} leads elsewhere")
    if os.path.lexists(path) and not overwrite:
        raise FileExistsError(path)
    atomic.write(Path(path), regular.read(source, _MOST_BYTES))


def left(folder: Path, name: str) -> dict[str, Any]:
    """Return an object that the host of a run has left in its folder as JSON, empty where there is none."""
    try:
        found = json.loads(regular.read(folder / name, _MOST_BYTES))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def is_name(run: str) -> bool:
    """Say whether a text may be the name of a run's folder."""
    return re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.-]{0,80}", run, re.ASCII) is not None


def last_line(path: Path) -> str:
    """Return the last line of an output, without control characters; empty when there is none."""
    try:
        data = regular.part(path, -_TAIL_BYTES, _TAIL_BYTES)
    except OSError:
        return ""
    lines = data.decode(errors="replace").strip().splitlines()
    return _clean(lines[-1]) if lines else ""


def _clean(line: str) -> str:
    """Return a line without control characters, so that no output can play tricks on the terminal that shows it."""
    return " ".join(legible.line(line.replace("\0", "")).split())[:_LINE]


def text(path: Path, most: int) -> str:
    """Return the last part of an output as text."""
    try:
        return regular.part(path, -most, most).decode(errors="replace")
    except OSError:
        return ""


def state_of(path: str, *, follow_links: bool) -> tuple[int, float] | None:
    """Return the size of a file and when it was last changed (seconds since 1970), None when it is not there."""
    try:
        found = os.stat(path, follow_symlinks=follow_links)
    except OSError:
        return None
    return None if stat.S_ISLNK(found.st_mode) else (found.st_size, found.st_mtime)


def follow(path: Path, offset: int) -> bytes:
    """Return what was added to an output since an offset, a part of it at a time."""
    try:
        return regular.part(path, offset, _PART_BYTES)
    except FileNotFoundError:
        return b""


def kept(layout: Layout, routine_id: str) -> list[str]:
    """Return the run ids of a routine that still have a folder, oldest first."""
    try:
        names = os.listdir(layout.runs / routine_id)
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted(name for name in names if not name.startswith("."))


def routines(layout: Layout) -> Iterator[str]:
    """Yield the ids that have run folders."""
    with contextlib.suppress(FileNotFoundError):
        yield from sorted(os.listdir(layout.runs))


def size_of(layout: Layout, routine_id: str, run_id: str) -> int:
    """Return the bytes a run's folder takes."""
    total = 0
    with contextlib.suppress(OSError):
        for entry in os.scandir(layout.run(routine_id, run_id)):
            total += entry.stat(follow_symlinks=False).st_blocks * 512
    return total


def aside(layout: Layout) -> list[str]:
    """Return the runs of which something was moved aside, as ROUTINE/RUN."""
    top = layout.private / "set-aside"
    return sorted(str(path.relative_to(top)) for path in top.glob("*/*"))


def output_size(folder: Path) -> int:
    """Return the bytes that are kept of a run's output."""
    with contextlib.suppress(OSError):
        return os.stat(folder / "out").st_blocks * 512  # what was cut out of its middle takes none
    return 0


def tree_size(folder: Path) -> int:
    """Return the bytes that the files below a folder take, 0 when there is none."""
    total = 0
    for path, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                total += os.lstat(os.path.join(path, name)).st_blocks * 512
    return total


def remove(layout: Layout, routine_id: str, run_id: str) -> None:
    """Remove a run's folder."""
    remove_tree(layout.run(routine_id, run_id))


def remove_tree(folder: Path) -> None:
    """Remove a folder and everything below it, as far as that can be done."""
    import shutil

    shutil.rmtree(folder, ignore_errors=True)


def made(folder: Path) -> list[tuple[str, float]]:
    """Return the names in a folder with when each was last changed (seconds since 1970)."""
    with contextlib.suppress(OSError):
        return [(entry.name, entry.stat().st_mtime) for entry in os.scandir(folder)]
    return []
