"""Saved agents: agents/<name>/AGENT.md, and what a definition that uses one becomes."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from routinectl.core import agent, document, schema
from routinectl.core.problem import Problem
from routinectl.core.settings import Settings
from routinectl.errors import DefinitionError, NotFoundError
from routinectl.files import regular, schemas
from routinectl.files.layout import Layout

FILE = "AGENT.md"
_MOST_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Agent:
    """A saved agent: what its head says, and its instructions."""

    name: str
    head: dict[str, Any]
    instructions: str


def names(layout: Layout) -> list[str]:
    """Return the agents that the workspace has."""
    try:
        entries = sorted(os.scandir(layout.agents), key=lambda entry: entry.name)
    except OSError:
        return []
    return [entry.name for entry in entries if os.path.isfile(f"{entry.path}/{FILE}")]


def load(layout: Layout, name: str, settings: Settings) -> Agent:
    """Return an agent. Raises NotFoundError, or DefinitionError with all its faults, each with its place."""
    path = layout.agent(name)
    file = str(path.relative_to(layout.root))
    try:
        fd = regular.opened_below(layout.root, path)
    except regular.NotAFileError as error:
        raise _fault(error.said, file, f"ls -l {file}") from None
    except OSError:
        known = ", ".join(names(layout)) or "none yet"
        raise NotFoundError(f"there is no agent '{name}': {file}", f"the agents are: {known}") from None
    try:
        raw = regular.all_of(fd, file, _MOST_BYTES)
    except OSError as error:
        raise _fault(f"{error.strerror}", file, "keep skills in files beside it") from None
    finally:
        os.close(fd)
    parts = agent.split(raw.decode(errors="replace"))
    if parts is None:
        raise _fault("it has no head: YAML between two lines of ---", file, "---\nmodel: default\n---\nYou review documents.")
    head_raw = parts[0].encode()
    head = document.read(head_raw, file) if parts[0].strip("#\n ") else {}
    problems = schema.faults(schemas.load("agent"), head) if not schemas.accepts("agent")(head) else agent.faults(head, settings.models)
    if not parts[1]:
        problems = [*problems, Problem("it has no instructions: the text after its head is empty", (), "You review documents.")]
    if problems:
        marks = document.places(head_raw) if head else {}
        placed = sorted((document.locate(problem, marks, file) for problem in problems), key=lambda item: (item.line, item.column))
        raise DefinitionError(
            f"{file} has {'a fault' if len(placed) == 1 else f'{len(placed)} faults'}", placed[0].hint, placed, (str(path),)
        )
    return Agent(name, head, parts[1])


def _fault(message: str, file: str, hint: str) -> DefinitionError:
    return DefinitionError(f"{file}: {message}", hint, [Problem(message, (), hint, file)])


def resolve(layout: Layout, doc: dict[str, Any], settings: Settings) -> tuple[dict[str, Any], list[Problem], list[str]]:
    """Return a definition with its agent worked in, what is wrong with that one, and the files that were read."""
    name = doc["action"]["agent"]["use"]
    source = str(layout.agent(name))
    try:
        found = load(layout, name, settings)
    except (NotFoundError, DefinitionError) as error:
        first = getattr(error, "problems", ())
        where = f" ({first[0].where}: {first[0].message})" if first and first[0].line else ""
        return doc, [Problem(f"{error.message}{where}", ("action", "agent", "use"), error.hint)], [source]
    return agent.in_force(doc, name, found.head, found.instructions), [], [source]
