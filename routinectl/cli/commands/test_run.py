"""routinectl test-run"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from routinectl.cli import context
from routinectl.cli.commands import run_now

if TYPE_CHECKING:
    import typer

EXAMPLES = """
routinectl test-run backup
routinectl test-run report --payload '{"day": "2026-11-20"}'
"""


def command(
    routine: Annotated[str, typer.Argument(metavar="ID", help="A routine, by id or unique prefix.")],
    payload: Annotated[str | None, typer.Option(help="Input: a file with a JSON object, JSON itself, or - for stdin.")] = None,
    limit: Annotated[str | None, typer.Option("--for", help="Wait at most so long; then exit with 124.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Answer as JSON.")] = False,
) -> int:
    """Try a routine: run it now, show what it prints, and exit with its code. It uses no slot and counts for nothing.

    The run is marked as test in the ledger; failures in a row, max_runs, budgets and the cooldown do not see it.
    """
    return run_now.run(context.layout(), run_now.Asked(routine, wait=True, follow=not as_json, force=True, payload=payload, limit=limit,
                                                       as_json=as_json, mode="test"))  # fmt: skip
