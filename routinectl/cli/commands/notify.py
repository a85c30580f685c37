"""routinectl notify"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from routinectl import clock
from routinectl.cli import context, output
from routinectl.errors import RoutinectlError, UsageError
from routinectl.operations import notices

if TYPE_CHECKING:
    import typer

EXAMPLES = """
routinectl notify
routinectl notify test ops
routinectl notify send
"""


def command(
    what: Annotated[str, typer.Argument(metavar="list|test|send", help="What to do.")] = "list",
    target: Annotated[str | None, typer.Argument(metavar="TARGET", help="With test: one of notify.targets in routinectl.yaml.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Answer as JSON.")] = False,
) -> None:
    """Show the targets of notices, what waits for them, and the incidents that are open; or try a target.

    serve sends notices by itself; send does it once, where there is no serve. An incident is told when it begins, when it
    goes on for long, and when it ends.
    """
    layout = context.layout()
    if what == "test":
        if target is None:
            raise UsageError("which target?", "routinectl notify list")
        fault = notices.test(layout, target, clock.now())
        if fault:
            raise RoutinectlError(f"{target} was not reached: {fault}", "routinectl notify list")
        if as_json:
            output.data("notice", {"target": target, "delivered": True})
        else:
            output.say(f"Delivered to {target}")
    elif what == "send":
        waiting = notices.flush(layout)
        if as_json:
            output.data("waiting", waiting)
        else:
            output.say(", ".join(f"{count} wait for {name}" for name, count in waiting.items()) or "Nothing waits")
    elif what == "list":
        found = notices.state(layout)
        output.data("notices", found) if as_json else _show(found)
    else:
        raise UsageError(f"'{what}' is none of list, test, send", "routinectl notify list")


def _show(found: dict[str, Any]) -> None:
    if not found["targets"]:
        output.say("There are no targets, so nobody is told of anything. In routinectl.yaml:")
        output.say("  notify: {targets: {ops: {apprise: {file: secrets/ops.url}}}}")
        return
    rows = [[item["name"], item["sender"], item["to"], item["waiting"] or "-", _trouble(item["trouble"])] for item in found["targets"]]
    output.table(rows, ["TARGET", "BY", "TO", "WAITING", "TROUBLE"])
    for item in found["incidents"]:
        causes = ", ".join(f"{count} x {cause}" for cause, count in item["causes"].items())
        output.write(f"{output.word('failed')} {item['routine']}  since {item['since']}: {causes}")


def _trouble(trouble: dict[str, Any] | None) -> str:
    if trouble is None:
        return "-"
    return f"{output.safe(trouble['why'].splitlines()[-1])} (tried {trouble['failures']} times, again at {trouble['again_at']})"
