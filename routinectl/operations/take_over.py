"""Taking routines over: from a crontab, from a bundle, from IronClaw."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from routinectl.core import crontab, document, foreign
from routinectl.core.crontab import Entry
from routinectl.core.routine import Routine
from routinectl.core.schedule import zone
from routinectl.core.units import format_duration, to_iso
from routinectl.errors import DefinitionError, RoutinectlError, UsageError
from routinectl.files import definitions, editing
from routinectl.operations import write
from routinectl.operations.session import Session

_FIRES = 5
_END_OF_INPUT = "END_OF_INPUT"
_LONG = "24h"  # cron sets no limit; a routine always has one


@dataclass(slots=True)
class Taken:
    """One routine that was taken over: its next fires, what another reader of cron says, and remarks."""

    id: str
    source: str
    fires: list[str] = field(default_factory=list)
    agrees: bool = True
    other: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    text: str = ""


@dataclass(slots=True)
class Import:
    """Everything an import came to; `notes` are lines that could not be carried over."""

    taken: list[Taken] = field(default_factory=list)
    notes: list[tuple[int, str]] = field(default_factory=list)


def from_crontab(session: Session, text: str, *, system: bool, me: str, dry_run: bool = False) -> Import:
    """Write a routine for each entry of a crontab. Raises UsageError when a line's time zone is unknown."""
    parsed = crontab.parse(text, system=system)
    result = Import(notes=list(parsed.notes))
    taken = set(session.world.ids())
    for entry in parsed.entries:
        routine_id = _free_id(session, write.id_from(_name_of(entry.command)), taken)
        doc, remarks = _doc_of(entry, me)
        try:
            zone.load(doc.get("timezone", session.settings.timezone))
            written = write.create(session, routine_id, doc, dry_run=dry_run)
        except DefinitionError as error:
            result.notes.append((entry.line, f"{error.problems[0].message if error.problems else error.message}: {entry.command}"))
            continue
        item = Taken(routine_id, f"line {entry.line}: {entry.cron} {entry.command}", remarks=remarks, text=written.text)
        _compare(item, written.routine, entry, session)
        result.taken.append(item)
    return result


def _name_of(command: str) -> str:
    """Return a name for a command: its program without folder and ending; the first real one of a shell line."""
    words = re.split(r"[\s;&|]+", command)
    skipped = {"cd", "test", "[", "sudo", "nice", "ionice", "env", "flock", "exec", "command", "-x", "nohup", "timeout", "if", "root"}
    for word in words:
        base = os.path.basename(word.strip("\"'()")).partition(".")[0]
        if word and not word.startswith("-") and "=" not in word and base not in skipped and re.match(r"[A-Za-z]", base):
            if words[0] == "cd" and word == words[1]:
                continue
            return base
    return "job"


def _free_id(session: Session, base: str, taken: set[str]) -> str:
    """Return an id that neither a routine nor a folder has, and take it."""
    ends = ("", *(f"-{number}" for number in range(2, 10_000)))
    candidates = (base[: 63 - len(end)] + end for end in ends)
    found = next(name for name in candidates if name not in taken and not os.path.lexists(session.layout.folder(name)))
    taken.add(found)
    return found


def _doc_of(entry: Entry, me: str) -> tuple[dict[str, Any], list[str]]:
    settings = entry.settings
    remarks = list(crontab.remarks(entry, me))
    command = entry.command
    if entry.stdin is not None:
        end = _END_OF_INPUT
        while end in entry.stdin.split("\n"):
            end += "_"
        command = f"{{ {command}\n}} <<'{end}'\n{entry.stdin}{end}\n"
    home = settings.get("HOME") or os.path.expanduser("~")
    action: dict[str, Any] = {"command": command, "workdir": home}
    if settings.get("SHELL") and settings["SHELL"] != "/bin/sh":
        action["shell"] = settings["SHELL"]
    env = crontab.environment(entry)
    if env:
        action["env"] = env
    doc: dict[str, Any] = {"schema": 1, "name": entry.comment[:255] or _name_of(entry.command)}
    doc["description"] = f"From a crontab, line {entry.line}."
    if settings.get("CRON_TZ"):
        doc["timezone"] = settings["CRON_TZ"]
    doc["triggers"] = [{"cron": entry.cron}]
    if settings.get("RANDOM_DELAY", "0").isdigit() and int(settings.get("RANDOM_DELAY", "0")):
        doc["jitter"] = f"{settings['RANDOM_DELAY']}m"
    return {**doc, "timeout": _LONG, "action": action}, remarks


