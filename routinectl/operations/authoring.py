"""Writing definitions in a form or an editor of a face: what a text means as it stands, and all its faults, before it is kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from routinectl.core import document, permissions, upcoming
from routinectl.core.problem import Problem, path_text
from routinectl.core.routine import build
from routinectl.core.schedule.describe import describe
from routinectl.errors import DefinitionError, RoutinectlError, ScheduleError
from routinectl.files import definitions, editing
from routinectl.operations import agents, forms, look, write
from routinectl.operations.session import Session

Row = dict[str, Any]
_FIRES = 5
_WHEN = ("triggers", "timezone", "start", "end")


def text_of(session: Session, name: str) -> Row:
    """Return a definition as its file says it, what it is as data, and its faults. Raises DefinitionError when it cannot be read."""
    text = definitions.read_bytes(session.layout, name).decode(errors="replace")
    return {"id": name, "text": text, **check_text(session, name, text)}


def check_doc(session: Session, name: str, doc: Mapping[str, Any]) -> Row:
    """Return what a new definition would be as a file, with everything `check_text` says of it."""
    try:
        settled, _ = write.settle_triggers(session, dict(doc))
    except ScheduleError as error:
        return _faulty([Problem(error.message, ("triggers",), error.hint)]) | {"doc": dict(doc), "text": "", "form": _form(session, doc)}
    text = editing.dump(write.ordered(settled), head=write.HEAD).decode()
    return {"text": text, **check_text(session, name, text)}


def check_patch(session: Session, name: str, patch: Mapping[str, Any]) -> Row:
    """Return what a definition's file would be after a JSON merge patch, with everything `check_text` says of it."""
    try:
        text = write.merged(session, name, patch)
    except DefinitionError as error:
        return _faulty(error.problems) | {"doc": None, "text": ""}
    return {"text": text, **check_text(session, name, text)}


def check_form(session: Session, name: str, values: Mapping[str, Any], text: str = "") -> Row:
    """Return what a text would be after these fields of its form were changed, with everything `check_text` says of it.

    Without a text it is a new definition. What was not changed stays as it was written, byte for byte.
    """
    try:
        doc = document.read(text.encode("utf-8", "surrogatepass"), "the text") if text else forms.NEW
        changes = forms.changes(doc, values)
        if not text:
            return check_doc(session, name, editing.changed(doc, changes))
        if changes:
            text = editing.change(text.encode(), changes).decode()
    except RoutinectlError as error:
        problems = error.problems if isinstance(error, DefinitionError) else [Problem(error.message, (), error.hint)]
        return _faulty(problems) | {"doc": None, "text": text}
    return {"text": text, **check_text(session, name, text)}


def check_text(session: Session, name: str, text: str) -> Row:
    """Return whether a definition is good, what it means and when it fires, or all its faults with their places."""
    raw = text.encode("utf-8", "surrogatepass")
    try:
        doc = document.read(raw, "the text")
    except DefinitionError as error:
        return _faulty(error.problems) | {"doc": None}
    plain = doc if isinstance(doc, dict) else None
    form = _form(session, plain or {})
    try:
        meant = write.parsed(session, name, raw, past=session.shows(name)).doc
        routine = build(name, meant, session.now)
    except DefinitionError as error:
        return _faulty(error.problems) | _schedule_of(session, name, plain) | {"doc": plain, "form": form}
    due, _ = upcoming.fires(routine, session.now, _FIRES, write.runs_of(session, name))
    return {"good": True, "problems": [], "doc": plain, "form": form, "words": describe(routine.schedule, routine.others), "timezone": routine.zone.name,
            "may": permissions.words(routine.permissions), "external": permissions.outward(meant),
            "next": look.fires_in(routine, [(item.slot, item.due) for item in due], session.now)}  # fmt: skip


def _form(session: Session, doc: Mapping[str, Any]) -> Row:
    return forms.shown(doc, [row["name"] for row in agents.rows(session) if row["valid"]])


def _schedule_of(session: Session, name: str, doc: Any) -> Row:
    """Return what the schedule of a definition with faults means, as far as it is good itself; the rest of it need not be there yet."""
    if not isinstance(doc, dict):
        return {}
    alone = {key: doc[key] for key in _WHEN if key in doc} | {"name": name, "timeout": "1m", "action": {"command": "true"}}
    try:
        routine = build(name, write.parsed(session, name, editing.dump(alone), past=session.shows(name)).doc, session.now)
    except DefinitionError:
        return {}
    due, _ = upcoming.fires(routine, session.now, _FIRES, write.runs_of(session, name))
    return {"words": describe(routine.schedule, routine.others), "timezone": routine.zone.name,
            "next": look.fires_in(routine, [(item.slot, item.due) for item in due], session.now)}  # fmt: skip


def _faulty(problems: Any) -> Row:
    return {"good": False, "problems": [problem_row(item) for item in problems], "words": "", "timezone": "", "may": "", "next": []}


def problem_row(item: Problem) -> Row:
    """Return a fault as data; line and column count from 1, and are 0 where the place is not known."""
    return {"path": path_text(item.path), "message": item.message, "hint": item.hint, "line": item.line, "column": item.column}
