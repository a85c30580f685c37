"""The run's own process where more is to be done than to start a program: it stays outside the confinement, the work inside.

It is given the run's folder, and `host.json` in there says what to do: to have a program edit a copy of the workspace, or to
ask a model. What it is to be remembered by it leaves as `report.json`, and every turn with a model in `turns.jsonl`.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

SPEC, REPORT, TURNS = "host.json", "report.json", "turns.jsonl"
KEY = "ROUTINE_MODEL_KEY"  # how the key of a model reaches this process, and none below it
_PACKAGE = Path(__file__).resolve().parents[2]
_COMMAND = "import sys; sys.path.insert(0, sys.argv.pop(1)); from routinectl.cli.main import main; sys.exit(main())"
_LONGEST_LIFE, _ADD_SECONDS = timedelta(days=90), 60.0
_START = "import sys; sys.path.insert(0, sys.argv[1]); from routinectl.engine.host import main; main(sys.argv[2])"


def program(folder: Path) -> list[str]:
    """Return the command that is a run's host; the folder holds what it is to do."""
    return [sys.executable, "-I", "-c", _START, str(_PACKAGE), str(folder)]


class ToldToStopError(BaseException):
    """The run was told to end, and whatever it waits for is given up."""


class Stopped:
    """Whether the run was told to end."""

    def __init__(self) -> None:
        self._now = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._hear)

    def __call__(self) -> bool:
        """Say whether it was."""
        return self._now

    def _hear(self, number: int, frame: object) -> None:
        self._now = True


