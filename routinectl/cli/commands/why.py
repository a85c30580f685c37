"""routinectl why"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from routinectl.cli import context, output
from routinectl.cli.lines import took
from routinectl.cli.times import moment
from routinectl.core.verdict import words
from routinectl.operations import look
from routinectl.operations.session import Session

if TYPE_CHECKING:
    import typer

EXAMPLES = """
routinectl why backup
routinectl why backup --at 2026-11-21T02:00
"""


def command(
    routine: Annotated[str, typer.Argument(metavar="ID", help="A routine, by id or unique prefix.")],
    at: Annotated[str | None, typer.Option(help="The slot's instant; local time of the routine's zone.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Answer as JSON.")] = False,
) -> None:
    """Say why a slot ran or did not: the verdict on record, in words. For a future slot: what will decide."""
    with Session(context.layout()) as session:
        name = session.id_of(routine)
        known = session.routine(name)
        instant = moment(at, session, past=False, zone=known.zone if known else None) if at else None
        found = look.why(session, name, instant)
        if as_json:
            output.data("why", found)
            return
        zone = known.zone.name if known else "UTC"
        output.write(_words(found, zone, session))


def _words(found: dict[str, Any], zone: str, session: Session) -> str:
    slot = output.instant(found.get("slot"), zone)
    line = found.get("line")
    if line:
        verdict, reason = line["verdict"], words(line["verdict"], str(line.get("reason")))
        if verdict == "ran":
            what = f"The slot {slot} ran" if line.get("slot") else f"The request {line.get('run')} ran"
            parts = [line["outcome"], f"exit code {line['exit_code']}" if line.get("exit_code") is not None else "", took(line)]
            text = f"{what}: {reason}.\nIt {', '.join(filter(None, parts))}."
            return text + (f"\nIt said: {output.safe(line['message'])}" if line.get("message") else "")
        many = f"One of {line['count']} slots: t" if (line.get("count") or 0) > 1 else "T"
        return f"{many}he slot {slot} was {verdict}: {reason}."
    if found.get("hold"):
        return f"The slot {slot} is held: {words('held', found['hold']['reason'])}."
    if found.get("run"):
        run = found["run"]
        return f"The slot {slot} is running: {run['run']}, until {output.instant(run['until'], zone)} at the latest."
    if found.get("before"):
        return f"The slot {slot} lies before what this routine answers for: it was added, enabled or edited after it."
    if found.get("slot") and found.get("next"):
        return (f"The slot {slot} is still to come. What will decide: enabled, paused, bounds; then whether it starts within the grace; "
                "then max_runs, cooldown, a run still going, and free places.")  # fmt: skip
    upcoming = output.instant(found["next"]["due"], zone, session.now) if found.get("next") else "never, as it stands"
    return f"{found['id']} has not had a slot yet. Next: {upcoming}."
