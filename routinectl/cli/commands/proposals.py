"""routinectl proposals"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from routinectl.cli import context, output
from routinectl.errors import UsageError
from routinectl.operations import proposals
from routinectl.operations.session import Session

if TYPE_CHECKING:
    import typer

EXAMPLES = """
routinectl proposals
routinectl proposals apply p-1a2b3c4d
routinectl proposals reject nightly --note "not before Monday"
"""


def command(
    what: Annotated[str, typer.Argument(metavar="list|apply|reject", help="What to do.")] = "list",
    proposal: Annotated[str | None, typer.Argument(metavar="PROPOSAL", help="Its id, or the routine where there is one only.")] = None,
    note: Annotated[str, typer.Option(help="With reject: why; kept on record.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Answer as JSON.")] = False,
) -> None:
    """List what agents propose to resume, delete or run, and do it or refuse it. An agent may not answer itself.

    A proposal holds for the routine as it was then: after a change it is not applied.
    """
    if what not in ("list", "apply", "reject"):
        raise UsageError(f"'{what}' is none of list, apply, reject", "routinectl proposals list")
    if what != "list" and proposal is None:
        raise UsageError("which one?", "routinectl proposals list")
    with Session(context.layout()) as session:
        if proposal is None or what == "list":
            _list(session, as_json=as_json)
            return
        item = proposals.find(session, proposal)
        if what == "reject":
            proposals.reject(session, item, by=context.me(), note=note)
            done = {key: item[key] for key in ("proposal", "routine", "what")} | {"rejected": True}
        else:
            done = proposals.apply(session, item, by=context.me())
        if as_json:
            output.data("proposal", done)
        else:
            run = f": {done['run']}" if "run" in done else ""
            output.say(f"{'Rejected' if what == 'reject' else 'Done'}: {item['what'].replace('_', '-')} {item['routine']}{run}")


def _list(session: Session, *, as_json: bool) -> None:
    found = proposals.waiting(session, session.alive())
    if as_json:
        output.data("proposals", found)
    elif not found:
        output.say("Nothing is proposed")
    else:
        zone = session.settings.timezone
        rows = [(item["proposal"], item["routine"], item["what"].replace("_", "-"), output.safe(item["by"]),
                 output.instant(item["at"], zone, session.now), output.safe(item.get("reason", ""))) for item in found]  # fmt: skip
        output.table(rows, ["PROPOSAL", "ROUTINE", "WHAT", "BY", "SINCE", "WHY"])
        output.say(f"Hint: routinectl proposals apply {found[0]['proposal']}, or reject")
