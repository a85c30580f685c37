"""Creating and changing definitions: check first, write durably, take in, and say what was understood."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from routinectl.core import document, foreign
from routinectl.core.reaction import Webhook
from routinectl.core.routine import Routine, build, is_id
from routinectl.core.schedule import zone
from routinectl.core.schedule.read import Reading, definite, read_trigger
from routinectl.core.units import to_epoch
from routinectl.errors import DefinitionError, ExistsError, RoutinectlError, UsageError
from routinectl.files import definitions, editing
from routinectl.operations import approvals, hooks, lineage
from routinectl.operations.session import Session
from routinectl.process import git

HEAD = "# yaml-language-server: $schema=../../.routinectl/routine.schema.json\n"
_AGENTS_INTERVAL = 30  # seconds: what an agent may ask for at the shortest, whatever the workspace allows
_ORDER = ("schema", "name", "description", "tags", "owner", "enabled", "timezone", "triggers", "start", "end")
_Doc = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Written:
    """What a write came to: the routine in force now, whether anything changed, and how many runs there were."""

    id: str
    routine: Routine
    created: bool
    changed: bool
    text: str
    runs: int = 0


def id_from(name: str) -> str:
    """Return the id that a name gives: lower case, blanks and `_` to `-`, accents dropped. Raises UsageError."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    text = re.sub(r"-{2,}", "-", re.sub(r"[^a-z0-9-]", "", re.sub(r"[\s_]+", "-", plain.strip()))).strip("-")[:63]
    if not is_id(text):
        raise UsageError(f"'{name}' gives no id: an id has lower-case letters, digits and -", "routinectl add my-backup ...")
    return text


def new_id(wanted: object, name: object) -> str:
    """Return the id of a new routine: the one that is asked for, else (None) what its name gives. Raises UsageError."""
    if wanted is None:
        return id_from(str(name or ""))
    if not isinstance(wanted, str) or not is_id(wanted):
        raise UsageError(
            f"{str(wanted)[:80]!r} is not an id: lower-case letters, digits and -, at most 63", "routinectl add --id my-backup ..."
        )
    return wanted


def ordered(doc: Mapping[str, Any]) -> _Doc:
    """Return a new definition's keys in the order people read them."""
    first = {key: doc[key] for key in _ORDER if key in doc}
    last = {"action": doc["action"]} if "action" in doc else {}
    return {**first, **{key: value for key, value in doc.items() if key not in first and key != "action"}, **last}


def settle_triggers(session: Session, doc: _Doc) -> tuple[_Doc, str]:
    """Return a definition in which phrases are the cron they mean and intervals have their anchor, and the phrases.

    What a phrase means must not depend on the day it is read. Raises ScheduleError.
    """
    triggers, phrases = [], []
    given, timezone = doc.get("triggers"), doc.get("timezone", session.settings.timezone)
    if not isinstance(given, list) or not isinstance(timezone, str):
        return doc, ""  # whoever checks it says what is wrong with it
    reading = Reading(zone.load(timezone), to_epoch(session.now), least_interval(session))
    for trigger in given:
        settled = trigger
        if isinstance(trigger, dict) and "schedule" in trigger:
            found = read_trigger(trigger, reading)
            zone_key = {"timezone": found.zone.name} if found.zone.name != reading.zone.name else {}
            settled = {**definite(found), **zone_key}
            phrases.append(str(trigger["schedule"]))
        triggers.append(settled)
    return ({**doc, "triggers": triggers} if triggers else doc), "; ".join(phrases)


def least_interval(session: Session) -> int:
    """Return the shortest interval (seconds) that a definition of this writer may have: a person may lower it, an agent not."""
    least = session.settings.min_interval
    return max(least, _AGENTS_INTERVAL) if approvals.agent(session) else least


