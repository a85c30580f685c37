"""routinectl preview"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated, Any

from routinectl import clock
from routinectl.cli import context, output, said
from routinectl.core.routine import ID
from routinectl.core.units import from_iso, to_iso
from routinectl.errors import UsageError
from routinectl.files import config, definitions
from routinectl.operations.init import local_zone
from routinectl.operations.preview import MOST, Defaults, answer, preview

if TYPE_CHECKING:
    import typer

EXAMPLES = """
routinectl preview "0 9 * * MON-FRI"
routinectl preview "every 90m" --count 3
routinectl preview "first monday of the month at 8:00" --timezone Europe/Berlin --after 2026-01-01T00:00
routinectl preview backup
echo '{"schedule": {"daily": "9:00"}, "timezone": "UTC"}' | routinectl preview --batch
"""


def command(
    schedule: Annotated[str | None, typer.Argument(help="A cron line, @shortcut, interval, moment, phrase, or a routine's id.")] = None,
    timezone: Annotated[str | None, typer.Option(help="IANA name; else the workspace's, else this machine's.")] = None,
    after: Annotated[str | None, typer.Option(help="An ISO 8601 moment to look from; else now.")] = None,
    count: Annotated[int | None, typer.Option("--count", "-n", help="How many fires.")] = None,
    batch: Annotated[bool, typer.Option("--batch", help="Read JSON lines from standard input and answer each with one.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Answer as JSON.")] = False,
) -> None:
    """Say what a schedule means and when it fires. It accepts exactly what a definition accepts."""
    layout = context.layout_or_none()
    settings = config.load(layout) if layout is not None else None
    zone = timezone or (settings.timezone if settings else local_zone())
    defaults = Defaults(zone, clock.now(), settings.min_interval if settings else 30)
    if batch:
        for line in sys.stdin:
            if line.strip():
                print(json.dumps(answer(line, defaults), ensure_ascii=False), flush=True)
        return
    if schedule is None:
        raise UsageError("preview what?", 'routinectl preview "0 9 * * MON-FRI"')
    if layout is not None and ID.fullmatch(schedule) and definitions.key_of(layout.definition(schedule)):
        found = _routine(schedule, after, count)
    else:
        found = preview(schedule, defaults, timezone=timezone, after=after, count=count)
    if as_json:
        output.data("preview", found)
        return
    _people(found, defaults)


def _routine(name: str, after: str | None, count: int | None) -> dict[str, Any]:
    from routinectl.cli.times import moment
    from routinectl.core.schedule.describe import describe
    from routinectl.core.upcoming import fires
    from routinectl.operations.session import Session

    with Session(context.layout()) as session:
        routine = session.good(said.named(session, name))
        start = moment(after, session, past=False, zone=routine.zone) if after else session.now
        if count is not None and not 0 <= count <= MOST:
            raise UsageError(f"count is {count}; allowed is 0 to {MOST}", "--count 5")
        due, excluded = fires(routine, start, 5 if count is None else count)
        found = {"kind": "routine", "timezone": routine.zone.name, "describe": describe(routine.schedule, routine.others),
                 "next": [fire.due.astimezone(routine.zone.info).isoformat() for fire in due]}  # fmt: skip
        return found | ({"moved": [item.plain() for item in excluded]} if excluded else {})


def _people(found: dict[str, Any], defaults: Defaults) -> None:
    meaning = found.get("cron") or (f"every {found['seconds']} seconds" if "seconds" in found else found.get("at", ""))
    output.write(
        output.with_zone(found["describe"], found["timezone"]) + (f"    = {meaning}" if meaning and meaning != found["describe"] else "")
    )
    for fire in found["next"]:
        output.write(f"  {output.instant(to_iso(from_iso(fire)), found['timezone'], defaults.now)}")
    for item in found.get("moved", ()):
        what = f"moved to {output.instant(item['to'], found['timezone'])}" if item["to"] else "skipped"
        slot = output.instant(item["slot"], found["timezone"])
        output.write(f"  {slot}: {what}, {item['why']}")
    if not found["next"]:
        output.say("It does not fire after that")
