"""Run serve as a systemd service, for you or for the system.

Runs outlive the service: stopping or restarting it leaves them going. Without systemd, `print` shows the unit and a
crontab line that does the same with `serve --once`. Runs can do below it what cron would let them do, unless
`--hardening strict` takes it from them; it says what. `doctor` says what the serve that runs cannot do.
"""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from routinectl.cli import context, output
from routinectl.operations import service

EXAMPLES = """
routinectl service install
routinectl service status
sudo routinectl -w /srv/work service install --system
routinectl service install --hardening strict --dry-run
routinectl service print
"""
_System = Annotated[bool, typer.Option("--system", help="The system's manager instead of yours.")]
_Hardening = Annotated[
    Literal["default", "strict"],
    typer.Option(help="default takes nothing from runs; strict takes what confined runs can live without, and says it."),
]
_DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done.")]


def install(system: _System = False, hardening: _Hardening = "default", dry_run: _DryRun = False) -> None:
    """Write the unit, enable it, and start serve below it; where it runs, it is started anew and runs go on."""
    layout = context.layout()
    if dry_run:
        output.write(service.unit(layout, system=system, hardening=hardening).rstrip("\n"))
        output.say(f"Dry run: would write {service.folder(system=system) / service.name_of(layout)}, enable it and start serve")
        _name_losses(system, hardening)
        return
    done = service.install(layout, system=system, hardening=hardening)
    for text in done.did:
        output.say(text)
    _name_losses(system, hardening)
    for hint in done.hints:
        output.say(f"Hint: {hint}")


def _name_losses(system: bool, hardening: str) -> None:
    lost = service.losses(system=system, hardening=hardening)
    if lost:
        output.say("\n  ".join(["Runs lose:", *lost]))


def print_(system: _System = False, hardening: _Hardening = "default") -> None:
    """Print the unit, and the crontab line for machines without systemd."""
    layout = context.layout()
    output.write(service.unit(layout, system=system, hardening=hardening).rstrip("\n"))
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
