"""routinectl status"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from routinectl.cli import context, output
from routinectl.operations import look
from routinectl.operations.session import Session

if TYPE_CHECKING:
    import typer

EXAMPLES = """
routinectl status
routinectl status --running
routinectl status --json
"""


def command(
    running: Annotated[bool, typer.Option("--running", help="Only what runs.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Answer as JSON.")] = False,
) -> None:
    """Show what runs since when and until when, what is next, what is broken, and whether a serve is alive."""
    with Session(context.layout()) as session:
        if running:
            runs = look.running(session)
            if as_json:
                output.data("running", runs)
            elif runs:
                _running(runs, session)
            else:
                output.say("Nothing runs")
            return
        found = look.status(session)
        if as_json:
            output.data("status", found)
            return
        _people(found, session)


def _people(found: dict[str, Any], session: Session) -> None:
    zone = session.settings.timezone
    serve = found["serve"]
    alive = f"serve is alive (pid {serve['pid']}, since {output.instant(serve['since'], zone)})" if serve["alive"] else (
        output.paint("no serve is alive: nothing fires by itself", "yellow") + "  Hint: routinectl serve")  # fmt: skip
    output.write(f"{found['workspace']}: {alive}")
    counts = ", ".join(f"{count} {output.word(state)}" for state, count in found["routines"].items()) or "no routines"
    output.write(f"{counts}; {len(found['running'])} of {found['max_concurrent_runs']} places taken")
    if found["clock"]["suspect"]:
        ahead = found["clock"]["journal_ahead_seconds"]
        output.write(
            output.paint(f"clock suspect: the journal is {ahead}s ahead of it; a start decides nothing until it returns", "yellow")
        )
        output.write("Hint: routinectl doctor --accept-clock")
    for item in found["health"]:
        what = f"{item['count']} {item['what']}"
        output.write(f"{output.paint(what, 'yellow')}: {item['command']}")
    if found["running"]:
        output.write("\nRunning")
        _running(found["running"], session)
    if found["next"]:
        output.write("\nNext")
        output.table(([row["id"], output.instant(row["due"], row["timezone"], session.now)] for row in found["next"]), [])
    if found["last"]:
        output.write("\nLast")
        rows = (
            [row["id"], output.word(row["last_outcome"]), output.instant(row["last_run_at"], zone, session.now)] for row in found["last"]
        )
        output.table(rows, [])
    if found["held"]:
        output.write("\nHeld")
        output.table(([row["id"], output.instant(row["slot"], zone), row["reason"]] for row in found["held"]), [])
    if found["broken"]:
        output.write("\n" + output.paint("Broken", "red"))
        for row in found["broken"]:
            for problem in row["problems"]:
                output.write(f"{row['id']}: {output.safe(problem['message'])} ({problem['where']})")


def _running(rows: list[dict[str, Any]], session: Session) -> None:
    zone = session.settings.timezone
    output.table(
        ([row["id"], row["run"], output.instant(row["since"], zone, session.now), _until(row, zone, session)] for row in rows),
        ["ID", "RUN", "SINCE", "STOPPED AT THE LATEST"],
    )


def _until(row: dict[str, Any], zone: str, session: Session) -> str:
    if row.get("retry_at"):
        return f"attempt {row['attempt']} starts {output.instant(row['retry_at'], zone, session.now)}"
    return output.instant(row["until"], zone, session.now)
