"""routinectl init"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from routinectl.cli import output
from routinectl.operations.init import init

if TYPE_CHECKING:
    import typer

EXAMPLES = """
routinectl init
routinectl init my-workspace --timezone Europe/Berlin
"""


def command(
    folder: Annotated[Path, typer.Argument(help="The folder; made if it is not there.")] = Path("."),
    timezone: Annotated[str | None, typer.Option(help="IANA name; else this machine's zone.")] = None,
    no_git: Annotated[bool, typer.Option("--no-git", help="Leave git alone.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Answer as JSON.")] = False,
) -> None:
    """Make a workspace of a folder.

    Writes routinectl.yaml, the folders for routines and secrets, schemas for editors, and a .gitignore; makes a git
    repository where there is none. What is there already stays as it is.
    """
    made = init(folder, timezone=timezone, use_git=not no_git)
    if as_json:
        output.data("workspace", {"root": str(made.root), "timezone": made.timezone, "made": made.made, "kept": made.kept})
        return
    output.say(f"Workspace {made.root} (time zone {made.timezone})")
    if made.made:
        output.say(f"  made {', '.join(made.made)}")
    if made.kept:
        output.say(f"  kept {', '.join(made.kept)}")
    where = "" if folder == Path(".") else f"cd {folder} && "
    output.say(f"Next: {where}routinectl add Hello --every 1m -- echo hello")
