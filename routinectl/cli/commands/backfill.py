"""routinectl backfill"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from routinectl.cli import context, output, said
from routinectl.cli.times import moment
from routinectl.core.units import to_iso
from routinectl.operations import again
from routinectl.operations.session import Session

if TYPE_CHECKING:
    import typer

EXAMPLES = """
routinectl backfill report --from 2026-11-01 --to 2026-11-08 --dry-run
routinectl backfill report --from 7d --limit 3
"""


def command(
    routine: Annotated[str, typer.Argument(metavar="ID", help="A routine, by id or unique prefix.")],
    start: Annotated[str, typer.Option("--from", help="The first slot's instant, or how long ago.")],
    end: Annotated[str | None, typer.Option("--to", help="Up to here, exclusive; else now.")] = None,
    limit: Annotated[int, typer.Option(help="At most so many, the oldest first.", min=1, max=again.MOST)] = 100,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say which slots would be made up for.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Answer as JSON.")] = False,
) -> None:
    """Make up for past slots that did not run, one after another. Each run is handed its slot (ROUTINE_SLOT).

    A slot that ran is never run again, and no slot is made up for twice. The verdicts on record stay as they are; the new
    runs are marked as backfill in the ledger.
    """
    with Session(context.layout()) as session:
        name = said.named(session, routine)
        known = session.routine(name)
        zone = known.zone if known else None
        first = moment(start, session, past=True, zone=zone)
        last = moment(end, session, past=True, zone=zone) if end else session.now
        slots = again.missing(session, name, first, last)[:limit]
        ids = [] if dry_run else again.backfill(session, name, slots, by=context.me())
        if as_json:
            output.data("backfill", {"id": name, "slots": [to_iso(slot) for slot in slots], "runs": ids, "dry_run": dry_run})
            return
        for slot in slots:
            output.write(output.instant(to_iso(slot), known.zone.name if known else "UTC"))
        if not slots:
            output.say("Every slot of that time ran, or was made up for")
            return
        output.say(f"{'Dry run: would make' if dry_run else 'Makes'} up for {len(slots)} slots of {name}")
        if not dry_run and not session.serve_lives:
            output.say("  no serve is running here, so only the first has started: routinectl serve")
