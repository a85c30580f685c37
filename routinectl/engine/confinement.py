"""What a confined run sees and may write, as paths of this machine: the value that `process/confine.py` puts in force."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from routinectl.core import permissions
from routinectl.core.routine import Routine
from routinectl.files import etc, leavings
from routinectl.files.layout import CONFIG, DEFINITION, Layout
from routinectl.files.sealed import Sealed, rest_of
from routinectl.process import trial

HOME = "/tmp"  # noqa: S108  # of a confined run: empty, its own, and gone with it
INSIDE = "/run/routinectl"  # where a confined run finds what is its own, and nobody else's
_PROTECTED = frozenset({".git", DEFINITION, CONFIG, "AGENT.md", "state.json", "history.jsonl"})
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
    root = str(layout.root)
    links, system = trial.system()
    system = [*system, [os.path.realpath(etc.folder(layout)), "/etc", False]]
    system += [[os.path.realpath(path), path, False] for path in etc.LIVE if os.path.exists(path)]
    programs = [program, *_interpreter(layout, routine)]
    _refuse(layout, routine.id, cwd, "action.workdir", writing=False)
    named = [path for path in files if not _why_not(layout, routine.id, path, writing=False)]  # naming a secret does not show it
    readable = [str(layout.folder(routine.id)), cwd, *named, *programs]
    readable += [_granted(layout, routine, text, writing=False) for text in granted.read]
    for text in granted.write:
        _granted(layout, routine, text, writing=True)
    writing = writable(layout, routine)
    binds = {path: False for path in _outermost(readable) if not _covered(path, ["/usr", *(link for link, _ in links)])}
    binds |= dict.fromkeys(writing, True)
    try:
        spared = [*leavings.repositories(writing)]
    except leavings.TooManyError as error:
        raise CannotConfine(f"permissions.write: {error}") from None
    protected = [path for folder in writing for path in _protected_in(folder)]
    binds |= dict.fromkeys(protected, False)
    ordered = sorted(binds.items(), key=lambda item: (item[0].count("/"), item[0]))
    seen = [*(target for _, target, _ in system), *(path for path, _ in ordered)]
    empty = [path for path in _hidden(layout, routine.id, seen) if os.path.isdir(path)]
    return {
        "network": granted.network, "links": links, "empty": empty,
        "binds": [*system, *([os.path.realpath(path) if path in programs else _source(path, root), path, may_write]
                              for path, may_write in ordered)],
        "hosted": routine.hosted,
        "spared": spared,
        "base": root if root.startswith(f"{HOME}/") and not _covered(root, [path for path, _ in ordered]) else "",
        "tmp": routine.memory or _TMP,
    }  # fmt: skip


def with_sealed(given: Spec, copy: Sealed) -> Spec:
    """Return a confinement in which a run sees the sealed bytes, where it would have seen the files as they are."""
    targets = {target for _, target, _ in given["binds"]}
    rest = [[_source(path, copy.root), path, False] for path in rest_of(copy.folder) if path not in targets]
    instead = {path: [os.path.realpath(place), path, False] for path, place in copy.copies.items() if _covered(path, targets)}
    instead[copy.folder] = [os.path.realpath(copy.place), copy.folder, False]
    binds = [*(bind for bind in given["binds"] if bind[1] not in instead), *instead.values(), *rest]
    for source, target, _ in binds:
        if target.startswith(f"{copy.folder}/") and target not in instead:
            copy.keep_place(target, is_folder=os.path.isdir(source))
    return {**given, "binds": sorted(binds, key=lambda bind: str(bind[1]).count("/"))}


def writable(layout: Layout, routine: Routine) -> list[str]:
    """Return the folders that a confined run of a routine may write."""
    granted = [layout.resolve(routine.id, text) for text in routine.permissions.write]
    return [f"{layout.folder(routine.id)}/memory", *_outermost(granted)]


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
    if writing and not os.path.lexists(path) and _covered(path, [str(layout.root)]):
        os.makedirs(path, exist_ok=True)
    if not os.path.exists(path):
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


def _protected_in(folder: str) -> Iterator[str]:
    """Yield what lies in a folder that a run may write and is not the run's to write."""
    for path, folders, files in os.walk(folder):
        for name in _PROTECTED.intersection([*folders, *files]):
            yield f"{path}/{name}"


def _hidden(layout: Layout, routine_id: str, seen: list[str]) -> Iterator[str]:
    """Yield what is covered with an empty folder where something that is seen holds it: routinectl's own, secrets, others' memory."""
    for path in (str(layout.private), f"{layout.root}/secrets"):
        if _covered(path, seen):
            yield path
    if _covered(str(layout.routines), seen):
        for entry in os.scandir(layout.routines):
            if entry.name != routine_id:
                yield f"{entry.path}/memory"