def _compare(item: Taken, routine: Routine, entry: Entry, session: Session) -> None:
    """Ask another reader of cron for the same fires: two that agree are worth more than one that is sure."""
    from datetime import datetime

    from croniter import croniter

    local = session.now.astimezone(routine.zone.info)
    ours = [slot.astimezone(routine.zone.info).isoformat() for slot in routine.schedule.upcoming(session.now, _FIRES)]
    item.fires = ours
    text = entry.cron.lower() if entry.cron.startswith("@") else entry.cron
    try:
        reader = croniter({"@annually": "@yearly"}.get(text, text), local, implement_cron_bug=True)
        item.other = [reader.get_next(datetime).isoformat() for _ in ours]
    except (ValueError, KeyError) as error:
        item.other, item.agrees = [str(error)], False
        return
    item.agrees = [datetime.fromisoformat(text) for text in item.other] == [datetime.fromisoformat(text) for text in ours]


def bundle(session: Session, names: list[str]) -> dict[str, Any]:
    """Return routines with the files of their folders as one JSON document. Raises RoutinectlError for binary files."""
    found = []
    for name in names:
        files = {}
        folder = session.layout.folder(name)
        for path in sorted(folder.rglob("*")):
            relative = path.relative_to(folder)
            if path.is_file() and relative.parts[0] not in ("memory", "state.json", "history.jsonl", "out"):
                try:
                    files[str(relative)] = {"text": path.read_text(), "mode": f"{path.stat().st_mode & 0o777:o}"}
                except UnicodeDecodeError:
                    raise RoutinectlError(f"{path} is no text, and a bundle holds text only", f"git bundle, or tar -C {folder}") from None
        found.append({"id": name, "files": files})
    return {"routinectl": "bundle", "schema": 1, "made_at": to_iso(session.now), "routines": found}


def from_bundle(session: Session, text: str, *, dry_run: bool = False) -> Import:
    """Write the routines of a bundle, disabled, under other ids where theirs are taken. Raises UsageError, DefinitionError."""
    try:
        plain = foreign.parse(text)
        routines = [(item["id"], dict(item["files"])) for item in plain["routines"]]
        if plain.get("routinectl") != "bundle":
            raise KeyError("routinectl")
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"this is no bundle: {error}", "routinectl export ID --format bundle > FILE") from None
    result = Import()
    taken = set(session.world.ids())
    for wanted, files in routines:
        routine_id = _free_id(session, write.new_id(wanted, ""), taken)
        item = Taken(routine_id, str(wanted))
        if routine_id != wanted:
            item.remarks.append(f"{wanted} exists already, so it is {routine_id}")
        _land(session, routine_id, files, item, dry_run=dry_run)
        result.taken.append(item)
    return result


def _land(session: Session, routine_id: str, files: dict[str, Any], item: Taken, *, dry_run: bool) -> None:
    main = files.pop("ROUTINE.yaml", None)
    if main is None:
        raise UsageError(f"the bundle has no ROUTINE.yaml for {item.source}", "routinectl export ID --format bundle")
    raw = str(main["text"]).encode()
    doc = document.read(raw, f"{item.source}/ROUTINE.yaml")
    if not isinstance(doc, dict):
        raise UsageError(f"the definition of {item.source} is no mapping", "routinectl schema")
    data = editing.change(raw, {("enabled",): False})
    if not dry_run:
        folder = session.layout.folder(routine_id)
        for name, content in files.items():
            path = (folder / name).resolve()
            if not path.is_relative_to(folder.resolve()) or name.startswith(".") or ".git" in name.lower().split("/"):
                raise UsageError(f"the bundle's file {name} leaves the routine's folder", "do not trust this bundle")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(str(content["text"]))
            path.chmod(int(str(content.get("mode", "644")), 8) & 0o755)
    item.text = write.store(session, routine_id, data, created=True, dry_run=dry_run).text


def from_ironclaw(session: Session, text: str, *, dry_run: bool = False) -> Import:
    """Write routines from IronClaw's JSON, disabled; what is missing before they can run is named."""
    try:
        plain = foreign.parse(text)
    except ValueError as error:
        raise UsageError(f"this is no JSON: {error}", "routinectl import ironclaw FILE.json") from None
    items = plain if isinstance(plain, list) else plain.get("routines", [plain]) if isinstance(plain, dict) else []
    result = Import()
    taken = set(session.world.ids())
    for number, item in enumerate(items, 1):
        if not isinstance(item, dict) or "trigger" not in item:
            result.notes.append((number, "it has no trigger, so it is no routine"))
            continue
        routine_id = _free_id(session, write.id_from(str(item.get("name", "routine"))), taken)
        doc, remarks = ironclaw_doc(item)
        done = Taken(routine_id, str(item.get("name", routine_id)), remarks=remarks)
        data = editing.dump(write.ordered(doc), head=write.HEAD)
        problems = definitions.problems_of(doc, routine_id, session.settings, session.now, past=True)
        done.remarks += [problem.message for problem in problems]
        done.text = data.decode()
        if not dry_run:
            with editing.lock(session.layout):
                editing.write(session.layout.definition(routine_id), data)
            session.look_at(routine_id)
        result.taken.append(done)
    return result


