"""routinectl validate"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from routinectl.cli import context, output
from routinectl.errors import DefinitionError
from routinectl.operations import check

if TYPE_CHECKING:
    import typer

EXAMPLES = """
routinectl validate
routinectl validate backup
routinectl validate routines/*/ROUTINE.yaml
"""


def command(
    target: Annotated[list[str] | None, typer.Argument(metavar="[ID|FILE]...", help="Routines or files; else all routines.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Answer as JSON.")] = False,
) -> int:
    """Check definitions: all faults of each, with file:line:column and what to write instead. Exit code 78 if there are any."""
    checked = check.validate(target or [], context.layout_or_none())
    broken = [item for item in checked if item.definition is None]
    if as_json:
        output.data(
            "validation",
            [{"name": item.name, "valid": item.definition is not None, "remark": item.remark,
              "problems": [{"message": p.message, "hint": p.hint, "file": p.file, "line": p.line, "column": p.column} for p in item.problems]}
             for item in checked],
        )  # fmt: skip
        return DefinitionError.exit_code if broken else 0
    for item in broken:
        output.error(DefinitionError(item.name, "", item.problems))
    for item in checked:
        if item.remark:
            output.say(f"{item.name}: {item.remark}")
    good = len(checked) - len(broken)
    output.say(f"{good} good" + (f", {len(broken)} broken" if broken else ""))
    return DefinitionError.exit_code if broken else 0
