"""routinectl replay"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from routinectl.cli import context, output
from routinectl.operations import again
from routinectl.operations.session import Session

if TYPE_CHECKING:
    import typer

EXAMPLES = """
routinectl replay 20261121T020000Z-9c1b5f20d6aa
routinectl replay 20261121T02 --at-commit
"""


def command(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run's id, or the beginning of it.")],
    at_commit: Annotated[bool, typer.Option("--at-commit", help="By the definition and files of the commit it ran with.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Answer as JSON.")] = False,
) -> None:
    """Run a past run again, with the payload it had, by the definition in force now (or of the commit it ran with).

    --at-commit runs it in a folder of its own, with the files of that commit and an empty memory. It uses no slot, counts for no limit, and is marked as replay in the ledger. Approvals and concurrency still apply.
    """
    with Session(context.layout()) as session:
        name, new = again.replay(session, run, by=context.me(), at_commit=at_commit)
        if as_json:
            output.data("run", {"id": name, "run": new})
            return
        output.say(f"{'Asked for' if session.serve_lives else 'Started'} {new}: {name} again")
        output.say(f"  routinectl logs {name} -f")
