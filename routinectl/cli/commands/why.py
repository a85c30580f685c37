"""routinectl why"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from routinectl.cli import context, output, said
from routinectl.cli.lines import because, took
from routinectl.cli.times import moment
from routinectl.core.verdict import words
from routinectl.errors import UsageError
from routinectl.operations.explain import Explanation, explain
from routinectl.operations.session import Session

if TYPE_CHECKING:
    import typer

EXAMPLES = """
routinectl why backup
routinectl why backup --at 2026-11-21T02:00
routinectl why backup --run 20261121T020000Z-9c1b5f20d6aa
"""


def command(
    routine: Annotated[str, typer.Argument(metavar="ID", help="A routine, by id or unique prefix.")],
    at: Annotated[str | None, typer.Option("--at", "--slot", help="The slot's instant; local time of the routine's zone.")] = None,
    run: Annotated[str | None, typer.Option(help="A run or request, by its id or the beginning of it.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Answer as JSON.")] = False,
) -> None:
    """Say why a slot ran or did not: the verdict on record, what decided, its values and its line of the file.

    For a future slot: what would be decided as things stand. Without options: the last thing that did not happen.
    """
    if at and run:
        raise UsageError("--at and --run exclude each other", "routinectl why ID --run RUN")
    with Session(context.layout()) as session:
        name = said.named(session, routine)
        known = session.routine(name)
        instant = moment(at, session, past=False, zone=known.zone if known else None) if at else None
        found = explain(session, name, at=instant, run=run)
        if as_json:
            output.data("why", found.plain())
            return
        zone = known.zone.name if known else "UTC"
        for line in _words(found, zone, session):
            output.write(line)


def _words(found: Explanation, zone: str, session: Session) -> list[str]:
    slot = output.instant(found.slot, zone) if found.slot else ""
    told = _verdict(found, slot, zone, session)
    if found.rule and found.value is not None:
        told.append(f"The rule: {found.rule}: {found.value}{f' ({found.place})' if found.place else ''}")
    elif found.place:
        told.append(f"The rule: {found.place}")
    if found.remedy and found.verdict != "ran":
        told.append(f"What would change it: {found.remedy}")
    return told


def _verdict(found: Explanation, slot: str, zone: str, session: Session) -> list[str]:
    line = found.line
    if found.verdict == "ran" and line is not None:
        return _ran(found, line, slot)
    if found.verdict in ("skipped", "missed") and line is not None:
        many = f"One of {line['count']} slots: t" if (line.get("count") or 0) > 1 else "T"
        subject = f"he slot {slot}" if slot else f"he request {line.get('run')}"
        return [f"{many}{subject} was {found.verdict}: {because(line)}."]
    if found.verdict == "held":
        until = f", until {output.instant(found.until, zone)}" if found.until else ""
        return [f"The slot {slot} is held{until}: {words('held', found.reason)}."]
    if found.verdict == "waiting":
        return [f"The request waits since {output.instant(found.since, zone)}: {words('held', found.reason)}."]
    if found.verdict == "running" and found.run is not None:
        run = found.run
        if run.get("retry_at"):
            return [f"Attempt {run['attempt']} of {run['run']} starts at {output.instant(run['retry_at'], zone)}."]
        return [
            f"{f'The slot {slot}' if slot else 'The request'} is running: {run['run']}, until {output.instant(run['until'], zone)} at the latest."
        ]
    if found.verdict == "future":
        return [f"The slot {slot} is still to come. As things stand: {'; '.join(found.expected) or 'it starts'}."]
    if slot:
        return [f"The slot {slot} lies before what this routine answers for: it was added, enabled or edited after it."]
    upcoming = output.instant(found.next["due"], zone, session.now) if found.next else "never, as it stands"
    return [f"{found.id} has not had a slot yet. Next: {upcoming}."]


def _ran(found: Explanation, line: dict[str, object], slot: str) -> list[str]:
    what = f"The slot {slot} ran" if line.get("slot") else f"The request {line.get('run')} ran"
    parts = [str(line["outcome"]), f"exit code {line['exit_code']}" if line.get("exit_code") is not None else "", took(line)]
    asked = f" ({line['trigger']})" if found.reason == "triggered" else ""
    told = [f"{what}: {words('ran', found.reason)}{asked}.", f"Its end: {', '.join(filter(None, parts))}."]
    if line.get("message"):
        told.append(f"It said: {output.safe(str(line['message']))}")
    return told
