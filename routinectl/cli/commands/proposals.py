"""routinectl proposals"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from routinectl.cli import context, output
from routinectl.errors import UsageError
from routinectl.operations import edits, proposals
from routinectl.operations.session import Session

if TYPE_CHECKING:
    import typer

EXAMPLES = """
routinectl proposals
routinectl proposals show p-1a2b3c4d
routinectl proposals apply p-1a2b3c4d
routinectl proposals reject nightly --note "not before Monday"
"""


def command(
    what: Annotated[str, typer.Argument(metavar="list|show|apply|reject", help="What to do.")] = "list",
    proposal: Annotated[str | None, typer.Argument(metavar="PROPOSAL", help="Its id, or the routine where there is one only.")] = None,
    note: Annotated[str, typer.Option(help="With reject: why; kept on record.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Answer as JSON.")] = False,
) -> None:
    """List what agents and runs propose: to resume, delete or run a routine, or edits of files. Do it or refuse it.

    An agent may not answer itself. A proposal holds for the routine as it was then; edits are applied only if they still
    apply, else that is a conflict and the patch is kept. A definition that is changed so becomes a draft.
    """
    if what not in ("list", "show", "apply", "reject"):
        raise UsageError(f"'{what}' is none of list, show, apply, reject", "routinectl proposals list")
    if what != "list" and proposal is None:
        raise UsageError("which one?", "routinectl proposals list")
    with Session(context.layout()) as session:
        if proposal is None or what == "list":
            _list(session, as_json=as_json)
            return
        item = proposals.find(session, proposal)
        if what == "show":
            _show(session, item, as_json=as_json)
            return
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
            for line in done.get("text", "").splitlines()[:20]:
                output.say(f"  {output.safe(line)}")
            for path in done.get("files", ()):
                output.say(f"  changed {output.safe(path)}")
            for name in done.get("drafts", ()):
                output.say(f"{name} is a draft now. Hint: routinectl approve {name}")


_COLOURS = {"+": "green", "-": "red", "@": "cyan"}


def _show(session: Session, item: proposals.Item, *, as_json: bool) -> None:
    text = edits.patch(session, item).decode(errors="replace") if proposals.is_edits(item) else ""
    if as_json:
        output.data("proposal", {**item, **({"patch": text} if text else {})})
        return
    zone = session.settings.timezone
    output.write(f"{item['proposal']}  {item['what'].replace('_', '-')} {item['routine']}")
    output.write(f"  {'by':<9}{output.safe(item['by'])}, {output.instant(item['at'], zone, session.now)}")
    for label, value in (
        ("why", item.get("reason")),
        ("payload", item.get("payload")),
        ("tool", item.get("tool")),
        ("files", item.get("count")),
    ):
        if value:
            output.write(f"  {label:<9}{output.safe(str(value))}")
    for key, value in item.get("arguments", {}).items():
        for number, line in enumerate(str(value).splitlines() or [""]):
            output.write(f"    {output.safe(key) if number == 0 else '':<9}{output.safe(line)}")
    for file in item.get("files", ()):
        counts = "binary" if file["added"] is None else f"+{file['added']} -{file['removed']}"
        output.write(f"    {output.safe(file['path'])}  {counts}")
    for line in text.splitlines():
        head = line.startswith(("+++", "---", "diff "))
        colour = "bold" if head else _COLOURS.get(line[:1], "")
        output.write(output.paint(output.safe(line), colour) if colour else output.safe(line))
    output.say(f"Hint: routinectl proposals apply {item['proposal']}, or reject")


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
