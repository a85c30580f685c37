"""What a confined run sees and may write, as paths of this machine: the value that `process/confine.py` puts in force."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from routinectl.core import permissions, repositories
from routinectl.core.routine import Routine
from routinectl.files import etc
from routinectl.files.layout import Layout
from routinectl.files.sealed import Sealed, rest_of
from routinectl.process import trial, view

HOME = "/tmp"  # noqa: S108  # of a confined run: empty, its own, and gone with it
INSIDE = "/run/routinectl"  # where a confined run finds what is its own, and nobody else's
_TMP = 1 << 30
_PROCESSES, _FILE = 512, 10 << 30
Spec = dict[str, Any]


class CannotConfine(Exception):
    """A run cannot be confined as its definition asks; the text says why."""


def limits(routine: Routine) -> dict[str, int]:
    """Return the limits of each process of a run: what its budget says, and for a confined one what keeps the machine well."""
    found = {}
    if routine.cpu is not None:
        found["cpu"] = max(round(routine.cpu.total_seconds()), 1)
    if routine.memory is not None:
        found["memory"] = routine.memory
    if routine.permissions.confined and routine.action.prompt is None:
        found |= {"file": _FILE}
        found["processes"] = _PROCESSES  # counted in its own namespace
    return found


def spec(layout: Layout, routine: Routine, files: Iterable[str], cwd: str, program: str) -> Spec:
    """Return how to confine a routine's runs; `files` are those that its action names. Raises CannotConfine."""
    found = trial.best()
    if not found.level:
        raise CannotConfine(
            f"it is {routine.permissions.level}, and nothing here can keep it so ({found.why_not}); routinectl doctor says what to do"
        )
    granted = routine.permissions
    root, real = str(layout.root), os.path.realpath(layout.root)
    links, system = trial.system()
    system = [*system, [os.path.realpath(etc.folder(layout)), "/etc", view.PLAIN, ""]]
    system += [[os.path.realpath(path), path, view.PLAIN, ""] for path in etc.LIVE if os.path.exists(path)]
    programs = [program, *_interpreter(layout, routine)]
    _refuse(layout, routine.id, cwd, "action.workdir", writing=False)
    writing = dict(writable(layout, routine))
    named = [path for path in files if not _why_not(layout, routine.id, path, writing=False)  # naming a secret does not show it,
             and not _covered(path, writing)]  # nor does naming what may be written make it read-only  # fmt: skip
    readable = [str(layout.folder(routine.id)), cwd, *named, *programs]
    given = [_granted(layout, routine, text, writing=False) for text in granted.read]
    named_alone = [path for path in given if permissions.is_private(os.path.relpath(path, root))]  # it is in no other grant
    binds = {path: (view.PLAIN if path in programs else view.READ, "") for path in [*_outermost([*readable, *given]), *named_alone]
             if not _covered(path, ["/usr", *(link for link, _ in links)])}  # fmt: skip
    binds |= {path: (how, str(number)) for number, (path, how) in enumerate(writing.items())}
    ordered = sorted(binds.items(), key=lambda item: (item[0].count("/"), item[0]))
    mine = [[os.path.realpath(path) if path in programs else _source(path, root), path, *how] for path, how in ordered]
    outermost = min([root, *(path for path in binds if _covered(root, [path]))], key=len)
    return {
        "network": granted.network, "links": links, "hidden": [_hidden(layout), list(repositories.NAMES)], "makes": real,
        "binds": [*system, *mine], "hosted": routine.hosted, "base": outermost if root.startswith(f"{HOME}/") else "", "tmp": routine.memory or _TMP,
    }  # fmt: skip


def with_sealed(given: Spec, copy: Sealed) -> Spec:
    """Return a confinement in which a run sees the sealed bytes, where it would have seen the files as they are."""
    targets = {bind[1] for bind in given["binds"]}
    rest = [[_source(path, copy.root), path, view.READ, ""] for path in rest_of(copy.folder)
            if path not in targets and os.path.basename(path).lower() not in repositories.NAMES]  # fmt: skip
    instead = {path: [os.path.realpath(place), path, view.PLAIN, ""] for path, place in copy.copies.items() if _covered(path, targets)}
    instead[copy.folder] = [os.path.realpath(copy.place), copy.folder, view.PLAIN, ""]
    binds = [*(bind for bind in given["binds"] if bind[1] not in instead), *instead.values(), *rest]
    return {**given, "binds": sorted(binds, key=lambda bind: str(bind[1]).count("/"))}


