"""routinectl export"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

from routinectl.cli import context, output, said
from routinectl.core.routine import Routine
from routinectl.errors import UsageError
from routinectl.operations import export, feed, take_over
from routinectl.operations.session import Session

if TYPE_CHECKING:
    import typer

EXAMPLES = """
routinectl export backup --format crontab
routinectl export backup --format systemd
routinectl export backup report --format bundle > nightly.json
routinectl export --format ical > routines.ics
"""
_DAYS = 30  # that a calendar covers


def command(
    routine: Annotated[
        list[str] | None, typer.Argument(metavar="ID...", help="Routines, by id or unique prefix; with ical, all by default.")
    ] = None,
    form: Annotated[str, typer.Option("--format", help="bundle, crontab, systemd, or ical: the next fires, for a calendar.")] = "bundle",
) -> None:
    """Write routines for another system. A bundle holds definitions and files, for another workspace's import.

    What a crontab or systemd would take otherwise is refused; what they do not keep is named, there and on standard error.
    """
    with Session(context.layout()) as session:
        names = [said.named(session, text) for text in routine or ()]
        if form == "ical":
            for name in names:
                session.good(name)
            document = feed.calendar(session, names or session.alive(), _DAYS)
            output.write(document.decode().replace("\r\n", "\n").rstrip("\n"))
            return
        if not names:
            raise UsageError("which routines?", "routinectl export backup --format crontab")
        if form == "bundle":
            output.write(json.dumps(take_over.bundle(session, names), ensure_ascii=False, indent=1))
            return
        if form not in ("crontab", "systemd"):
            raise UsageError(f"there is no format '{form}'", "--format crontab")
        write = {"crontab": export.crontab, "systemd": export.systemd}[form]
        found = {name: write(session.layout, *_definition(session, name), session.now) for name in names}
    for name, exported in found.items():
        for file, text in exported.files.items():
            output.write(f"# {file}\n{text}" if file else text.rstrip("\n"))
        for text in exported.not_kept:
            output.say(f"{name}: {'cron' if form == 'crontab' else form} does not keep {text}")


def _definition(session: Session, name: str) -> tuple[Routine, dict[str, Any]]:
    return session.good(name), dict(session.standing(name).doc or {})
