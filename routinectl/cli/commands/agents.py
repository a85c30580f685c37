"""routinectl agents"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from routinectl.cli import context, output
from routinectl.cli.commands.run_now import payload_of
from routinectl.errors import DefinitionError, UsageError
from routinectl.operations import agents
from routinectl.operations.session import Session

if TYPE_CHECKING:
    from collections.abc import Sequence

EXAMPLES = """
routinectl agents
routinectl agents show reviewer
routinectl agents validate
routinectl agents run reviewer --task "Read docs/ and say what is out of date." --read-only
"""
_WHAT = ("list", "show", "validate", "run")


def command(
    what: Annotated[str, typer.Argument(metavar="list|show|validate|run", help="What to do.")] = "list",
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="A folder below agents/.")] = None,
    task: Annotated[str, typer.Option(help="With run: what is to be done.")] = "",
    read_only: Annotated[bool, typer.Option("--read-only", help="With run: whatever it is granted, it may only read.")] = False,
    payload: Annotated[str | None, typer.Option(help="With run: a file with a JSON object, JSON itself, or - for stdin.")] = None,
    timeout: Annotated[str, typer.Option(help="With run: after so long it is stopped.")] = "10m",
    as_json: Annotated[bool, typer.Option("--json", help="Answer as JSON.")] = False,
) -> int:
    """List saved agents, show or check one, or try one by hand before it goes on a clock.

    A trial has the same confinement, tools and budgets as a run, and the same record in its folder; but it is no run of a
    routine: nothing of it is in the ledger, edits stay a patch and outbound calls are only named.
    """
    if what not in _WHAT:
        raise UsageError(f"'{what}' is none of {', '.join(_WHAT)}", "routinectl agents list")
    if what in ("show", "run") and name is None:
        raise UsageError("which agent?", "routinectl agents list")
    with Session(context.layout()) as session:
        if name is not None:
            agents.require(session, name)
        if what in ("list", "validate"):
            found = [row for row in agents.rows(session) if name in (None, row["name"])]
            return _list(found, checking=what == "validate", as_json=as_json)
        assert name is not None
        if what == "show":
            _show(agents.show(session, name), as_json=as_json)
            return 0
        if not task:
            raise UsageError("a task is needed", f'routinectl agents run {name} --task "Say what you see."')
        return _run(session, name, agents.Trial(task, payload_of(payload), read_only, timeout), as_json=as_json)


def _list(found: Sequence[agents.Row], *, checking: bool, as_json: bool) -> int:
    broken = [row for row in found if not row["valid"]]
    code = DefinitionError.exit_code if checking and broken else 0
    if as_json:
        output.data("agents", list(found))
        return code
    for row in broken if checking else ():
        for problem in row["problems"]:
            output.say(f"Error: {problem['where']}: {output.safe(problem['message'])}\nHint: {problem['hint']}")
    if checking:
        output.say(f"{len(found) - len(broken)} good" + (f", {len(broken)} broken" if broken else ""))
    elif not found:
        output.say("There are no agents yet. Hint: write agents/reviewer/AGENT.md (docs/recurring-agent.md)")
    else:
        rows = [(row["name"], row.get("model", output.word("invalid")), output.safe(row.get("may", "").partition(":")[0]),
                 ", ".join(row.get("tools", [])), ", ".join(row["routines"]), output.safe(row["description"])) for row in found]  # fmt: skip
        output.table(rows, ["AGENT", "MODEL", "MAY", "TOOLS", "ROUTINES", "DESCRIPTION"])
    return code


def _show(found: agents.Row, *, as_json: bool) -> None:
    if as_json:
        output.data("agent", found)
        return
    output.write(found["name"])
    budget = ", ".join(f"{key} {value}" for key, value in found["budget"].items())
    for label, value in (("what", found["description"]), ("model", found["model"]), ("tools", ", ".join(found["tools"]) or "none"), ("may", found["may"]),
                         ("external", found["external"]), ("budget", budget), ("beside", ", ".join(found["beside"])),
                         ("routines", ", ".join(found["routines"]))):  # fmt: skip
        if value:
            output.write(f"  {label:<11}{output.safe(str(value))}")
    output.write("")
    for line in found["instructions"].splitlines():
        output.write(f"  {output.safe(line)}")


def _run(session: Session, name: str, asked: agents.Trial, *, as_json: bool) -> int:
    def show_line(data: bytes) -> None:
        if not as_json:
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()

    found: dict[str, Any] = agents.try_out(session, name, asked, show_line)
    if as_json:
        output.data("trial", found)
        return int(found["exit_code"] != 0)
    cost = f", ${found['cost']:.4f}" if found.get("cost") else ""
    output.say(
        f"{output.word(found.get('outcome', 'failed'))} after {found.get('iterations', 0)} turns, {found.get('tokens', 0)} tokens{cost}"
    )
    for path in found.get("refused", ()):
        output.say(f"  may not be proposed: {output.safe(path)}")
    for call in found.get("suggested", ()):
        output.say(f"  would propose {call['tool']} {output.safe(str(call['arguments']))[:200]}")
    if "patch" in found:
        output.say(f"Its edits: git apply --stat -p1 {found['patch']}")
    output.say(f"Every turn: {found.get('turns', found['folder'])}")
    return int(found["exit_code"] != 0)