def needs_layers(layout: Layout, routine: Routine) -> bool:
    """Say whether a run may write over what a person has."""
    try:
        return routine.permissions.confined and any(how == view.KEPT for _, how in writable(layout, routine))
    except CannotConfine:
        return False


def writable(layout: Layout, routine: Routine) -> Iterator[tuple[str, str]]:
    """Yield what a confined run of a routine may write, and how: what only runs write as it is, what a person has in a layer of its own.

    Raises CannotConfine.
    """
    folder = layout.folder(routine.id)
    runs_alone = [str(folder / "memory"), str(folder / "out")]
    granted = [_granted(layout, routine, text, writing=True) for text in routine.permissions.write]
    for path in [runs_alone[0], *_outermost(granted)]:
        yield path, view.DIRECT if _covered(path, runs_alone) else view.KEPT


def _source(path: str, root: str) -> str:
    """Return where a path is without the links above the workspace; those inside it are refused when it is mounted."""
    if path == root or path.startswith(root + "/"):
        return os.path.realpath(root) + path[len(root) :]
    return path


def _covered(path: str, tops: Iterable[str]) -> bool:
    return any(path == top or path.startswith(top + "/") for top in tops)


def _outermost(paths: list[str]) -> list[str]:
    """Return these paths without those below another: they are there already, and what a run may write must not decide what is mounted."""
    return [path for path in dict.fromkeys(paths) if not _covered(os.path.dirname(path), paths)]


def _why_not(layout: Layout, routine_id: str, path: str, *, writing: bool) -> str:
    """Say why a path (absolute) may not be granted to a routine of this workspace, by either of the names of its root."""
    roots = dict.fromkeys([str(layout.root), os.path.realpath(layout.root)])
    return next(filter(None, (permissions.refusal(path, root, routine_id, writing=writing) for root in roots)), "")


def _refuse(layout: Layout, routine_id: str, path: str, what: str, *, writing: bool) -> None:
    """Raise CannotConfine for a path that may not be granted."""
    why = _why_not(layout, routine_id, path, writing=writing)
    if why:
        raise CannotConfine(f"{what} '{os.path.relpath(path, layout.root)}' {why}")


def refuse_all(layout: Layout, routine_id: str, paths: Iterable[str], what: str, *, writing: bool = False) -> None:
    """Raise CannotConfine for the first of these paths that a run of this routine may not be given."""
    for path in paths:
        _refuse(layout, routine_id, path, what, writing=writing)


def _granted(layout: Layout, routine: Routine, text: str, *, writing: bool) -> str:
    path = layout.resolve(routine.id, text)
    key = "write" if writing else "read"
    _refuse(layout, routine.id, path, f"permissions.{key}", writing=writing)
    is_made = writing and _covered(path, [str(layout.root)])  # at the start of a run, where it is not there
    if not is_made and not os.path.exists(path):
        raise CannotConfine(f"permissions.{key} '{text}': there is no {path}")
    return path


def _interpreter(layout: Layout, routine: Routine) -> Iterator[str]:
    """Yield what a Python function needs beside its own module: the interpreter's folders, and its package in the workspace."""
    if routine.action.kind != "python" and routine.action.job is None:
        return
    ours = Path(trial.__file__)
    yield str(ours.with_name("toolbox.py" if routine.action.job is not None else "python_entry.py"))
    if not routine.action.interpreter:
        yield from dict.fromkeys([sys.prefix, sys.base_prefix, os.path.realpath(sys.base_prefix)])
    if routine.action.job is not None:
        return
    package = f"{layout.root}/{routine.action.entrypoint.partition(':')[0].partition('.')[0]}"
    if os.path.isdir(package):
        yield package


def _hidden(layout: Layout) -> list[str]:
    """Return the places of the workspace, by either of the names of its root, that are in no grant but their own."""
    return [f"{root}/{place}" for root in dict.fromkeys([str(layout.root), os.path.realpath(layout.root)]) for place in permissions.PRIVATE]
