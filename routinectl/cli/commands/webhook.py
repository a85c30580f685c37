"""routinectl webhook"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from routinectl.cli import context, output, said
from routinectl.operations import hooks
from routinectl.operations.session import Session

if TYPE_CHECKING:
    import typer

EXAMPLES = """
routinectl webhook deploy
routinectl webhook deploy --rotate
"""


def command(
    routine: Annotated[str, typer.Argument(metavar="ID", help="A routine, by id or unique prefix.")],
    rotate: Annotated[bool, typer.Option("--rotate", help="Write a new secret, and show it this once.")] = False,
    base: Annotated[str, typer.Option(metavar="URL", help="Where serve --http is reached.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Answer as JSON.")] = False,
) -> None:
    """Show where a routine's webhook is, and a command that delivers to it. Needs serve --http.

    Deliveries signed before a rotation are refused from then on.
    """
    with Session(context.layout()) as session:
        name = said.named(session, routine)
        found = hooks.describe(session, name, base)
        if rotate:
            found["secret"], found["file"] = hooks.rotate(session, name)
        if as_json:
            output.data("webhook", found)
            return
        if rotate:
            output.write(found["secret"])
            output.say(f"  written to {found['file']}; it is not shown again")
            return
        output.write(found["url"])
        output.say(
            f"  signed as {found['signature']}{'' if found['has_secret'] else f'; it has no secret yet: routinectl webhook {name} --rotate'}"
        )
        output.write(found["example"])
