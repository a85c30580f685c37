"""routinectl deny"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from routinectl.cli import context, output
from routinectl.operations import approvals
from routinectl.operations.session import Session

if TYPE_CHECKING:
    import typer

EXAMPLES = """
routinectl deny backup --note "not before the move"
"""


def command(
    routine: Annotated[str, typer.Argument(metavar="ID", help="The routine, by id or unique prefix.")],
    note: Annotated[str, typer.Option(help="Why; kept with the denial.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Answer as JSON.")] = False,
) -> None:
    """Deny what a routine asks for: what waits is recorded as skipped, and the next slot asks again."""
    with Session(context.layout()) as session:
        name = session.id_of(routine)
        answer = approvals.deny(session, name, note=note, by=context.me())
        if as_json:
            output.data("denial", answer)
            return
        output.say(f"Denied {name}; its next slot asks again")
