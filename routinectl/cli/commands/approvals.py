"""routinectl approvals"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from routinectl.cli import context, output
from routinectl.operations import approvals
from routinectl.operations.session import Session

if TYPE_CHECKING:
    import typer

EXAMPLES = """
routinectl approvals
routinectl approvals --json
"""


def command(
    as_json: Annotated[bool, typer.Option("--json", help="Answer as JSON.")] = False,
) -> None:
    """List what waits for a person: drafts that an agent made, and runs that need an approval."""
    with Session(context.layout()) as session:
        found = approvals.waiting(session, session.alive())
        if as_json:
            output.data("approvals", found)
            return
        if not found:
            output.say("Nothing waits for an approval")
            return
        zone = session.settings.timezone
        rows = [
            (item["id"], item["what"], output.instant(item["at"], zone, session.now),
             output.instant(item["expires"], zone, session.now) if "expires" in item else "", item.get("by") or f"{len(item['holds'])} waiting")
            for item in found
        ]  # fmt: skip
        output.table(rows, ["routine", "what", "since", "until", "by"])
        output.say(f"Hint: routinectl show {found[0]['id']}, routinectl approve {found[0]['id']}, routinectl deny {found[0]['id']}")