def create(session: Session, routine_id: str, doc: _Doc, *, replace: bool = False, dry_run: bool = False) -> Written:
    """Write a new definition; with `replace`, an existing one is made the same as it, and equal ones are left alone.

    Raises UsageError when the id is taken, DefinitionError with all faults of the definition.
    """
    layout = session.layout
    path = layout.definition(routine_id)
    exists = path.exists() or path.is_symlink()
    if exists and not replace:
        raise _taken(session, routine_id)
    settled, phrase = settle_triggers(session, doc)
    data = editing.dump(ordered(settled), head=HEAD, notes={"triggers": f"said as: {phrase}"} if phrase else None)
    if exists and _same(session, routine_id, data):
        text = definitions.read_bytes(layout, routine_id).decode(errors="replace")
        return Written(routine_id, _built(session, routine_id, data), False, False, text, runs_of(session, routine_id))
    return store(session, routine_id, data, created=not exists, dry_run=dry_run)


def _taken(session: Session, routine_id: str) -> ExistsError:
    """Return the error of an id that is not free; whose routine has it is for those to know for whom it is there."""
    if session.exists(routine_id) and not session.shows(routine_id):
        return ExistsError(f"the id {routine_id} is taken", f'choose another with "id": "{routine_id[:61]}-2"')
    return ExistsError(f"the routine {routine_id} exists already", f"routinectl edit {routine_id}, or add --replace")


def require_free_name(session: Session, doc: Mapping[str, Any]) -> None:
    """Raise UsageError when the owner has a routine of this name already: people could not tell the two apart."""
    owner, name = doc.get("owner", session.settings.default_owner), doc.get("name")
    for other in session.alive():
        known = session.standing(other).doc or {}
        if known.get("name") == name and known.get("owner", session.settings.default_owner) == owner:
            raise ExistsError(f"{owner} has a routine named '{name}' already: {other}", f"another name, or routinectl edit {other}")


def _same(session: Session, routine_id: str, data: bytes) -> bool:
    try:
        before = definitions.load(session.layout, routine_id, session.settings, session.now)
    except DefinitionError:
        return False
    name = str(session.layout.definition(routine_id))
    after = definitions.parse(session.layout, data, name, routine_id, session.settings, session.now, past=True)
    return before.fingerprint == after.fingerprint and before.doc.get("enabled", True) == after.doc.get("enabled", True)


def store(session: Session, routine_id: str, data: bytes, *, created: bool, dry_run: bool = False) -> Written:
    """Check a definition's text and write it. Raises DefinitionError with all its faults; then nothing was written."""
    if created:
        new_id(routine_id, "")
    definitions.require_inside(session.layout, routine_id)
    definition = parsed(session, routine_id, data, past=not created)
    routine = build(routine_id, definition.doc, session.now)
    _require_free_paths(session, routine)
    if not dry_run:
        path = session.layout.definition(routine_id)
        by = approvals.agent(session)
        lineage.require_no_wider(session, by, routine)
        if created:
            lineage.require_room(session, by)
        approvals.before_writing(session, routine_id, definition.fingerprint, session.now)
        with editing.lock(session.layout):
            editing.write(path, data)
        session.look_at(routine_id)
        commit(session, routine_id, "add" if created else "edit")
    return Written(routine_id, routine, created, True, data.decode(), runs_of(session, routine_id))


def _require_free_paths(session: Session, routine: Routine) -> None:
    """Raise ExistsError when another routine has one of its webhook's paths already."""
    mine = {item.path or routine.id for item in routine.reactions if isinstance(item, Webhook)}
    for other, item in hooks.listening(session) if mine else ():
        if other.id != routine.id and (item.path or other.id) in mine:
            whose = f"belongs to {other.id}" if session.shows(other.id) else "is taken"
            raise ExistsError(f"the webhook path '{item.path or other.id}' {whose}", "webhook: {path: another-one}")


def commit(session: Session, routine_id: str, what: str) -> None:
    """Commit the touched definition where the workspace wants that. Raises RoutinectlError when git refuses."""
    if session.settings.git_commit:
        try:
            with editing.lock(session.layout):
                git.commit(session.layout.root, [session.layout.definition(routine_id)], f"routine {routine_id}: {what}")
        except RoutinectlError as error:
            raise RoutinectlError(f"the definition is written, but git did not commit it: {error.message}", error.hint) from None


