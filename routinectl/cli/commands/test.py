"""routinectl test"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from routinectl.cli import context, output, said
from routinectl.operations import cases
from routinectl.operations.session import Session

if TYPE_CHECKING:
    import typer

EXAMPLES = """
routinectl test
routinectl test report --json
"""


def command(
    routine: Annotated[list[str] | None, typer.Argument(metavar="[ID...]", help="Routines, by id or unique prefix; else all.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Answer as JSON.")] = False,
) -> int:
    """Test definitions by their cases: what would run, be skipped, held or missed in a span of time. Starts nothing.

    A case is a file `cases/NAME.yaml` in the routine's folder: from, to, and expect, with counts (`ran: 4`) or verdicts of
    slots (`slots: {"2026-12-25T09:00": "skipped: calendar"}`); also `runtime: 20m` and `outages: [A..B]`. Exit code 1 when
    one fails.
    """
    with Session(context.layout()) as session:
        names = [said.named(session, text) for text in routine] if routine else session.alive()
        found = cases.run(session, names)
    failed = [item for item in found if item.faults]
    if as_json:
        output.data("test", [{"id": item.routine, "case": item.case, "passed": not item.faults, "faults": item.faults} for item in found])
        return 1 if failed else 0
    for item in found:
        output.write(f"{output.paint('FAILED', 'red') if item.faults else output.paint('ok', 'green')}  {item.case}")
        for fault in item.faults:
            output.write(f"    {output.safe(fault)}")
    output.say(f"{len(found)} cases, {len(failed)} failed" if found else "There are no cases: write routines/ID/cases/NAME.yaml")
    return 1 if failed else 0
