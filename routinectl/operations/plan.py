"""Comparing the definitions of two git revisions, or of one and the files as they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from routinectl import clock
from routinectl.core import document
from routinectl.core.plan import Change, plan
from routinectl.core.problem import Problem
from routinectl.core.settings import Settings, read_settings
from routinectl.engine.world import World
from routinectl.errors import DefinitionError, NotFoundError
from routinectl.files import config, definitions
from routinectl.files.layout import CONFIG, DEFINITION, Layout
from routinectl.process import git


@dataclass(slots=True)
class Definitions:
    """The effective definitions of one side, and what of it is broken."""

    docs: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    broken: dict[str, tuple[Problem, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Plan:
    """What changes, and what is broken afterwards."""

    before: str
    after: str
    changes: list[Change]
    broken: dict[str, tuple[Problem, ...]]


def make(layout: Layout, span: str) -> Plan:
    """Return the plan of `A..B`, of `A` (up to the files as they are), or of nothing (HEAD up to the files).

    Raises NotFoundError outside git or for a revision that git does not know, DefinitionError for a broken routinectl.yaml.
    """
    first, dots, last = span.partition("..")
    first = first or "HEAD"
    old = _at(layout, first)
    new = _at(layout, last or "HEAD") if dots else _here(layout)
    changes = plan(old.docs, new.docs, clock.now(), _runs(layout))
    return Plan(first, (last or "HEAD") if dots else "the files", changes, new.broken)


def _runs(layout: Layout) -> dict[str, int]:
    """Return how many runs there were of each routine with a `max_runs`, as far as this clone has a journal."""
    if not layout.journal.exists():
        return {}
    world = World(layout)
    world.load()
    standings = [world.standing(name) for name in world.ids()]
    world.journal.close()
    return {standing.id: standing.run_count for standing in standings if standing.run_count and "max_runs" in (standing.doc or {})}


def _here(layout: Layout) -> Definitions:
    settings = config.load(layout)
    found = Definitions()
    for name in sorted(definitions.scan(layout)):
        try:
            found.docs[name] = definitions.load(layout, name, settings, clock.now()).doc
        except DefinitionError as error:
            found.broken[name] = error.problems
    return found


def _at(layout: Layout, revision: str) -> Definitions:
    files = git.files_at(layout.root, revision, (CONFIG, "routines"))
    if files is None:
        raise NotFoundError(f"git knows no revision '{revision}' here", "git log --oneline")
    raw = files.get(CONFIG)
    settings = Settings()
    if raw is not None:
        settings, _ = read_settings(document.read(raw, CONFIG) or {})
    found = Definitions()
    for path, data in sorted(files.items()):
        parts = path.split("/")
        if len(parts) == 3 and parts[2] == DEFINITION:
            try:
                label = f"{revision}:{path}"
                found.docs[parts[1]] = definitions.parse(layout, data, label, parts[1], settings, clock.now(), past=True).doc
            except DefinitionError as error:
                found.broken[parts[1]] = error.problems
    return found