def _give_up(number: int, frame: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise ToldToStopError


def main(folder: str) -> None:
    """Do what the folder's `host.json` says, and end as that has ended."""
    from routinectl.agents.confined import end_like
    from routinectl.files.edits import TooLarge

    place = Path(folder)
    spec = json.loads((place / SPEC).read_bytes())
    try:
        status = _DO[spec["kind"]](place, spec)
    except ToldToStopError:
        status = 1 << 8
    except (OSError, TooLarge, UnicodeDecodeError) as error:
        sys.stderr.write(f"{error}\n")
        sys.stderr.flush()
        status = 1 << 8
    end_like(status)


def _edits(folder: Path, spec: dict[str, Any]) -> int:
    from routinectl.agents import edits

    return edits.run(folder, spec, Stopped())


def _prompt(folder: Path, spec: dict[str, Any]) -> int:
    from routinectl.agents import prompt

    key = os.environ.pop(KEY, "")
    return _asked(folder, spec, key, lambda around: prompt.run(spec, key, around))


def _agent(folder: Path, spec: dict[str, Any]) -> int:
    """Have an agent do its job. Its tools are started first: that forks, and the libraries of models have threads."""
    from routinectl.agents import edits, job
    from routinectl.agents.servers import Servers
    from routinectl.agents.tools import Tools
    from routinectl.core import agent

    key = os.environ.pop(KEY, "")
    proposes = spec["level"] == "propose_edits"
    with contextlib.ExitStack() as stack:
        stack.callback(edits.clear, folder)
        entry = edits.prepare(folder, spec) if proposes else spec["entry"]
        tools = Tools(entry, dict(os.environ))
        stack.callback(tools.end)
        servers = Servers(agent.read_servers(spec["mcp"]), entry, dict(os.environ), folder)
        stack.callback(servers.close)
        status = _asked(folder, spec, key, lambda around: job.run(spec, key, around, tools, servers))
        return edits.leave(folder) if proposes and status == 0 else status


def _asked(folder: Path, spec: dict[str, Any], key: str, ask: Callable[[Any], dict[str, Any]]) -> int:
    """Do what asks a model, leave the report of it, and return the exit status."""
    from routinectl.agents.prompt import OverBudgetError, Surroundings
    from routinectl.core import budget
    from routinectl.core.settings import Price
    from routinectl.engine.purse import Purse
    from routinectl.files.layout import Layout
    from routinectl.models.ask import ModelError

    signal.signal(signal.SIGTERM, _give_up)
    price = Price(*spec["model"]["price"]) if spec["model"]["price"] else None
    purse = Purse(Layout(Path(spec["workspace"])), spec["id"], spec["run"], spec["day"], budget.read(spec["budget"]), price,
                  [budget.Shared(name, tuple(tags), budget.Caps(*caps)) for name, tags, caps in spec["shared"]])  # fmt: skip
    masked = _masking([key, *(os.environ.get(name, "") for name in spec["secrets"])])

    def masked_text(text: str) -> str:
        return masked(text.encode(errors="replace")).decode(errors="replace")

    around = Surroundings(folder, purse, masked_text, _recorder(folder, masked), _drafter(spec), time.monotonic() + spec["seconds"])
    try:
        report = ask(around)
    except OverBudgetError as error:
        report = {"outcome": "over_budget", "detail": error.which, "message": str(error)}
    except ModelError as error:
        report = {"outcome": "failed", "detail": "model", "message": str(error)}
    except ToldToStopError:
        report = {"outcome": "failed", "detail": "stopped", "message": "it was told to stop"}
    report |= {"tokens": purse.spent.tokens, "cost": purse.spent.cost}
    (folder / REPORT).write_bytes(masked(json.dumps(report).encode()))
    if report["outcome"] in ("succeeded", "quiet"):
        return 0
    sys.stderr.write(f"{report['message']}\n")
    return 1 << 8


def _call(folder: Path, spec: dict[str, Any]) -> int:
    """Make one call of a tool that a person has approved, and print what came of it as JSON."""
    from routinectl.agents.servers import Servers
    from routinectl.agents.tools import Tools
    from routinectl.core import agent

    tool, arguments, seconds = spec["tool"], spec["arguments"], spec["seconds"]
    if tool in agent.TOOLS:
        tools = Tools(spec["entry"], dict(os.environ))
        done, text = tools.call(tool, arguments, seconds)
        tools.end()
    else:
        servers = Servers(agent.read_servers(spec["mcp"]), spec["entry"], dict(os.environ), folder)
        done, text = servers.call(tool, arguments, seconds)
        servers.close()
    sys.stdout.write(json.dumps({"done": done, "text": text}) + "\n")
    sys.stdout.flush()
    return 0


def _question(folder: Path, spec: dict[str, Any]) -> int:
    """Ask a model one thing for a command that must not do so itself, and print the answer as JSON."""
    from routinectl.core.prompt import Message
    from routinectl.models import ask

    named = spec["model"]
    try:
        model = ask.connect(named["provider"], named["model"], named["base_url"], os.environ.pop(KEY, ""))
        said = {"text": ask.ask(model, Message(spec["instructions"], spec["text"]), spec["max_tokens"], spec["seconds"]).text}
    except ask.ModelError as error:
        said = {"fault": str(error)}
    sys.stdout.write(json.dumps(said) + "\n")
    sys.stdout.flush()
    return 0


def _drafter(spec: Mapping[str, Any]) -> Callable[[Mapping[str, Any]], tuple[bool, str]]:
    """Return what drafts a routine: the command `add`, run below the keeper, so that what it makes is this run's draft and no person's."""
    from routinectl import clock
    from routinectl.core import agent
    from routinectl.core.permissions import Permissions
    from routinectl.process import child, proc

    def draft(asked: Mapping[str, Any]) -> tuple[bool, str]:
        if not proc.is_below("routinectl.process.keeper"):
            return False, "a trial makes no routines"
        if not isinstance(asked.get("id"), str) or not isinstance(asked.get("definition"), dict):
            return False, "id is text, and definition an object"
        own = Permissions(spec["level"], tuple(spec["read"]), tuple(spec["write"]), None, spec["network"], spec["external"])
        caps = {key: value for key, value in spec["budget"].items() if key != "per_day" and value is not None}
        end = (clock.now() + _LONGEST_LIFE).date().isoformat()
        definition = agent.descendant(asked["definition"], own, caps, end)
        words = [
            sys.executable,
            "-I",
            "-c",
            _COMMAND,
            str(_PACKAGE),
            "-w",
            spec["workspace"],
            "add",
            "--from",
            "-",
            "--id",
            str(asked["id"]),
        ]
        fault = child.run(words, json.dumps(definition).encode(), _ADD_SECONDS, folder=Path(spec["workspace"]), env={})
        return (False, fault) if fault else (True, f"{asked['id']} is a draft now; a person will approve it, or not")

    return draft


def _masking(secrets: list[str]) -> Callable[[bytes], bytes]:
    """Return what takes these secrets out of a text, in all their spellings."""
    from routinectl.process.mask import Masker

    def masked(data: bytes) -> bytes:
        masker = Masker([secret for secret in secrets if secret])
        return masker.feed(data) + masker.finish()

    return masked


def _recorder(folder: Path, masked: Callable[[bytes], bytes]) -> Callable[[Mapping[str, Any]], None]:
    """Return what appends a turn to the run's record, without secrets."""
    from routinectl import clock
    from routinectl.core.event import AS_JSON
    from routinectl.core.units import to_iso

    def record(turn: Mapping[str, Any]) -> None:
        line = json.dumps({"at": to_iso(clock.now()), **turn}, ensure_ascii=False).encode("utf-8", AS_JSON)
        with open(folder / TURNS, "ab") as file:
            file.write(masked(line) + b"\n")

    return record


_DO: Mapping[str, Callable[[Path, dict[str, Any]], int]] = {
    "edits": _edits,
    "prompt": _prompt,
    "agent": _agent,
    "call": _call,
    "question": _question,
}
