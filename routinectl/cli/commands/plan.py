"""routinectl plan"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

from routinectl.cli import context, output
from routinectl.core.plan import Change, Difference, summary
from routinectl.operations import plan

if TYPE_CHECKING:
    import typer

EXAMPLES = """
routinectl plan
routinectl plan main..HEAD
routinectl plan v1.0 --json
"""
_SIGNS = {"added": ("+", "green"), "removed": ("-", "red"), "changed": ("~", "yellow")}


def command(
    revisions: Annotated[
        str, typer.Argument(metavar="[REV..REV]", help="Two revisions, or one up to the files as they are; else HEAD.")
    ] = "HEAD",
    as_json: Annotated[bool, typer.Option("--json", help="Answer as JSON.")] = False,
) -> int:
    """Say what a change of the workspace means: routines, fires in the next 30 days, policies, permissions, budgets.

    For reviews and CI: exit code 1 when a change lets a routine do more than before (marked with !), or when a definition
    is broken afterwards.
    """
    found = plan.make(context.layout(), revisions)
    totals = summary(found.changes)
    code = 1 if found.broken or totals["widening"] else 0
    if as_json:
        changes = [{**asdict(item), "widens": item.widens} for item in found.changes]
        broken = {name: [item.message for item in problems] for name, problems in found.broken.items()}
        output.data("plan", {"before": found.before, "after": found.after, **totals, "changes": changes, "broken": broken})
        return code
    for change in found.changes:
        _change(change)
    for name, problems in found.broken.items():
        output.write(f"{output.paint('!', 'red')} {name} is broken: {problems[0].message} ({problems[0].where})")
    if not found.changes and not found.broken:
        output.say(f"Nothing changes between {found.before} and {found.after}")
        return code
    kinds = ", ".join(f"{totals[kind]} {kind}" for kind in ("added", "removed", "changed") if totals[kind])
    wider = f"; {totals['widening']} may do more than before" if totals["widening"] else ""
    output.say(f"{kinds}; {totals['fires_gained']} fires more and {totals['fires_lost']} less in 30 days{wider}")
    return code


def _change(change: Change) -> None:
    sign, colour = _SIGNS[change.kind]
    fires = (
        f"{change.fires_after} fires in 30 days"
        if change.kind == "added"
        else f"{change.fires_before} -> {change.fires_after} fires in 30 days"
    )
    output.write(f"{output.paint(sign, colour)} {change.id}  {fires}")
    for item in change.differences if change.kind == "changed" else [item for item in change.differences if item.widens]:
        output.write(f"    {'!' if item.widens else ' '} {_words(item)}")


def _words(item: Difference) -> str:
    if item.before is None:
        return f"{item.key}: {_text(item.after)} (new)"
    if item.after is None:
        return f"{item.key}: {_text(item.before)} (gone)"
    return f"{item.key}: {_text(item.before)} -> {_text(item.after)}"


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return output.safe(text if len(text) <= 100 else f"{text[:97]}...")
