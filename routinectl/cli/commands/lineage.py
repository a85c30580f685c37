"""routinectl lineage"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from routinectl.cli import context, output
from routinectl.operations import lineage
from routinectl.operations.session import Session

if TYPE_CHECKING:
    import typer

EXAMPLES = """
routinectl lineage
routinectl pause --descendants-of planner
"""


def command(
    as_json: Annotated[bool, typer.Option("--json", help="Answer as JSON.")] = False,
) -> None:
    """Show which routines were made by runs of which: what an agent has set going, as a tree.

    A run makes at most three routines, each a draft until a person approves it; what those make may go one generation
    further.
    """
    with Session(context.layout()) as session:
        found = lineage.rows(session)
        if as_json:
            output.data("lineage", found)
        elif not found:
            output.say("No run has made a routine")
        else:
            rows = [("  " * row["depth"] + row["id"], output.word(row["status"]), row["run"] or "a person") for row in found]
            output.table(rows, ["ROUTINE", "STATUS", "MADE BY"])
