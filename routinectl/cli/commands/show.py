"""routinectl show"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from routinectl.cli import context, output
from routinectl.cli.lines import ledger_line
from routinectl.operations import look
from routinectl.operations.session import Session

if TYPE_CHECKING:
    import typer

EXAMPLES = """
routinectl show backup
routinectl show backup --json
"""


def _agent(agent: dict[str, Any] | None) -> str:
    if agent is None:
        return ""
    granted = ", ".join(f"{key} {value}" for key, value in agent["granted"].items()) or "what agents have by default"
    return f"{agent['file']} with {', '.join(agent['tools']) or 'no tools'}; it is granted {granted}, and the narrower is in force"


def command(
    routine: Annotated[str, typer.Argument(metavar="ID", help="A routine, by id or unique prefix.")],
    as_json: Annotated[bool, typer.Option("--json", help="Answer as JSON.")] = False,
) -> None:
    """Show everything about a routine: definition in force, where it stands, next fires, last runs, leases, fingerprints."""
    with Session(context.layout()) as session:
        found = look.show(session, session.id_of(routine))
        if as_json:
            output.data("routine", found)
            return
        zone = found["timezone"]
        output.write(f"{found['id']}  {output.word(found['status'])}" + (f"  ({output.safe(found['reason'])})" if found["reason"] else ""))
        for label, text in (
            ("name", found["name"]), ("owner", found["owner"]), ("file", found["file"]), ("when", output.with_zone(found["words"], zone) if zone else ""),
            ("jitter", f"{found['jitter_seconds']}s later, always" if found["jitter_seconds"] else ""),
            ("agent", _agent(found["agent"])), ("may", found["may"]), ("limits", found["lower_bound"]), ("badges", " ".join(found["badges"])), ("memory", f"{found['memory_bytes'] // 1024} KiB" if found["memory_bytes"] else ""),
            ("runs", f"{found['run_count']}, {found['consecutive_failures']} failed in a row"),
            ("last", f"{found['last_outcome']} {output.instant(found['last_run_at'], zone, session.now)}" if found["last_run_at"] else ""),
            ("says", found["last_result"] or ""), ("answered", output.instant(found["mark"], zone)),
            ("revision", found["revision"]), ("definition", found["fingerprint"][:16]), ("content", found["content"][:16]),
        ):  # fmt: skip
            if text:
                output.write(f"  {label:<11}{output.safe(str(text))}")
        for problem in found["problems"]:
            output.write(f"  {output.paint('fault', 'red'):<11}{output.safe(problem['message'])} ({problem['where']})")
        if found["cannot_start"]:
            output.write(f"  {output.paint('lacks', 'red'):<11}a run could not start now: {output.safe(found['cannot_start'])}")
        for fire in found["next"]:
            output.write(f"  {'next':<11}{output.instant(fire['due'], zone, session.now)}")
        for run in found["running"]:
            output.write(f"  {'running':<11}{run['run']} since {output.instant(run['since'], zone, session.now)}")
        for hold in found["held"]:
            output.write(f"  {'held':<11}{hold['slot']}: {hold['reason']}")
        for line in found["last"]:
            output.write(f"  {'history':<11}{ledger_line(line, zone)}")
