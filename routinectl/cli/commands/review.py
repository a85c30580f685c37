"""routinectl review"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from routinectl.cli import context, output, said
from routinectl.cli.times import moment
from routinectl.core.verdict import words
from routinectl.errors import UsageError
from routinectl.operations import review
from routinectl.operations.session import Session

if TYPE_CHECKING:
    import typer

EXAMPLES = """
routinectl review
routinectl review backup --run
routinectl review backup --dismiss --at 2026-11-20T02:00
"""


def command(
    routine: Annotated[str | None, typer.Argument(metavar="[ID]", help="One routine; else all.")] = None,
    run: Annotated[bool, typer.Option("--run", help="Have it run (the newest, if several wait).")] = False,
    dismiss: Annotated[bool, typer.Option("--dismiss", help="Have it skipped.")] = False,
    at: Annotated[str | None, typer.Option(help="One slot, by its instant; else all that wait.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Answer as JSON.")] = False,
) -> None:
    """Show the slots and requests that wait for a person, because they are older than the window or their verdict may be lost; answer them."""
    if run and dismiss:
        raise UsageError("--run and --dismiss exclude each other", "routinectl review ID --run")
    with Session(context.layout()) as session:
        names = [said.named(session, routine)] if routine else session.alive()
        if not (run or dismiss):
            found = review.waiting(session, names)
            if as_json:
                output.data("reviews", found)
                return
            for item in found:
                zone = (session.standing(item["id"]).doc or {}).get("timezone", "UTC")
                asked = f"asked for as {item['request']}, " if "request" in item else ""
                when = output.instant(item.get("slot") or item["since"], zone, session.now)
                output.write(f"{item['id']}  {asked}{when}  {words('held', item['reason'])}")
            if not found:
                output.say("Nothing waits for review")
            return
        if routine is None:
            raise UsageError("which routine?", "routinectl review ID --run")
        known = session.routine(names[0])
        slot = moment(at, session, past=True, zone=known.zone if known else None) if at else None
        answered = review.answer(session, names[0], slot, run=run, by=context.me())
        output.say(f"{'Will run' if run else 'Dismissed'} {names[0]} {', '.join(answered)}")
        if run and not session.serve_lives:
            output.say("  no serve is running here: routinectl serve")
