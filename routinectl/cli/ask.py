"""Asking a person: step by step for a new routine, and with an editor for any."""

from __future__ import annotations

import shlex
import sys
import tempfile
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from routinectl.cli import output
from routinectl.core.schedule.describe import describe_trigger
from routinectl.core.schedule.read import Reading, read_trigger
from routinectl.core.schedule.zone import load
from routinectl.core.units import to_epoch
from routinectl.errors import DefinitionError, ExistsError, RoutinectlError, UsageError
from routinectl.files import definitions, editing
from routinectl.operations import write
from routinectl.operations.session import Session
from routinectl.operations.write import Written
from routinectl.process import editor

Answer = TypeVar("Answer")


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


def definition(session: Session, *, routine_id: str, wanted: Collection[str]) -> dict[str, Any]:
    """Ask step by step for a new routine: its name, and of `action` and `triggers` what is wanted. What is wrong is asked again.

    By hand only is an answer too: `triggers` is empty then.
    """

    def free(name: str) -> str:
        new_id = routine_id or write.id_from(name)
        if session.layout.definition(new_id).exists():
            raise ExistsError(f"the routine {new_id} exists already", "another name")
        write.require_free_name(session, {"name": name})
        return name

    doc: dict[str, Any] = {"name": _asked("Name", free)}
    if "action" in wanted:
        doc["action"] = {"command": _asked("Command (a line for /bin/sh)", str)}
    if "triggers" in wanted:
        doc["triggers"] = _asked(
            "When (a phrase, cron, `every 90m`, a moment; empty: by hand only)", lambda text: _trigger(session, text), empty=True
        )
    return doc


def _asked(question: str, understand: Callable[[str], Answer], *, empty: bool = False) -> Answer:
    """Ask until the answer is understood; say what is wrong with one that is not."""
    while True:
        text = line(question)
        if not text and not empty:
            continue
        try:
            return understand(text)
        except RoutinectlError as error:
            output.error(error)


def _trigger(session: Session, text: str) -> list[dict[str, Any]]:
    if not text:
        return []
    reading = Reading(load(session.settings.timezone), to_epoch(session.now), session.settings.min_interval)
    trigger = read_trigger(text, reading)
    output.say(f"  {output.with_zone(describe_trigger(trigger), trigger.zone.name)}")
    return [{"schedule": text}]


@contextmanager
def kept(answers: dict[str, Any]) -> Iterator[None]:
    """Say the answers as a command where something else was wrong after all: nobody has to think of them twice."""
    try:
        yield
    except RoutinectlError:
        if answers:
            when = [word for trigger in answers.get("triggers", ()) for word in ("--schedule", trigger["schedule"])] or ["--manual"]
            what = ["--shell", answers["action"]["command"]] if "action" in answers else []
            words = ["routinectl", "add", answers["name"], *(when if "triggers" in answers else ()), *what]
            output.say(f"What you answered: {output.safe(shlex.join(words))}")
        raise


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
