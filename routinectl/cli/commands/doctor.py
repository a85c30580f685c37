"""routinectl doctor"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from routinectl.cli import context, output
from routinectl.operations import doctor
from routinectl.operations.session import Session

if TYPE_CHECKING:
    import typer

EXAMPLES = """
routinectl doctor
routinectl doctor --json
routinectl doctor --accept-clock
"""


def command(
    accept_clock: Annotated[bool, typer.Option("--accept-clock", help="Believe the clock although the journal is ahead of it.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Answer as JSON.")] = False,
) -> int:
    """Check what the promises rest on: locks and syncs of this file system, zones, clock, limits, permissions, runs.

    Exit code 1 when something is not well.
    """
    with Session(context.layout()) as session:
        if accept_clock:
            doubted = doctor.accept_clock(session, context.me())
            output.say(f"The clock is believed; slots stay answered until {output.instant(doubted, session.settings.timezone)}")
            return 0
        found = doctor.check(session)
        if as_json:
            output.data(
                "doctor",
                [{"name": item.name, "well": item.well, "found": item.found, "hint": "" if item.well else item.hint} for item in found],
            )
        else:
            output.table(
                ([output.paint("ok", "green") if item.well else output.paint("bad", "red"), item.name, item.found] for item in found), [])  # fmt: skip
            for item in found:
                if not item.well:
                    output.say(f"Hint: {item.hint}")
        return 0 if all(item.well for item in found) else 1
