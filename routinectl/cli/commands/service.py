"""Run serve as a systemd service, for you or for the system.

Runs outlive the service: stopping or restarting it leaves them going. Without systemd, `print` shows the unit and a
crontab line that does the same with `serve --once`. Runs can do below it what cron would let them do; `doctor` says where not.
"""

from __future__ import annotations

from typing import Annotated

import typer

from routinectl.cli import context, output
from routinectl.operations import service

EXAMPLES = """
routinectl service install
routinectl service status
sudo routinectl -w /srv/work service install --system
routinectl service print
"""
_System = Annotated[bool, typer.Option("--system", help="The system's manager instead of yours.")]
_DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done.")]


def install(system: _System = False, dry_run: _DryRun = False) -> None:
    """Write the unit, and enable and start it."""
    layout = context.layout()
    if dry_run:
        output.write(service.unit(layout, system=system).rstrip("\n"))
        output.say(f"Dry run: would write {service.folder(system=system) / service.name_of(layout)}, enable and start it")
        return
    done = service.install(layout, system=system)
    for text in done.did:
        output.say(text)
    for hint in done.hints:
        output.say(f"Hint: {hint}")


def print_(system: _System = False) -> None:
    """Print the unit, and the crontab line for machines without systemd."""
    layout = context.layout()
    output.write(service.unit(layout, system=system).rstrip("\n"))
    output.say(f"\nWithout systemd, this line in your crontab:\n{service.cron_line(layout)}")


def status(system: _System = False) -> int:
    """Say whether the service is active; exit code 1 if not."""
    active, text = service.status(context.layout(), system=system)
    output.write(text)
    return 0 if active else 1


def uninstall(system: _System = False, dry_run: _DryRun = False) -> None:
    """Stop the service and remove its unit. Runs go on."""
    layout = context.layout()
    if dry_run:
        output.say(f"Dry run: would stop and remove {service.name_of(layout)}")
        return
    done = service.uninstall(layout, system=system)
    for text in done.did or ["nothing was installed"]:
        output.say(text)
    for hint in done.hints:
        output.say(f"Hint: {hint}")


SUBCOMMANDS = (install, print_, status, uninstall)
