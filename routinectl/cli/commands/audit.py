"""routinectl audit"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from routinectl import clock
from routinectl.cli import context, output
from routinectl.core.units import parse_duration
from routinectl.errors import NotFoundError, UsageError
from routinectl.files import definitions
from routinectl.operations import audit

if TYPE_CHECKING:
    import typer

EXAMPLES = """
routinectl audit
routinectl audit --since 30d backup
"""


def command(
    routine: Annotated[list[str] | None, typer.Argument(metavar="[ID...]", help="Routines; else all.")] = None,
    since: Annotated[str | None, typer.Option(help="Only what happened in the last so long, such as 30d.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Answer as JSON.")] = False,
) -> int:
    """Check from the files alone: every slot has exactly one verdict, every claim an end, every run its authority.

    Asks no daemon and writes nothing. It shares the mathematics of schedules with serve, and none of its code path.
    Exit code 1 with the list when something is found.
    """
    layout = context.layout()
    for name in routine or ():
        if not definitions.key_of(layout.definition(name)) and not (layout.runs / name).is_dir():
            raise NotFoundError(f"there is no routine '{name}'", "routinectl list")
    try:
        start = clock.now() - parse_duration(since) if since else None
    except ValueError as error:
        raise UsageError(str(error), "--since 30d") from None
    report = audit.run(layout, only=routine or (), since=start)
    if as_json:
        findings = [{"id": item.id, "at": item.at, "message": item.message} for item in report.findings]
        findings += [{"id": name, "at": "", "message": f"the run {run} has no end"} for name, run in report.open]
        output.data("audit", {"slots": report.slots, "runs": report.runs, "findings": findings})
        return 1 if findings else 0
    for item in report.findings:
        output.write(str(item))
    for name, run in report.open:
        output.write(f"{name}: the run {run} has no end, and nobody holds its lease")
    count = len(report.findings) + len(report.open)
    output.say(f"{report.slots} verdicts and {report.runs} attempts looked at: {f'{count} findings' if count else 'nothing found'}")
    if count:
        output.say("Hint: routinectl serve records what is missing; routinectl doctor looks at the machine")
    return 1 if count else 0
