"""routinectl history"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from routinectl.cli import context, output, said
from routinectl.cli.lines import ledger_line
from routinectl.cli.times import moment
from routinectl.operations import history
from routinectl.operations.session import Session

if TYPE_CHECKING:
    import typer

EXAMPLES = """
routinectl history
routinectl history backup --limit 50
routinectl history backup --since 2d --outcome failed --json
"""


def command(
    routine: Annotated[str | None, typer.Argument(metavar="[ID]", help="One routine; else all.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", help="The last so many lines; 0 for all.")] = 20,
    since: Annotated[str | None, typer.Option(help="A moment, or how long ago (2d).")] = None,
    outcome: Annotated[str | None, typer.Option(help="Only these: succeeded, failed, ..., skipped, missed.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Answer as JSON.")] = False,
) -> None:
    """Show the ledger: one line for every slot that ran, was skipped or was missed, with the reason."""
    with Session(context.layout()) as session:
        names = [said.named(session, routine)] if routine else session.alive()
        start = moment(since, session, past=True) if since else None
        lines = history.history(session, names, limit=limit, since=start, outcome=outcome)
        if as_json:
            output.data("history", lines)
            return
        if not lines:
            output.say("Nothing is on record" + (" like that" if since or outcome else " yet"))
        width = max((len(line["id"]) for line in lines), default=0)
        for line in lines:
            zone = (session.standing(line["id"]).doc or {}).get("timezone", "UTC")
            output.write(f"{line['id']:<{width}}  {ledger_line(line, zone)}")
