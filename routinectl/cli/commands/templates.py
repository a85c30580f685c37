"""routinectl templates"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from routinectl.cli import context, output
from routinectl.errors import UsageError
from routinectl.operations import templates

if TYPE_CHECKING:
    import typer

EXAMPLES = """
routinectl templates list
routinectl templates show backup-git
routinectl add --template backup-git --set REPOSITORY=/srv/app.git --set TARGET=/var/backups
"""


def command(
    action: Annotated[str, typer.Argument(metavar="list|show", help="What to do.")] = "list",
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="A template, for show.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Answer as JSON.")] = False,
) -> None:
    """List the presets that a routine can be made of, or show one with its files. `add --template` makes a routine.

    Those in `templates/` of the workspace come before those that are shipped.
    """
    layout = context.layout_or_none()
    if action == "show":
        if name is None:
            raise UsageError("show which template?", "routinectl templates list")
        output.write(templates.text(layout, name).rstrip("\n"))
        return
    if action != "list":
        raise UsageError(f"templates is list or show, not '{action}'", "routinectl templates list")
    rows = templates.rows(layout)
    if as_json:
        output.data("templates", rows)
        return
    output.table(
        [(row["template"], row["schedule"], row["description"], ", ".join(row["set"])) for row in rows],
        ["template", "when", "what", "--set"],
    )
