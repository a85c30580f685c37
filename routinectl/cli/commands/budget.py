"""routinectl budget"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from routinectl.cli import context, output, said
from routinectl.operations import budget
from routinectl.operations.session import Session

if TYPE_CHECKING:
    import typer

EXAMPLES = """
routinectl budget
routinectl budget morning-review
"""
_WIDTH = 20


def command(
    routine: Annotated[
        str | None, typer.Argument(metavar="[ID|BUDGET]", help="A routine, or a budget of routinectl.yaml; else all.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Answer as JSON.")] = False,
) -> None:
    """Show what is used of the budgets of the day, what is reserved by calls that go on, and what the day would come to."""
    with Session(context.layout()) as session:
        shared = [row for row in budget.shared(session) if routine in (None, row["id"])]
        names = session.alive() if routine is None else [] if shared else [said.named(session, routine)]
        found = [*shared, *budget.rows(session, names)]
        if as_json:
            output.data("budget", found)
        elif not found:
            output.say("No routine has a budget of the day. Hint: budget: {per_day: {runs: 24, tokens: 100000}}")
        else:
            rows = [(row["id"], row["what"], _bar(row), *(row["words"][key] for key in ("used", "reserved", "cap", "forecast")),
                     f"{row['day']} {row['timezone']}") for row in found]  # fmt: skip
            output.table(rows, ["BUDGET OF", "IN", "", "USED", "RESERVED", "CAP", "FORECAST", "DAY"])


def _bar(row: budget.Row) -> str:
    share = min((row["used"] + row["reserved"]) / row["cap"], 1.0) if row["cap"] else 1.0
    used = min(round(row["used"] / row["cap"] * _WIDTH), _WIDTH) if row["cap"] else _WIDTH
    text = "#" * used + "+" * (round(share * _WIDTH) - used)
    return f"[{text:<{_WIDTH}}]"
