"""routinectl list"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from routinectl.cli import context, output
from routinectl.operations import look
from routinectl.operations.access import Caller
from routinectl.operations.session import Session

if TYPE_CHECKING:
    import typer

EXAMPLES = """
routinectl list
routinectl list --status invalid
routinectl list --tag nightly --json
"""


def command(
    status: Annotated[
        str | None, typer.Option(help="Only these: active, paused, disabled, draft, pending_approval, completed, invalid.")
    ] = None,
    tag: Annotated[str | None, typer.Option(help="Only those with this tag.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Answer as JSON.")] = False,
) -> None:
    """List the routines: status, schedule, next fire and last outcome."""
    with Session(context.layout()) as session:
        every = look.rows(session)
        rows = [row for row in every if status in (None, row["status"]) and (tag is None or tag in row["tags"])]
        if as_json:
            output.data("routines", rows)
            return
        if not rows:
            asked = {key: value for key, value in (("status", status), ("tag", tag)) if value is not None}
            output.say(Caller("admin", "").none_of(len(every), asked) + ("" if every else "; Hint: routinectl add"))
            return
        output.columns(
            ([row["id"], " ".join([output.word(row["status"]), *row["badges"]]), row["schedule"], output.instant(row["next_fire_at"], row["timezone"], session.now),
              output.word(row["last_outcome"] or "-")] for row in rows),
            ["ID", "STATUS", "SCHEDULE", "NEXT", "LAST"],
        )  # fmt: skip
