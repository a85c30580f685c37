"""routinectl lint"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from routinectl.cli import context, output
from routinectl.core.lint import CODES
from routinectl.errors import UsageError
from routinectl.operations import check

if TYPE_CHECKING:
    import typer

EXAMPLES = """
routinectl lint
routinectl lint backup --ignore no-timeout
routinectl lint --codes
"""


def command(
    target: Annotated[list[str] | None, typer.Argument(metavar="[ID|FILE]...", help="Routines or files; else all routines.")] = None,
    ignore: Annotated[list[str] | None, typer.Option(help="A code to leave out; may be given again.")] = None,
    codes: Annotated[bool, typer.Option("--codes", help="List the codes.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Answer as JSON.")] = False,
) -> int:
    """Name what is legal but suspicious: each finding has a stable code, and the real date where a clock change is meant.

    Exit code 1 when there is a finding.
    """
    if codes:
        output.table(CODES.items(), ["CODE", "MEANING"])
        return 0
    unknown = set(ignore or ()) - CODES.keys()
    if unknown:
        raise UsageError(f"there is no code '{min(unknown)}'", "routinectl lint --codes")
    layout = context.layout_or_none()
    found, broken = check.findings(target or [], layout)
    found = [finding for finding in found if finding.code not in (ignore or ())]
    if as_json:
        output.data(
            "findings", [{"routine": item.routine, "code": item.code, "message": item.message, "hint": item.hint} for item in found]
        )
    else:
        for finding in found:
            output.write(f"{check.line_of(layout, finding)}: {finding.code}: {output.safe(finding.message)}")
            if finding.hint:
                output.write(f"  Hint: {finding.hint}")
        for item in broken:
            output.say(f"{item.name} is broken and was not looked at; Hint: routinectl validate {item.name}")
        if not found:
            output.say("Nothing suspicious")
    return 1 if found else 0
