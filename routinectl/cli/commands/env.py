"""routinectl env"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

from routinectl.cli import context, output, said
from routinectl.operations import environment
from routinectl.operations.session import Session

if TYPE_CHECKING:
    import typer

EXAMPLES = """
routinectl env backup
routinectl env backup --diff
"""


def command(
    routine: Annotated[str, typer.Argument(metavar="ID", help="A routine, by id or unique prefix.")],
    diff: Annotated[bool, typer.Option("--diff", help="Show it beside this shell's environment.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Answer as JSON.")] = False,
) -> None:
    """Show the environment that a run of a routine gets: stated, small, and the same whoever starts it. Secrets are masked."""
    with Session(context.layout()) as session:
        env = environment.of(session, said.named(session, routine))
        if as_json:
            output.data("environment", env)
            return
        if not diff:
            for key, value in sorted(env.items()):
                output.write(output.safe(f"{key}={value}"))
            return
        rows = []
        for key in sorted(env.keys() | os.environ.keys()):
            ours, theirs = env.get(key), os.environ.get(key)
            if ours != theirs:
                rows.append([key, ours if ours is not None else "-", theirs if theirs is not None else "-"])
        output.table(rows, ["NAME", "RUN", "THIS SHELL"])
