"""routinectl propose"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from routinectl.cli import context, output, said
from routinectl.core.prompt import DEFAULT_MODEL
from routinectl.operations import drafting
from routinectl.operations.session import Session

if TYPE_CHECKING:
    import typer

EXAMPLES = """
routinectl propose "run ./backup.sh every night at 2:30, not at weekends"
routinectl propose "every weekday at 9 summarise the notes in daily/; ask me first" --dry-run
"""


def command(
    wish: Annotated[str, typer.Argument(metavar="WISH", help="What is to be done, and when.")],
    model: Annotated[str, typer.Option(help="A name under models in routinectl.yaml.")] = DEFAULT_MODEL,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the definition; write nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Answer as JSON.")] = False,
) -> None:
    """Have a model write a routine for a wish, as a draft. A person approves it, or edits or removes it.

    The model fills in a definition; what its schedule means is read by the same reader as `add --schedule`, and shown in
    words with the next fires.
    """
    with Session(context.layout()) as session:
        session.agent = f"propose, for {context.me()}"
        written = drafting.draft(session, wish, model=model, dry_run=dry_run)
        said.written(written, session.now, dry_run=dry_run, as_json=as_json)
        if not dry_run and not as_json:
            output.say(f"It is a draft. Hint: routinectl show {written.id}, then routinectl approve {written.id}, or rm")
