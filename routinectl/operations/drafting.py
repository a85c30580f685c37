"""From a sentence to a draft: a model fills a definition in, our own reader decides what its schedule means, and a person approves it."""

from __future__ import annotations

import json
import re
import secrets
from typing import Any

from routinectl.core import foreign
from routinectl.core.prompt import DEFAULT_MODEL
from routinectl.core.schedule.phrase import EXAMPLES
from routinectl.engine import host, launch
from routinectl.errors import DefinitionError, RoutinectlError, UsageError
from routinectl.files import run_logs
from routinectl.operations import write
from routinectl.operations.session import Session
from routinectl.process import child

LONGEST = 2000  # characters of a wish
_TRIES = 2
_SECONDS = 90.0
_KEYS = frozenset({"name", "description", "schedule", "command", "shell", "prompt", "quiet_hours", "approval", "timeout"})
_INSTRUCTIONS = f"""You turn a wish into a routine of a scheduler. Answer with one JSON object and nothing else. Its keys:
name (short), description (one sentence), schedule (a phrase of English as in: {EXAMPLES}; leave it out for work that is started by hand),
and exactly one of: command (a list of a program and its arguments), shell (a line for sh), prompt (what a language model is asked).
Where the wish says so: quiet_hours {{"start": "22:00", "end": "07:00"}} (not at night), approval "before_first_run" (ask me first),
timeout (like 10m). Invent no programs, paths or times that the wish does not give; where it names no program, use prompt."""


def draft(session: Session, wish: str, *, model: str = DEFAULT_MODEL, owner: str = "", dry_run: bool = False) -> write.Written:
    """Have a model make a definition of a wish, and store it as a draft. Raises UsageError, DefinitionError, RoutinectlError.

    The session must be an agent's (`session.agent`), so that what is stored becomes a draft. A definition with faults
    goes back to the model once, with all of them.
    """
    wish = wish.strip()
    if not wish or len(wish) > LONGEST:
        raise UsageError("say in a sentence what is to be done, and when", 'routinectl propose "run nightly backup at midnight"')
    said, faults = "", ""
    for number in range(_TRIES):
        again = f"\n\nYour last answer was:\n{said}\nIt has faults:\n{faults}\nMend them." if number else ""
        said = _ask(session, model, wish + again)
        try:
            doc = _definition(said)
            doc |= {"owner": owner} if owner and owner != session.settings.owner else {}
            return write.create(session, write.id_from(doc["name"]), doc, dry_run=dry_run)
        except DefinitionError as error:
            faults = "\n".join([error.message, *(problem.message for problem in error.problems)])
    raise RoutinectlError(f"the model made no good definition of that: {faults}", "say it in other words, or: routinectl add --help")


def _ask(session: Session, model: str, text: str) -> str:
    """Ask in a process of its own: the libraries of models do not belong into this one."""
    try:
        asks = launch.model_of(session.layout, session.settings, model)
    except launch.CannotStart as error:
        example = "models: {default: {provider: openai, model: gpt-5-mini, api_key: {env: OPENAI_API_KEY}}} in routinectl.yaml"
        raise UsageError(str(error), example) from None
    folder = session.layout.tmp / f"propose-{secrets.token_hex(4)}"
    folder.mkdir(mode=0o700)
    key = asks.pop("key")
    spec = {"kind": "question", "model": asks, "instructions": _INSTRUCTIONS, "text": text, "max_tokens": 1000, "seconds": _SECONDS - 10}
    try:
        (folder / host.SPEC).write_text(json.dumps(spec))
        said = child.output_of(host.program(folder), {**launch.base_environment(), host.KEY: key}, _SECONDS).strip()
        answer = json.loads(said.splitlines()[-1])
    except (ValueError, IndexError):
        raise RoutinectlError(f"the model could not be asked: {said[-300:]}", "routinectl doctor") from None
    finally:
        run_logs.remove_tree(folder)
    if "fault" in answer:
        raise RoutinectlError(f"the model could not be asked: {answer['fault']}", "models: in routinectl.yaml")
    return str(answer["text"])


def _definition(said: str) -> dict[str, Any]:
    """Return the definition that an answer means; the model may fill in these keys and no others. Raises DefinitionError."""
    match = re.search(r"\{.*\}", said, re.DOTALL)
    try:
        found = foreign.parse(match[0]) if match else None
    except ValueError:
        found = None
    if not isinstance(found, dict) or not isinstance(found.get("name"), str):
        raise DefinitionError("the answer is no JSON object with a name")
    odd = found.keys() - _KEYS
    if odd:
        raise DefinitionError(f"there is no key {', '.join(sorted(odd))} here")
    kinds = [kind for kind in ("command", "shell", "prompt") if found.get(kind)]
    if len(kinds) != 1:
        raise DefinitionError("it has exactly one of command, shell and prompt")
    doc = {key: found[key] for key in ("name", "description", "quiet_hours", "approval", "timeout") if found.get(key)}
    if found.get("schedule"):
        doc["triggers"] = [{"schedule": found["schedule"]}]
    doc["action"] = {"prompt": {"text": found["prompt"]}} if kinds == ["prompt"] else {"command": found[kinds[0]]}
    return doc
