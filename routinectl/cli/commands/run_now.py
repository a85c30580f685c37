"""routinectl run-now"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from routinectl.cli import context, output
from routinectl.cli.lines import ledger_line
from routinectl.core import foreign
from routinectl.core.units import parse_duration
from routinectl.core.verdict import words
from routinectl.errors import UsageError
from routinectl.files import run_logs
from routinectl.files.layout import Layout
from routinectl.operations import asking, runs
from routinectl.operations.session import Session

if TYPE_CHECKING:
    import typer

EXAMPLES = """
routinectl run-now backup
routinectl run-now backup --wait
routinectl run-now report --follow --payload '{"day": "2026-11-20"}'
"""
_LATER = ("overlap", "cooldown", "dedup", "fire_rate", "collapsed")  # the same command may work later
_NEVER = ("max_runs", "disabled_here", "daily_budget", "draft", "denied", "approval_expired", "dismissed")
_BLOCKED = {**dict.fromkeys(_LATER, 75), **dict.fromkeys(_NEVER, 77)}


def command(
    routine: Annotated[str, typer.Argument(metavar="ID", help="A routine, by id or unique prefix.")],
    wait: Annotated[bool, typer.Option("--wait", help="Wait for its end and exit with its code.")] = False,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Wait, and show what it prints.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Pass cooldown, quiet hours and dedup too.")] = False,
    payload: Annotated[str | None, typer.Option(help="Input: a file with a JSON object, JSON itself, or - for stdin.")] = None,
    limit: Annotated[str | None, typer.Option("--for", help="Wait at most so long; then exit with 124.")] = None,
    exit_code: Annotated[str, typer.Option(help="With --wait: job passes the job's code through, own is 0 or 1.")] = "job",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would run.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Answer as JSON.")] = False,
) -> int:
    """Run a routine now. It does not move the schedule and does not use up a slot.

    Passes a pause, `enabled: false`, bounds, calendar and a broken schedule, saying so; nothing passes a draft, an
    approval, max_runs and budgets, or a run that is still going. A serve runs it where one lives; else this command does, and the run goes on when the command ends.
    """
    if exit_code not in ("job", "own"):
        raise UsageError(f"--exit-code is job or own, not '{exit_code}'", "--exit-code own")
    asked = Asked(routine, wait, follow, force, payload, limit, exit_code == "own", as_json)
    if dry_run:
        with Session(context.layout()) as session:
            _would_run(session, session.id_of(routine), as_json=as_json)
        return 0
    return run(context.layout(), asked)


def _would_run(session: Session, name: str, *, as_json: bool) -> None:
    """Say what would run; of a prompt, what would be sent."""
    found = asking.would_send(session, name)
    if as_json:
        output.data("dry_run", {"id": name, "asks": found})
        return
    output.say(f"Dry run: would run {name}")
    if found is None:
        return
    cost = f", ${found['most_usd']:.4f} at most" if found["most_usd"] is not None else ", of unknown cost"
    output.say(f"It would send about {found['tokens']} tokens to {found['model']} ({found['provider']}), "
               f"for an answer of at most {found['max_tokens']}{cost}:")  # fmt: skip
    output.table([(str(piece["tokens"]), output.safe(piece["name"])) for piece in found["pieces"]], ["TOKENS", "WHAT"])
    for remark in found["remarks"]:
        output.say(f"note: {output.safe(remark)}")


@dataclass(frozen=True, slots=True)
class Asked:
    """What a person asks for: which routine, whether to wait and to show its output, with which input and limit."""

    routine: str
    wait: bool = False
    follow: bool = False
    force: bool = False
    payload: str | None = None
    limit: str | None = None
    own: bool = False
    as_json: bool = False
    mode: str = "normal"


def run(layout: Layout, asked: Asked) -> int:
    """Ask for a run, wait for it if that is wanted, and return the exit code of the command."""
    try:
        maximum = parse_duration(asked.limit) if asked.limit else None
    except ValueError as error:
        raise UsageError(str(error), "--for 10m") from None
    with Session(layout) as session:
        name = session.id_of(asked.routine)
        given = payload_of(asked.payload)
        _warn(session, name)
        run_id = runs.request(session, name, by=context.me(), force=asked.force, payload=given, mode=asked.mode)
        if not (asked.wait or asked.follow):
            return _announce(session, name, run_id, as_json=asked.as_json)
        waiting = session.standing(name).requests.get(run_id)
        if waiting is not None and waiting.hold:
            output.say(f"{run_id} waits: {words('held', waiting.hold)}")
        printed = _Printer(session, name, run_id, on=asked.follow)
        found = runs.wait(session, name, run_id, limit=maximum, on_turn=printed.turn)
        printed.turn()
        return _finish(session, name, found, as_json=asked.as_json, own=asked.own)


def _announce(session: Session, name: str, run_id: str, *, as_json: bool) -> int:
    refused = None
    if not runs.is_open(session, name, run_id):
        refused = runs.line_of(session, name, run_id)
    if as_json:
        output.data("run", {"id": name, "run": run_id, "line": refused})
    elif refused is None:
        waiting = session.standing(name).requests.get(run_id)
        output.say(f"{'Asked for' if waiting else 'Started'} {run_id}")
        if waiting is not None and waiting.hold:
            output.say(f"  it waits: {words('held', waiting.hold)}")
            return 77 if waiting.hold == "approval" else 0
        output.say(f"  routinectl logs {name} -f")
    if refused is not None and refused.get("verdict") != "ran":
        return _refuse(name, refused, quiet=as_json)
    return 0


def _finish(session: Session, name: str, asked: runs.Asked, *, as_json: bool, own: bool) -> int:
    line = asked.line or {}
    zone = (session.standing(name).doc or {}).get("timezone", "UTC")
    if as_json:
        output.data("run", {"id": name, "run": asked.run, "line": dict(line)})
    elif line.get("verdict") == "ran":
        output.say(f"{asked.run}  {ledger_line(line, zone)}")
    if line.get("verdict") != "ran":
        return _refuse(name, line, quiet=as_json)
    outcome, code = line.get("outcome"), line.get("exit_code")
    if outcome in ("succeeded", "quiet"):
        return 0
    if own:
        return 1
    return int(code) if code else 124 if outcome == "timed_out" else 130 if outcome == "cancelled" else 1


def _refuse(name: str, line: Any, *, quiet: bool) -> int:
    reason = str(line.get("reason", ""))
    if not quiet:
        output.say(f"{output.paint('Error', 'red', sys.stderr)}: {name} was not run: {words(str(line.get('verdict')), reason)}")
        output.say(f"Hint: routinectl status --running, routinectl history {name}")
    return _BLOCKED.get(reason, 1)


def _warn(session: Session, name: str) -> None:
    standing = session.standing(name)
    passes = [what for what, is_so in (("paused", standing.paused is not None), ("disabled", not standing.enabled),
                                       ("broken since its last good revision", standing.invalid is not None and standing.doc is not None)) if is_so]  # fmt: skip
    if passes:
        mend = f": routinectl validate {name}" if standing.invalid is not None else ""
        output.say(f"Note: {name} is {' and '.join(passes)}; it runs because you ask{mend}")


def payload_of(text: str | None) -> dict[str, Any] | None:
    if text is None:
        return None
    try:
        raw = sys.stdin.read() if text == "-" else text if text.lstrip()[:1] in "{[" else Path(text).read_text()
        value = foreign.parse(raw)
    except ValueError as error:
        raise UsageError(f"the payload is not JSON: {error}", '--payload \'{"key": "value"}\'') from None
    if not isinstance(value, dict):
        raise UsageError("the payload is no JSON object", '--payload \'{"key": "value"}\'')
    return value


class _Printer:
    """Shows what a run prints while it goes on."""

    def __init__(self, session: Session, name: str, run_id: str, *, on: bool) -> None:
        self.path = session.layout.run(name, run_id) / "out"
        self.offset, self.on = 0, on

    def turn(self) -> None:
        """Print what is new."""
        while self.on and (data := run_logs.follow(self.path, self.offset)):
            self.offset += len(data)
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
