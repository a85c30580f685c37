"""Validating definitions and naming what is suspicious about them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from routinectl import clock
from routinectl.core import document, lint
from routinectl.core.lint import Finding
from routinectl.core.problem import Problem
from routinectl.core.routine import ID, Routine, build
from routinectl.core.settings import Settings
from routinectl.errors import DefinitionError, NotFoundError, RoutinectlError
from routinectl.files import config, definitions
from routinectl.files.definitions import Definition
from routinectl.files.layout import Layout
from routinectl.operations import limits


@dataclass(frozen=True, slots=True)
class Checked:
    """One file that was looked at: the definition if it is good, else its faults."""

    name: str
    definition: Definition | None
    problems: tuple[Problem, ...] = ()
    remark: str = ""  # what of it is kept less well on this machine


def _layout() -> Layout | None:
    try:
        return config.find()
    except DefinitionError:
        return None


def validate(targets: list[str], layout: Layout | None) -> list[Checked]:
    """Check routines (by id) and files (by path); without targets all routines of the workspace.

    Files need no workspace; in one, its settings apply. Raises NotFoundError for a target that is neither, and
    DefinitionError for a broken routinectl.yaml.
    """
    layout = layout or _layout()
    settings = config.load(layout) if layout is not None else Settings()
    if not targets:
        if layout is None:
            raise DefinitionError("there is no workspace here, and no file was named", "routinectl validate FILE, or routinectl init")
        nameless = [Checked(item.file, None, (item,)) for item in definitions.nameless(layout)]
        return [_check(target, layout, settings) for target in sorted(definitions.scan(layout))] + nameless
    return [_check(target, layout, settings) for target in targets]


def _good(target: str, definition: Definition) -> Checked:
    return Checked(target, definition, remark=limits.words(build(definition.id, definition.doc, clock.now()), limits.here()))


def _check(target: str, layout: Layout | None, settings: Settings) -> Checked:
    now = clock.now()
    path = Path(target)
    in_workspace = layout is not None and "/" not in target and definitions.key_of(layout.definition(target)) != ""
    try:
        if in_workspace:
            assert layout is not None
            return _good(target, definitions.load(layout, target, settings, now))
        if not path.exists() and not path.is_symlink():
            raise NotFoundError(f"'{target}' is neither a routine nor a file", "routinectl list")
        raw = path.read_bytes() if path.is_file() else b""
        if not path.is_file():
            raise definitions.fault("it is not a file", target, f"ls -l {target}")
        name = path.resolve().parent.name
        routine_id = name if ID.fullmatch(name) else "routine"
        return _good(target, definitions.parse(layout or Layout(path.resolve().parent), raw, target, routine_id, settings, now, past=True))
    except DefinitionError as error:
        return Checked(target, None, error.problems)


def findings(targets: list[str], layout: Layout | None) -> tuple[list[Finding], list[Checked]]:
    """Return what is suspicious about routines or files, and those that are broken."""
    now = clock.now()
    layout = layout or _layout()
    settings = config.load(layout) if layout is not None else Settings()
    checked = validate(targets, layout)
    found: list[Finding] = []
    routines: list[Routine] = []
    for item in checked:
        if item.definition is not None:
            routine = build(item.definition.id, item.definition.doc, now)
            routines.append(routine)
            found += lint.findings(routine, item.definition.doc, settings, now)
            if item.remark:
                found.append(Finding(routine.id, "lower-bound", item.remark, ("budget",), limits.HINT))
    owners = {item.definition.id: str(item.definition.doc.get("owner", "")) for item in checked if item.definition is not None}
    return found + list(lint.across(routines, owners)), [item for item in checked if item.definition is None]


def line_of(layout: Layout | None, finding: Finding) -> str:
    """Return `file:line:column` of a finding, as far as its file can be read."""
    if layout is None:
        return finding.routine
    name = definitions.relative(layout, layout.definition(finding.routine))
    try:
        marks = document.places(definitions.read_bytes(layout, finding.routine))
    except RoutinectlError:
        return name
    return document.locate(Problem(finding.message, finding.path), marks, name).where
