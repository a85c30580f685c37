"""Take routines over from a crontab, a bundle of another workspace, or IronClaw.

What could not be carried over is named. Bundles and IronClaw routines land disabled.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from routinectl.cli import context, output
from routinectl.errors import UsageError
from routinectl.operations import take_over
from routinectl.operations.session import Session
from routinectl.process import crontab_command

EXAMPLES = """
crontab -l | routinectl import crontab -
routinectl import crontab /etc/cron.d/backup --system
routinectl import bundle nightly.json
routinectl import ironclaw routines.json
"""
_DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be written.")]
_Json = Annotated[bool, typer.Option("--json", help="Answer as JSON.")]


def crontab(
    file: Annotated[Path | None, typer.Argument(help="A crontab; - for stdin; else yours (crontab -l).")] = None,
    system: Annotated[bool | None, typer.Option("--system/--user", help="Whether lines have a user column; else by its folder.")] = None,
    dry_run: _DryRun = False,
    as_json: _Json = False,
) -> int:
    """Write a routine for each line of a crontab, and show that the next fires of each agree with another reader of cron."""
    if file is None:
        raw, fault = crontab_command.listed()
        text = take_over.decoded(raw, "crontab -l")
        if fault:
            raise UsageError(f"crontab -l: {fault}", "routinectl import crontab FILE")
    else:
        text = take_over.read(file, sys.stdin.buffer)
    has_user = system if system is not None else file is not None and str(file).startswith("/etc/cron")
    with Session(context.layout()) as session:
        return _show(
            take_over.from_crontab(session, text, system=has_user, me=context.me(), dry_run=dry_run), dry_run=dry_run, as_json=as_json
        )


def bundle(
    file: Annotated[Path, typer.Argument(help="What export --format bundle wrote; - for stdin.")],
    dry_run: _DryRun = False,
    as_json: _Json = False,
) -> int:
    """Write the routines of a bundle, disabled; ids that are taken get a number."""
    text = take_over.read(file, sys.stdin.buffer)
    with Session(context.layout()) as session:
        return _show(take_over.from_bundle(session, text, dry_run=dry_run), dry_run=dry_run, as_json=as_json)


def ironclaw(
    file: Annotated[Path, typer.Argument(help="Routines as IronClaw's JSON; - for stdin.")],
    dry_run: _DryRun = False,
    as_json: _Json = False,
) -> int:
    """Write IronClaw's routines, disabled; docs/from-others.md has the table, key by key."""
    text = take_over.read(file, sys.stdin.buffer)
    with Session(context.layout()) as session:
        return _show(take_over.from_ironclaw(session, text, dry_run=dry_run), dry_run=dry_run, as_json=as_json)


def _show(result: take_over.Import, *, dry_run: bool, as_json: bool) -> int:
    if as_json:
        output.data("import", {
            "taken": [{"id": item.id, "source": item.source, "next": item.fires, "agrees": item.agrees, "remarks": item.remarks} for item in result.taken],
            "notes": [{"line": line, "text": text} for line, text in result.notes]})  # fmt: skip
        return 1 if result.notes else 0
    for item in result.taken:
        output.write(f"{item.id}  <- {output.safe(item.source)}")
        for ours, theirs in zip(item.fires, item.other or item.fires, strict=False):
            output.write(f"  {ours}" + ("" if item.agrees else f"    croniter: {theirs}"))
        if item.fires:
            output.write(
                "  the next fires agree with croniter's"
                if item.agrees
                else "  croniter reads it differently; see routinectl-time(7) for the rule kept here"
            )
        for remark in item.remarks:
            output.write(f"  note: {output.safe(remark)}")
    for line, text in result.notes:
        output.say(f"not carried over, line {line}: {output.safe(text)}")
    output.say(
        f"{'Dry run: would write' if dry_run else 'Wrote'} {len(result.taken)} routine{'s' if len(result.taken) != 1 else ''}, {len(result.notes)} not carried over"
    )
    return 1 if result.notes else 0


SUBCOMMANDS = (crontab, bundle, ironclaw)
