"""routinectl edit"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from routinectl.cli import ask, context, said
from routinectl.cli.doc_options import trigger_options
from routinectl.core.units import to_iso
from routinectl.errors import UsageError
from routinectl.files import definitions, editing
from routinectl.operations import write
from routinectl.operations.session import Session

if TYPE_CHECKING:
    import typer

EXAMPLES = """
routinectl edit backup
routinectl edit backup --cron '0 3 * * *'
routinectl edit backup --set timeout=30m --set misfire.policy=skip
routinectl edit backup --unset jitter
"""


def command(
    routine: Annotated[str, typer.Argument(metavar="ID", help="A routine, by id or unique prefix.")],
    cron: Annotated[list[str] | None, typer.Option(help="Replace the triggers by this cron line.")] = None,
    every: Annotated[list[str] | None, typer.Option(help="Replace the triggers by this interval.")] = None,
    daily: Annotated[list[str] | None, typer.Option(help="Replace the triggers by this time of day.")] = None,
    weekly: Annotated[list[str] | None, typer.Option(help="Replace the triggers by days and a time.")] = None,
    at: Annotated[list[str] | None, typer.Option(help="Replace the triggers by this moment.")] = None,
    schedule: Annotated[list[str] | None, typer.Option(help="Replace the triggers by this phrase.")] = None,
    setting: Annotated[list[str] | None, typer.Option("--set", help="KEY=VALUE; KEY as in misfire.policy.")] = None,
    unset: Annotated[list[str] | None, typer.Option(help="A KEY to take out.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be written.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Answer as JSON.")] = False,
) -> None:
    """Change a routine, by options or in your editor.

    Only the asked keys change: comments, quotes and indentation of the file stay. With the editor, a definition with
    faults is never written; you are told what is wrong and may go back.
    """
    with Session(context.layout()) as session:
        routine_id = said.named(session, routine)
        anchor = to_iso(session.now.replace(microsecond=0))
        changes: dict[tuple[str | int, ...], Any] = {}
        triggers = trigger_options(cron, every, daily, weekly, at, schedule, anchor=anchor)
        if triggers:
            standing = session.standing(routine_id)
            zone = {"timezone": standing.doc["timezone"]} if standing.doc else {}
            settled, _ = write.settle_triggers(session, {"triggers": triggers, **zone})
            changes[("triggers",)] = settled["triggers"]
        for text in setting or ():
            key, equals, value = text.partition("=")
            if not equals:
                raise UsageError(f"'{text}' is not KEY=VALUE", "--set timeout=10m")
            changes[write.parse_key(key)] = write.parse_value(value)
        changes |= {write.parse_key(key): editing.REMOVE for key in unset or ()}
        if changes:
            written = write.edit(session, routine_id, changes, dry_run=dry_run)
        else:
            raw = definitions.read_bytes(session.layout, routine_id)
            written = ask.edit_text(session, routine_id, raw, created=False)
        said.written(written, session.now, dry_run=dry_run, as_json=as_json)
