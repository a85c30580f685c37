"""routinectl add"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from routinectl.cli import ask, context, output, said
from routinectl.cli.doc_options import policy_options, trigger_options
from routinectl.core import document
from routinectl.core.units import to_iso
from routinectl.errors import UsageError
from routinectl.operations import templates, write
from routinectl.operations.session import Session

if TYPE_CHECKING:
    import typer

EXAMPLES = """
routinectl add Backup --daily 02:00 -- ./backup.sh --full
routinectl add "Disk check" --every 15m --timeout 1m --shell 'df -h / | tail -1'
routinectl add Report --schedule "every weekday at 9am" --python report:main
routinectl add Standup --weekly "mon,wed 18:30" --timezone Europe/Berlin -- ./standup
routinectl add --from backup.yaml --replace
routinectl add --template backup-git --set REPOSITORY=/srv/app.git --set TARGET=/var/backups
"""


def command(
    name: Annotated[str | None, typer.Argument(help="A name; the id is made from it.")] = None,
    program: Annotated[list[str] | None, typer.Argument(metavar="-- COMMAND", help="Program and arguments.")] = None,
    cron: Annotated[list[str] | None, typer.Option(help="Five cron fields, or @daily and the like.")] = None,
    every: Annotated[list[str] | None, typer.Option(help="An interval, such as 90m; counts from now.")] = None,
    daily: Annotated[list[str] | None, typer.Option(help="A time of day, such as 09:00.")] = None,
    weekly: Annotated[list[str] | None, typer.Option(help="Days and a time, such as 'mon,wed 18:30'.")] = None,
    at: Annotated[list[str] | None, typer.Option(help="One moment, such as 2026-12-24T18:00.")] = None,
    schedule: Annotated[list[str] | None, typer.Option(help="A phrase, such as 'every monday at 9am'.")] = None,
    manual: Annotated[bool, typer.Option("--manual", help="No trigger: run by hand only.")] = False,
    shell: Annotated[str | None, typer.Option(help="A line for /bin/sh instead of COMMAND.")] = None,
    python: Annotated[str | None, typer.Option(help="A Python function, module:function.")] = None,
    routine_id: Annotated[str | None, typer.Option("--id", help="The id, where the name should not give it.")] = None,
    description: Annotated[str | None, typer.Option(help="What it is for.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="A tag; may be given again.")] = None,
    timezone: Annotated[str | None, typer.Option(help="IANA name; else the workspace's.")] = None,
    timeout: Annotated[str | None, typer.Option(help="How long a run may take, such as 10m.")] = None,
    jitter: Annotated[str | None, typer.Option(help="A stable delay below this, to spread load.")] = None,
    misfire: Annotated[str | None, typer.Option(help="Missed slots: skip, run_once or catch_up.")] = None,
    allow: Annotated[int | None, typer.Option(help="Let so many runs of it overlap.")] = None,
    quiet_hours: Annotated[str | None, typer.Option(help="Nothing starts then: 22:00-07:00, or night.")] = None,
    approval: Annotated[str | None, typer.Option(help="Ask a person: before_enable, before_first_run or every_run.")] = None,
    ask_first: Annotated[bool, typer.Option("--ask-first", help="The same as --approval before_first_run.")] = False,
    template: Annotated[str | None, typer.Option(help="Make it of a template, disabled for review; see templates list.")] = None,
    env: Annotated[list[str] | None, typer.Option(help="NAME=VALUE; may be given again.")] = None,
    secret: Annotated[list[str] | None, typer.Option(help="NAME=env:VAR or NAME=file:PATH.")] = None,
    workdir: Annotated[str | None, typer.Option(help="Where it runs; else the routine's folder.")] = None,
    setting: Annotated[list[str] | None, typer.Option("--set", help="KEY=VALUE of the definition.")] = None,
    disabled: Annotated[bool, typer.Option("--disabled", help="Add it without letting it fire.")] = False,
    source: Annotated[Path | None, typer.Option("--from", help="A definition in YAML or JSON; - for stdin.")] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Make an existing one the same as this.")] = False,
    edit: Annotated[bool, typer.Option("--edit", help="Open it in the editor before it is written.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be written.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Answer as JSON.")] = False,
) -> None:
    """Add a routine: write its ROUTINE.yaml, and say when it will run.

    Phrases are written as the cron they mean. With --from and --replace this is an idempotent upsert: run it as often
    as you like. Without options, on a terminal, it asks step by step.
    """
    answers: dict[str, Any] = {}
    with Session(context.layout()) as session, ask.kept(answers):
        triggers = trigger_options(
            cron, every, daily, weekly, at, schedule, anchor=None if replace else to_iso(session.now.replace(microsecond=0))
        )
        doc: dict[str, Any] = {}
        if template is not None:
            doc = {key: value for key, value in (("name", name), ("description", description), ("timezone", timezone)) if value}
            doc |= ({"triggers": triggers} if triggers else {}) | policy_options(quiet_hours, approval, ask_first=ask_first)
            new_id = write.new_id(routine_id, name or template)
            made = templates.install(
                session, template, new_id, dict(_pair(item, "--set KEEP=7") for item in setting or ()), doc, dry_run=dry_run
            )
            said.written(made, session.now, dry_run=dry_run, as_json=as_json)
            return
        if source is not None:
            doc = _read(source)
            name = name or str(doc.get("name") or source.parent.name or source.stem)
        elif name is None and context.is_terminal():
            given = {"action": program or shell or python, "triggers": triggers or manual}
            answers |= ask.definition(session, routine_id=routine_id or "", wanted=[key for key, found in given.items() if not found])
            name, doc = answers["name"], dict(answers)
        elif name is None:
            raise UsageError("a routine wants a name", "routinectl add Backup --daily 02:00 -- ./backup.sh")
        doc = {"schema": 1, "name": name, **doc} if source is None else doc
        plain = {"description": description, "tags": tag, "timezone": timezone, "timeout": timeout, "jitter": jitter}
        doc |= {key: value for key, value in plain.items() if value}
        doc |= {"triggers": triggers} if triggers else {}
        doc |= {"misfire": {"policy": misfire}} if misfire else {}
        doc |= {"concurrency": {"policy": "allow", "max": allow}} if allow is not None else {}
        doc |= policy_options(quiet_hours, approval, ask_first=ask_first)
        doc |= {"enabled": False} if disabled else {}
        _action(doc, program, shell, python, env, secret, workdir)
        for text in setting or ():
            key, equals, value = text.partition("=")
            if not equals:
                raise UsageError(f"'{text}' is not KEY=VALUE", "--set misfire.grace=5m")
            _put(doc, write.parse_key(key), write.parse_value(value))
        if source is None and "triggers" not in doc and not manual and not edit:
            raise UsageError("when shall it run? give a trigger, or --manual", f"routinectl add '{name}' --daily 09:00 ...")
        if not doc.get("triggers", True):
            del doc["triggers"]  # by hand only
        new_id = write.new_id(routine_id, name)
        if not replace and not session.layout.definition(new_id).exists():
            write.require_free_name(session, doc)
        written = ask.edit_new(session, new_id, doc) if edit else write.create(session, new_id, doc, replace=replace, dry_run=dry_run)
        said.written(written, session.now, dry_run=dry_run, as_json=as_json)
        if not as_json and written.created and not dry_run and not session.serve_lives:
            output.say("  no serve is running here: routinectl serve")


def _read(source: Path) -> dict[str, Any]:
    raw = sys.stdin.buffer.read(document.MAX_BYTES + 1) if str(source) == "-" else source.read_bytes()
    doc = document.read(raw, str(source))
    if not isinstance(doc, dict):
        raise UsageError(f"{source} holds no definition: it is no mapping", "routinectl schema")
    return doc


def _action(
    doc: dict[str, Any], program: list[str] | None, shell: str | None, python: str | None, env: list[str] | None,
    secret: list[str] | None, workdir: str | None,
) -> None:  # fmt: skip
    ways = [way for way in ("COMMAND" if program else "", "--shell" if shell else "", "--python" if python else "") if way]
    if len(ways) > 1:
        raise UsageError(f"{' and '.join(ways)} exclude each other", "give one of them")
    action: dict[str, Any] = dict(doc.get("action", {}))
    if program:
        action = {"command": program}
    elif shell:
        action = {"command": shell}
    elif python:
        action = {"python": {"entrypoint": python}}
    if workdir:
        action["workdir"] = workdir
    if env:
        action["env"] = {**action.get("env", {}), **dict(_pair(item, "--env MODE=brief") for item in env)}
    for item in secret or ():
        key, reference = _pair(item, "--secret TOKEN=file:workspace:secrets/token")
        kind, colon, where = reference.partition(":")
        if not colon or kind not in ("env", "file"):
            raise UsageError(f"'{item}' names no source; secrets are references", "--secret TOKEN=env:TOKEN")
        action.setdefault("secrets", {})[key] = {kind: where}
    if action:
        doc["action"] = action
    elif "action" not in doc:
        raise UsageError("what shall it run? give a command after --", f"routinectl add '{doc.get('name')}' ... -- ./script.sh")


def _pair(text: str, hint: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise UsageError(f"'{text}' is not NAME=VALUE", hint)
    return key, value


def _put(doc: dict[str, Any], path: tuple[str | int, ...], value: Any) -> None:
    for part in path[:-1]:
        if not isinstance(part, str) or not isinstance(doc.setdefault(part, {}), dict):
            raise UsageError("--set reaches mappings only; write lists with --from", "--set misfire.policy=skip")
        doc = doc[part]
    if not isinstance(path[-1], str):
        raise UsageError("--set reaches mappings only; write lists with --from", "--set misfire.policy=skip")
    doc[path[-1]] = value