def parsed(session: Session, routine_id: str, data: bytes, *, past: bool = True) -> definitions.Definition:
    """Return the definition of a text, for this writer; `past`: its single moments may be over. Raises DefinitionError with all faults."""
    name = definitions.relative(session.layout, session.layout.definition(routine_id))
    settings = replace(session.settings, min_interval=least_interval(session))
    return definitions.parse(session.layout, data, name, routine_id, settings, session.now, past=past)


def runs_of(session: Session, routine_id: str) -> int:
    """Return how many runs of a routine count towards its `max_runs`."""
    return session.standing(routine_id).run_count if session.exists(routine_id) else 0


def _built(session: Session, routine_id: str, data: bytes) -> Routine:
    return build(routine_id, parsed(session, routine_id, data).doc, session.now)


def edit(session: Session, routine_id: str, changes: Mapping[tuple[str | int, ...], Any], *, dry_run: bool = False) -> Written:
    """Change keys of a definition and nothing else of its file. Raises as `store` and `editing.change` do."""
    raw = definitions.read_bytes(session.layout, routine_id)
    current = document.read(raw, definitions.relative(session.layout, session.layout.definition(routine_id)))
    if not isinstance(current, dict):
        raise DefinitionError(f"the definition of {routine_id} is no mapping", f"routinectl edit {routine_id}")
    data = editing.change(raw, changes)
    if data == raw:
        return Written(routine_id, _built(session, routine_id, raw), False, False, raw.decode(), runs_of(session, routine_id))
    return store(session, routine_id, data, created=False, dry_run=dry_run)


def merge(session: Session, routine_id: str, patch: Mapping[str, Any]) -> None:
    """Change a definition by a JSON merge patch (RFC 7396); the rest of its file stays as it is. Raises as `edit` does."""
    changes = _merge(session, routine_id, definitions.read_bytes(session.layout, routine_id), patch)
    if changes:
        edit(session, routine_id, changes)


def merged(session: Session, routine_id: str, patch: Mapping[str, Any]) -> str:
    """Return what a file would say after `merge`. Raises DefinitionError where it cannot be read, or changed so."""
    raw = definitions.read_bytes(session.layout, routine_id)
    return editing.change(raw, _merge(session, routine_id, raw, patch)).decode(errors="replace")


def _merge(session: Session, routine_id: str, raw: bytes, patch: Mapping[str, Any]) -> dict[tuple[str | int, ...], Any]:
    found = document.read(raw, definitions.relative(session.layout, session.layout.definition(routine_id)))
    return _changes(found if isinstance(found, dict) else {}, patch, ())


def _changes(current: Mapping[str, Any], wanted: Mapping[str, Any], above: tuple[str | int, ...]) -> dict[tuple[str | int, ...], Any]:
    changes: dict[tuple[str | int, ...], Any] = {}
    for key, value in wanted.items():
        before = current.get(key)
        if value is None:
            changes |= {(*above, key): editing.REMOVE} if key in current else {}
        elif isinstance(value, dict) and isinstance(before, dict):
            changes |= _changes(before, value, (*above, key))
        elif value != before or type(value) is not type(before):
            changes[*above, key] = value
    return changes


def parse_key(text: str) -> tuple[str | int, ...]:
    """Return the path of a key as people write it: `misfire.policy`, `triggers[0].cron`. Raises UsageError."""
    if not re.fullmatch(r"[A-Za-z_][\w-]*(\[[0-9]+\])*(\.[A-Za-z_][\w-]*(\[[0-9]+\])*)*", text):
        raise UsageError(f"'{text}' is no key", "--set timeout=10m, or --set misfire.policy=skip")
    parts: list[str | int] = []
    for name, index in re.findall(r"([A-Za-z_][\w-]*)|\[([0-9]+)\]", text):
        parts.append(name or int(index))
    return tuple(parts)


def parse_value(text: str) -> Any:
    """Return a value as a definition would read it: numbers, true and false, lists and mappings, else text."""
    if text[:1] in "[{":
        try:
            return foreign.parse(text)
        except ValueError:
            return document.read(text.encode(), "the value")
    if text[:1] in "\"'" and text[-1:] == text[:1] and len(text) > 1:
        return text[1:-1]
    return document.scalar(text)
