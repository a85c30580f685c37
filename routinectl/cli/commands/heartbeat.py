"""routinectl heartbeat"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from routinectl.cli import context, output
from routinectl.operations import heartbeat
from routinectl.operations.session import Session

if TYPE_CHECKING:
    import typer

EXAMPLES = """
routinectl heartbeat https://hc-ping.com/3f1d...
routinectl heartbeat
routinectl heartbeat --dry-run
routinectl add heartbeat --every 5m --timeout 1m -- "$(command -v routinectl)" heartbeat
"""


def command(
    url: Annotated[str | None, typer.Argument(help="Where to; else notify.heartbeat of routinectl.yaml.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say how things stand, and ping nobody.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Answer as JSON.")] = False,
) -> int:
    """Tell a service of the healthchecks kind that serve lives and fires in time; when this stops, it tells you.

    Run it from cron, or as a routine. Where serve is gone, the clock is in doubt or slots are late, URL/fail is called
    with what is wrong, and the exit code is 1.
    """
    with Session(context.layout()) as session:
        found = heartbeat.beat(session, url, dry_run=dry_run)
    if as_json:
        output.data("heartbeat", found)
    for fault in found["faults"] if not as_json else ():
        output.write(fault)
    if not as_json:
        output.say(f"{'Dry run: all' if dry_run else 'All'} is well" if found["well"] else "Hint: routinectl status")
    return 0 if found["well"] else 1
