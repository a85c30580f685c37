"""routinectl simulate"""

from __future__ import annotations

import shutil
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated

from routinectl.cli import context, output, said
from routinectl.cli.times import moment
from routinectl.core import simulate
from routinectl.core.simulate import Assumed, Mark, Outage
from routinectl.core.units import format_duration, parse_duration, to_iso
from routinectl.errors import DefinitionError, UsageError
from routinectl.operations.session import Session
from routinectl.operations.simulate import Played, play

if TYPE_CHECKING:
    import typer

EXAMPLES = """
routinectl simulate
routinectl simulate backup --to 2027-01-01 --assume runtime=20m
routinectl simulate --from 2026-10-24 --to 2026-10-27 --outage 2026-10-25T00:00..2026-10-25T09:00
routinectl simulate --clock-jump 2026-12-01T12:00=+2h --json
"""
_SIGNS = {"ran": "●", "held": "◌", "skipped": "○", "missed": "✗"}
_RANK = {"ran": 0, "held": 1, "skipped": 2, "missed": 3}
_NAMES = 24


def command(
    routine: Annotated[list[str] | None, typer.Argument(metavar="[ID...]", help="Routines, by id or unique prefix; else all.")] = None,
    start: Annotated[str | None, typer.Option("--from", help="The beginning; else now.")] = None,
    end: Annotated[str | None, typer.Option("--to", help="The end; else 7 days later.")] = None,
    assume: Annotated[str, typer.Option(help="How long runs take: runtime=p50 (of the ledger), or runtime=20m.")] = "runtime=p50",
    outage: Annotated[list[str] | None, typer.Option(metavar="A..B", help="Serve is down from A to B.")] = None,
    asleep: Annotated[list[str] | None, typer.Option(metavar="A..B", help="The machine sleeps from A to B.")] = None,
    jump: Annotated[
        list[str] | None, typer.Option("--clock-jump", metavar="AT=+2h", help="The clock is set forward (or back: -2h).")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Answer as JSON.")] = False,
) -> None:
    """Play definitions forward: what would run, be skipped, held or missed. Nothing is started and nothing is written.

    The decisions are those of serve. Each routine is played by itself, from a fresh beginning; runs succeed, and take as
    long as assumed. A clock set back repeats no slot, so it changes nothing here.
    """
    with Session(context.layout()) as session:
        names = [said.named(session, text) for text in routine] if routine else session.alive()
        broken = [name for name in names if session.standing(name).invalid is not None]
        if broken and routine:
            raise DefinitionError(f"there is nothing to play of {', '.join(broken)}", f"routinectl validate {broken[0]}")
        if broken:
            output.say(f"Note: not played, for they are broken: {', '.join(broken)}; routinectl validate")
        first = moment(start, session, past=False, zone=None) if start else session.now.replace(microsecond=0)
        last = moment(end, session, past=False, zone=None) if end else first + timedelta(days=7)
        outages = [_span(text, session) for text in (*(outage or ()), *(asleep or ()))]
        outages += [found for text in jump or () if (found := _jump(text, session)) is not None]
        played = play(session, names, first, last, outages, _runtime(assume))
        if as_json:
            output.data("simulation", played.plain())
            return
        _picture(played, session)


def _runtime(text: str) -> timedelta | None:
    key, _, value = text.partition("=")
    if key != "runtime" or not value:
        raise UsageError(f"'{text}' is no assumption", "--assume runtime=p50, or --assume runtime=20m")
    try:
        return None if value == "p50" else parse_duration(value)
    except ValueError as error:
        raise UsageError(str(error), "--assume runtime=20m") from None


def _span(text: str, session: Session) -> Outage:
    first, dots, last = text.partition("..")
    if not dots:
        raise UsageError(f"'{text}' is no span of time", "--outage 2026-12-01T00:00..2026-12-01T09:00")
    found = Outage(moment(first, session, past=False, zone=None), moment(last, session, past=False, zone=None))
    if found.end <= found.start:
        raise UsageError(f"'{text}' ends before it begins", "--outage 2026-12-01T00:00..2026-12-01T09:00")
    return found


def _jump(text: str, session: Session) -> Outage | None:
    """Return the time that a clock set forward leaps over; set back, it leaps over nothing."""
    at, equals, step = text.partition("=")
    if not equals or step[:1] not in ("+", "-"):
        raise UsageError(f"'{text}' is no jump of the clock", "--clock-jump 2026-12-01T12:00=+2h")
    begins = moment(at, session, past=False, zone=None)
    try:
        size = parse_duration(step[1:])
    except ValueError as error:
        raise UsageError(str(error), "--clock-jump 2026-12-01T12:00=+2h") from None
    return Outage(begins, begins + size) if step[0] == "+" else None


def _picture(played: Played, session: Session) -> None:
    assumed, zone = played.assumed, session.settings.timezone
    width = max(shutil.get_terminal_size().columns - _NAMES - 2, 20)
    output.write(f"{'':<{_NAMES}}{_edge(assumed.start, zone)} {'─' * max(width - 36, 2)} {_edge(assumed.end, zone)}")
    if assumed.outages:
        output.write(f"{'down':<{_NAMES}}{_down(assumed, width)}")
    for name, marks in played.marks.items():
        output.write(f"{name[: _NAMES - 1]:<{_NAMES}}{_row(marks, assumed, width)}".rstrip())
    output.write("")
    rows = [(name, *(found[key] or "" for key in _SIGNS), _reasons(marks)) for name, marks in played.marks.items()
            for found in [simulate.counts(marks)]]  # fmt: skip
    output.table(rows, ["routine", *(f"{sign} {key}" for key, sign in _SIGNS.items()), "why not"])
    _together(played, session)


def _edge(at: datetime, zone: str) -> str:
    return output.instant(to_iso(at), zone)[:16]


def _row(marks: list[Mark], assumed: Assumed, width: int) -> str:
    cells = [""] * width
    for mark in marks:
        place = _place(mark.at, assumed, width)
        if not cells[place] or _RANK[mark.verdict] > _RANK[cells[place]]:
            cells[place] = mark.verdict
    return "".join(_SIGNS[cell] if cell else "·" for cell in cells)


def _down(assumed: Assumed, width: int) -> str:
    cells = [" "] * width
    for outage in assumed.outages:
        for place in range(_place(outage.start, assumed, width), _place(outage.end, assumed, width) + 1):
            cells[place] = "░"
    return "".join(cells).rstrip()


def _place(at: datetime, assumed: Assumed, width: int) -> int:
    share = (at - assumed.start) / (assumed.end - assumed.start)
    return min(max(int(share * width), 0), width - 1)


def _reasons(marks: list[Mark]) -> str:
    found: dict[str, int] = {}
    for mark in marks:
        if mark.verdict in ("skipped", "missed"):
            found[mark.reason] = found.get(mark.reason, 0) + mark.count
    return ", ".join(f"{reason} {count}" for reason, count in found.items())


def _together(played: Played, session: Session) -> None:
    most, when = simulate.peak(played.marks, played.assumed)
    zone, places = session.settings.timezone, session.settings.max_concurrent_runs
    if when is not None:
        more = f", more than the {places} of limits.max_concurrent_runs: some would wait" if most > places else ""
        output.write(f"\nAt most {most} at once, first {output.instant(to_iso(when), zone)}{more}")
    for at, names in simulate.collisions(played.marks)[:3]:
        shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
        output.write(f"{len(names)} start together {output.instant(to_iso(at), zone)}: {shown}")
    took = {format_duration(played.assumed.runtime_of(name)) for name in played.marks}
    output.say(f"Runs are taken to succeed, and to take {', '.join(sorted(took)[:5])}" if took else "There is nothing to play")
