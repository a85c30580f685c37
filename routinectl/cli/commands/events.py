"""routinectl events"""

from __future__ import annotations

import sys
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

from routinectl.cli import context, output
from routinectl.cli.times import moment
from routinectl.core.event import Event
from routinectl.files.journal import read_all
from routinectl.operations import runs
from routinectl.operations.session import Session

if TYPE_CHECKING:
    import typer

EXAMPLES = """
routinectl events
routinectl events -f --routine backup
routinectl events --since 1h --json
"""


def command(
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as events come.")] = False,
    routine: Annotated[str | None, typer.Option(metavar="ID", help="Only this routine.")] = None,
    since: Annotated[str | None, typer.Option(help="A moment, or how long ago (2d).")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", help="The last so many; 0 for all.")] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON line for each event.")] = False,
) -> None:
    """Show the journal: every fact that changed an answer, in order."""
    with Session(context.layout()) as session:
        name = session.id_of(routine) if routine else None
        start = moment(since, session, past=True).isoformat().replace("+00:00", "Z") if since else ""

        def wanted(event: Event) -> bool:
            return (name is None or event.subject == name) and event.time >= start

        found = [event for event in read_all(session.layout) if wanted(event)]
        _print(found[-limit:] if limit else found, as_json=as_json)
        if follow:
            session.engine.listeners.append(lambda events: _print([event for event in events if wanted(event)], as_json=as_json))
            while True:
                runs.attend(session, timedelta(milliseconds=100))


def _print(events: list[Event], *, as_json: bool) -> None:
    for event in events:
        if as_json:
            output.line(event.as_dict())
            continue
        shown = {key: value for key, value in event.data.items() if key not in ("definition", "at", "problems") and value not in (None, "")}
        details = " ".join(f"{key}={value}" for key, value in shown.items() if not isinstance(value, (dict, list)))
        output.write(output.safe(f"{event.time}  {event.type:<22} {event.subject:<20} {details}"))
    sys.stdout.flush()  # whoever reads along in a pipe hears of it now
