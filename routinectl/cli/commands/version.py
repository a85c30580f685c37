"""routinectl version"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from routinectl.cli import output
from routinectl.version import VERSION

if TYPE_CHECKING:
    import typer

EXAMPLES = """
routinectl version
"""


def command(as_json: Annotated[bool, typer.Option("--json", help="Answer as JSON.")] = False) -> None:
    """Print the version."""
    if as_json:
        output.data("version", {"version": VERSION})
    else:
        output.write(f"routinectl {VERSION}")
