"""Asking a person: step by step for a new routine, and with an editor for any."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

from routinectl.cli import output
from routinectl.core.schedule.describe import describe_trigger
from routinectl.core.schedule.read import Reading, read_trigger
from routinectl.core.schedule.zone import load
from routinectl.core.units import to_epoch
from routinectl.errors import DefinitionError, RoutinectlError, ScheduleError, UsageError
from routinectl.files import definitions, editing
from routinectl.operations import write
from routinectl.operations.session import Session
from routinectl.operations.write import Written
from routinectl.process import editor


def line(question: str, default: str = "") -> str:
    """Ask for one line; an empty answer takes the default. Raises KeyboardInterrupt at the end of input."""
    output.say(f"{question}{f' [{default}]' if default else ''}: ", end="")
    answer = sys.stdin.readline()
    if not answer:
        raise KeyboardInterrupt
    return answer.strip() or default


def confirm(question: str) -> bool:
    """Ask for yes or no; no unless it begins with y."""
    return line(f"{question} [y/N]").lower().startswith("y")


def definition(session: Session) -> tuple[str, dict[str, Any]]:
    """Ask step by step for a new routine: name, command, when."""
    name = ""
    while not name:
        name = line("Name")
    command = ""
    while not command:
        command = line("Command (a line for /bin/sh)")
    doc: dict[str, Any] = {"action": {"command": command}}
    while True:
        text = line("When (a phrase, cron, `every 90m`, a moment; empty: by hand only)")
        if not text:
            return name, {**doc, "triggers": []}
        try:
            reading = Reading(load(session.settings.timezone), to_epoch(session.now), session.settings.min_interval)
            trigger = read_trigger(text, reading)
        except ScheduleError as error:
            output.error(error)
            continue
        output.say(f"  {output.with_zone(describe_trigger(trigger), trigger.zone.name)}")
        return name, {**doc, "triggers": [{"schedule": text}]}


def edit_new(session: Session, routine_id: str, doc: dict[str, Any]) -> Written:
    """Open a new definition in the editor, then write it."""
    if session.layout.definition(routine_id).exists():
        raise UsageError(f"the routine {routine_id} exists already", f"routinectl edit {routine_id}")
    settled, _ = write.settle_triggers(session, doc)
    return edit_text(session, routine_id, editing.dump(write.ordered(settled), head=write.HEAD), created=True)


def edit_text(session: Session, routine_id: str, data: bytes, *, created: bool) -> Written:
    """Open a definition in the editor until it is good, or the person gives up; nothing bad is ever written.

    Raises RoutinectlError when there is no editor, or when the person gives up.
    """
    with tempfile.TemporaryDirectory(prefix="routinectl-") as folder:
        path = Path(folder) / f"{routine_id}.yaml"
        path.write_bytes(data)
        while True:
            _open(path)
            text = path.read_bytes()
            name = str(definitions.relative(session.layout, session.layout.definition(routine_id)))
            try:
                definitions.parse(session.layout, text, name, routine_id, session.settings, session.now, past=not created)
                return write.store(session, routine_id, text, created=created)
            except DefinitionError as error:
                output.error(error)
                if not _again():
                    raise RoutinectlError("nothing was changed", f"routinectl edit {routine_id}") from None


def _again() -> bool:
    return line("What now? (e)dit again, (q)uit without changing anything", "e").lower().startswith("e")


def _open(path: Path) -> None:
    command = editor.command()
    if not command:
        raise RoutinectlError("there is no editor", "EDITOR=nano routinectl edit ID, or routinectl edit ID --set key=value")
    code = editor.run(command, path)
    if code != 0:
        raise RoutinectlError(f"the editor ended with code {code}; nothing was changed", f"echo $EDITOR    # is {command}")