def ironclaw_doc(item: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return the definition that an IronClaw routine means, and remarks; see docs/from-others.md for the table."""
    remarks: list[str] = []
    doc: dict[str, Any] = {"schema": 1, "name": str(item.get("name", "routine")), "enabled": False}
    if item.get("description"):
        doc["description"] = str(item["description"])
    trigger = _flat(item["trigger"])
    found = _ironclaw_trigger(trigger, remarks)
    if found is not None:
        doc["triggers"] = [found]
    guardrails = item.get("guardrails", {}) or {}
    doc |= _ironclaw_guardrails(guardrails)
    doc["action"] = _ironclaw_action(_flat(item.get("action", {})), remarks)
    notify = item.get("notify", {}) or {}
    occasions = [
        name for key, name in (("on_success", "succeeded"), ("on_failure", "failed"), ("on_attention", "approval")) if notify.get(key)
    ]
    if occasions:
        doc["notify"] = {"on": occasions, **({"to": [str(notify["channel"])]} if notify.get("channel") else {})}
    return doc, remarks


def _flat(value: Any) -> dict[str, Any]:
    """Return a tagged value (`{"cron": {...}}` or `{"type": "cron", ...}`) as one mapping with its type."""
    if isinstance(value, str):
        return {"type": value.lower()}
    if isinstance(value, dict) and "type" not in value and len(value) == 1:
        ((kind, content),) = value.items()
        return {"type": kind.lower(), **(content if isinstance(content, dict) else {})}
    return {**value, "type": str(value.get("type", "")).lower()} if isinstance(value, dict) else {"type": ""}


def _ironclaw_trigger(trigger: dict[str, Any], remarks: list[str]) -> dict[str, Any] | None:
    kind = trigger["type"]
    if kind == "cron":
        fields = str(trigger.get("schedule", "")).split()
        if len(fields) in (6, 7):
            if fields[0] != "0":
                remarks.append(f"the seconds '{fields[0]}' are left out")
            fields = fields[1:6]
        zoned = {"timezone": str(trigger["timezone"])} if trigger.get("timezone") else {}
        return {"cron": " ".join(fields), **zoned}
    if kind == "event":
        return {"message": {"channel": str(trigger.get("channel") or "any"), "pattern": str(trigger.get("pattern", ""))}}
    if kind == "webhook":
        return {"webhook": {"path": write.id_from(str(trigger.get("path") or "hook"))}}
    if kind != "manual":
        remarks.append(f"the trigger '{kind}' has no counterpart; it is run by hand")
    return None


def _ironclaw_guardrails(guardrails: dict[str, Any]) -> dict[str, Any]:
    doc: dict[str, Any] = {}
    for key, name in (
        ("cooldown", "cooldown"),
        ("cooldown_secs", "cooldown"),
        ("dedup_window", "dedup_window"),
        ("dedup_window_secs", "dedup_window"),
    ):
        value = guardrails.get(key)
        seconds = value.get("secs") if isinstance(value, dict) else value
        if isinstance(seconds, (int, float)) and seconds > 0:
            doc[name] = format_duration(seconds)
    most = guardrails.get("max_concurrent")
    if isinstance(most, int) and most > 1:
        doc["concurrency"] = {"policy": "allow", "max": most}
    return doc


def _ironclaw_action(action: dict[str, Any], remarks: list[str]) -> dict[str, Any]:
    kind = action["type"]
    if kind in ("lightweight", "prompt"):
        prompt = {"text": str(action.get("prompt", ""))}
        extra = {"context": action.get("context_paths"), "max_tokens": action.get("max_tokens")}
        return {"prompt": {**prompt, **{key: value for key, value in extra.items() if value}}}
    if kind in ("full_job", "fulljob"):
        agent = {"title": action.get("title"), "task": action.get("description"), "max_iterations": action.get("max_iterations")}
        return {"agent": {key: value for key, value in agent.items() if value}}
    remarks.append(f"the action '{kind}' has no counterpart")
    return {"command": "false"}


def read(path: Path, stdin: BinaryIO) -> str:
    """Return the text of an import, its lines ended as they are: a carriage return begins none. Raises UsageError when it is not UTF-8."""
    return decoded(stdin.read() if str(path) == "-" else path.read_bytes(), str(path))


def decoded(raw: bytes, source: str) -> str:
    """Return bytes as text, without a byte order mark. Raises UsageError when they are not UTF-8."""
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{source} is not UTF-8: {error}", f"{source if ' ' in source else f'cat {source}'} | iconv -f latin1 -t utf-8"
        ) from None
