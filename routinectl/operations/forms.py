"""A definition as a form shows it: which of its keys can be shown whole, and so be changed without a loss.

A form shows less than a definition can say. What is not shown whole is shown as it is and cannot be changed there, and
what nobody has changed is never written back: so a form cannot turn one thing into another, a list of words into a line
that a shell reads least of all. This is decided here for every face.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from routinectl.core import foreign
from routinectl.core.problem import Problem
from routinectl.errors import DefinitionError
from routinectl.files.editing import REMOVE

Row = dict[str, Any]
Changes = dict[tuple[str | int, ...], Any]
NEW: Row = {"triggers": [{"daily": "09:00"}], "timeout": "10m", "action": {"command": ""}}
_TEXTS = ("name", "description", "timezone", "timeout")
_KINDS = ("command", "prompt", "agent")
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_CLOCK = re.compile(r"(?P<hour>[0-9]{1,2}):(?P<minute>[0-9]{2})", re.ASCII)
_SIMPLE = re.compile(
    r"(?P<minute>[0-9]{1,2}) (?P<hour>[0-9]{1,2}) (?P<day>\*|[0-9]{1,2}) \* (?P<days>\*|1-5|mon-fri)", re.ASCII | re.IGNORECASE
)
_NO_LINE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_NO_TEXT = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def shown(doc: Mapping[str, Any], agents: Sequence[str]) -> Row:
    """Return for each field what it shows, whether it may be changed, and if not why; `agents` are the saved ones."""
    enabled = doc.get("enabled", True)
    return {
        **{key: _text(doc, key) for key in _TEXTS},
        "triggers": _schedule(doc.get("triggers") or []),
        "action": _action(doc.get("action", {}), agents),
        "payload": _payload(doc.get("action", {})),
        "enabled": _may(enabled) if isinstance(enabled, bool) else _fixed(enabled, "it is neither true nor false"),
    }


def changes(doc: Mapping[str, Any], values: Mapping[str, Any]) -> Changes:
    """Return the changes of a definition that these new values of fields mean. Raises DefinitionError."""
    fields = shown(doc, ())
    found: Changes = {}
    for key, value in values.items():
        field = fields.get(key)
        if field is None or not field["editable"]:
            why = field["why"] if field else "there is no such field"
            raise _fault(f"a form cannot change this here: {why}", key, "change it in the YAML")
        if value != field["value"]:
            found |= _CHANGE.get(key, _text_change)(doc, key, value)
    return found


def _may(value: Any, **more: Any) -> Row:
    return {"value": value, "text": value if isinstance(value, str) else "", "editable": True, "why": "", **more}


def _fixed(value: Any, why: str, **more: Any) -> Row:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return {"value": None, "text": text, "editable": False, "why": why, **more}


def _fault(message: str, key: str, hint: str) -> DefinitionError:
    problem = Problem(message, tuple(key.split(".")), hint)
    return DefinitionError(str(problem), hint, [problem])


# -- texts


def _text(doc: Mapping[str, Any], key: str) -> Row:
    value = doc.get(key, "")
    if not isinstance(value, str):
        return _fixed(value, "it is no text")
    return _fixed(value, "it is more than one line of text") if _NO_LINE.search(value) else _may(value)


def _text_change(doc: Mapping[str, Any], key: str, value: Any) -> Changes:
    if not isinstance(value, str):
        raise _fault("it is a text", key, f"{key}: ...")
    return {(key,): value} if value else {(key,): REMOVE} if key in doc else {}


def _enabled_change(doc: Mapping[str, Any], key: str, value: Any) -> Changes:
    return {(key,): bool(value)}


# -- when


def _schedule(triggers: Any) -> Row:
    """Return the schedule as a builder knows it (`value`), and as one would type it (`text`)."""
    if not triggers:
        return _may({"kind": "none"})
    if not isinstance(triggers, list) or len(triggers) > 1:
        return _fixed(triggers, f"it has {len(triggers)} triggers")
    trigger = triggers[0]
    kind = next((key for key in ("cron", "every", "daily", "weekly", "schedule") if isinstance(trigger, dict) and key in trigger), "")
    if not kind:
        return _fixed(
            triggers, f"it is a trigger of kind {next(iter(trigger))}" if isinstance(trigger, dict) and trigger else "it is no trigger"
        )
    if len(trigger) > 1:
        return _fixed(triggers, f"its trigger also has {', '.join(key for key in trigger if key != kind)}")
    said = _weekly(trigger[kind]) if kind == "weekly" else _plain(kind, trigger[kind])
    return _may(said[0], text=said[1]) if said else _fixed(triggers, f"its {kind} is written in a way of its own")


def _plain(kind: str, value: Any) -> tuple[Row, str] | None:
    if not isinstance(value, str) or _NO_LINE.search(value):
        return None
    if kind == "daily":
        time = _clock(value)
        return ({"kind": "daily", "time": time}, f"daily at {value}") if time else None
    if kind == "every":
        return {"kind": "every", "every": value}, f"every {value}"
    if kind == "schedule":
        return {"kind": "words", "text": value}, value
    simple = _SIMPLE.fullmatch(value)
    time = _clock(f"{simple['hour']}:{simple['minute'].zfill(2)}") if simple else ""
    if simple and time and simple["day"] != "*" and simple["days"] == "*":
        return {"kind": "monthly", "time": time, "day": simple["day"]}, value
    if simple and time and simple["day"] == "*" and simple["days"] != "*":
        return {"kind": "weekdays", "time": time}, value
    return {"kind": "cron", "cron": value}, value


def _weekly(value: Any) -> tuple[Row, str] | None:
    days = value.get("days") if isinstance(value, dict) and value.keys() == {"days", "time"} else None
    time = _clock(value["time"]) if days else ""
    if not time or not isinstance(days, list) or not all(day in _DAYS for day in days):
        return None
    return {"kind": "days", "days": days, "time": time}, f"every {' and '.join(days)} at {time}"


def _clock(value: Any) -> str:
    found = _CLOCK.fullmatch(value) if isinstance(value, str) else None
    return f"{int(found['hour']):02}:{found['minute']}" if found and int(found["hour"]) < 24 and int(found["minute"]) < 60 else ""


def _schedule_change(_: Mapping[str, Any], key: str, value: Any) -> Changes:
    triggers = [{"schedule": value}] if isinstance(value, str) and value else _built(value) if isinstance(value, dict) else []
    return {(key,): triggers or REMOVE}


def _built(value: Mapping[str, Any]) -> list[Row]:
    """Return the trigger that a builder means."""
    time = str(value.get("time") or "09:00")
    hour, _, minute = time.partition(":")
    clock = f"{int(minute) if minute.isdigit() else minute} {int(hour) if hour.isdigit() else hour}"
    made: dict[str, Row] = {
        "daily": {"daily": time}, "weekdays": {"cron": f"{clock} * * 1-5"}, "monthly": {"cron": f"{clock} {value.get('day') or 1} * *"},
        "days": {"weekly": {"days": list(value.get("days") or []), "time": time}}, "every": {"every": str(value.get("every") or "1h")},
        "cron": {"cron": str(value.get("cron") or "")}, "words": {"schedule": str(value.get("text") or "")},
    }  # fmt: skip
    return [made[str(value["kind"])]] if value.get("kind") in made else []


# -- what


def _action(action: Any, agents: Sequence[str]) -> Row:
    """Return the action: its kind, its text, the agent it uses, and the kinds that it may become without losing anything."""
    if not isinstance(action, dict):
        return _fixed(action, "it is no mapping", kind="other", kinds=[], agents=[])
    kinds = [kind for kind in (*_KINDS, "python") if kind in action] or ["command"]
    kind = kinds[0] if len(kinds) == 1 else "other"
    text, use, why = _action_text(action, kind)
    if why:
        return _fixed(text, why, kind=kind, kinds=[kind], agents=[])
    inner = action.get(kind, {})
    more = (action.keys() - {kind, "payload"}) or (isinstance(inner, dict) and inner.keys() - {"text", "use", "task"})
    may_be = [kind] if more else [item for item in _KINDS if item != "agent" or agents or kind == "agent"]
    return _may(
        {"kind": kind, "text": text, "use": use}, text=text, kind=kind, kinds=may_be, agents=sorted({*agents, *([use] if use else [])})
    )


def _action_text(action: Row, kind: str) -> tuple[Any, str, str]:
    """Return the text of an action, the saved agent it uses, and why a form cannot change it."""
    inner = action.get(kind, "")
    if kind == "command" and isinstance(inner, list):
        words = shlex.join(map(str, inner))
        return words, "", "it is a list of words, which no shell reads; as one line, a shell would read it"
    if kind == "python":
        return inner.get("entrypoint", "") if isinstance(inner, dict) else inner, "", "it is a Python function"
    if kind == "other":
        return action, "", "it says more than one thing to do"
    use = inner.get("use") if kind == "agent" and isinstance(inner, dict) else ""
    if kind == "agent" and not isinstance(use, str):
        return inner, "", "it is an agent that is not a saved one"
    text = inner.get("task", "") if kind == "agent" else inner.get("text") if kind == "prompt" and isinstance(inner, dict) else inner
    if not isinstance(text, str):
        return inner, "", "its text is not in the definition"
    return text, str(use), "it has letters that a form would lose" if _NO_TEXT.search(text) else ""


def _action_change(doc: Mapping[str, Any], key: str, value: Any) -> Changes:
    if not isinstance(value, dict) or value.get("kind") not in _KINDS:
        raise _fault("it is a command, a prompt or an agent", key, '{"kind": "command", "text": "./backup.sh"}')
    old = doc.get("action", {})
    kind, text, use = str(value["kind"]), str(value.get("text") or ""), str(value.get("use") or "")
    before = shown(doc, [use] if use else [])["action"]
    if kind not in before["kinds"]:
        raise _fault(f"a form cannot make a {kind} of it: it has keys that would be lost", key, "change it in the YAML")
    found: Changes = {} if kind == before["kind"] else {(key, before["kind"]): REMOVE} if before["kind"] in old else {}
    if kind == "command":
        return found | ({(key, kind): text} if text != old.get(kind) else {})
    inner = {"text": text} if kind == "prompt" else {"use": use, **({"task": text} if text or "task" in old.get("agent", {}) else {})}
    if kind != before["kind"]:
        return found | {(key, kind): inner}
    return {(key, kind, name): part for name, part in inner.items() if old[kind].get(name) != part}


def _payload(action: Any) -> Row:
    if not isinstance(action, dict):
        return _fixed("", "there is no action that could have one")
    value = action.get("payload", {})
    if value == {}:
        return _may("")
    return _may(json.dumps(value, ensure_ascii=False)) if isinstance(value, dict) else _fixed(value, "it is no mapping")


def _payload_change(doc: Mapping[str, Any], _: str, value: Any) -> Changes:
    if not str(value).strip():
        return {("action", "payload"): REMOVE} if "payload" in doc.get("action", {}) else {}
    try:
        found = foreign.parse(str(value))
    except ValueError as error:
        raise _fault(f"the payload is no JSON: {error}", "action.payload", '{"day": "monday"}') from None
    return {("action", "payload"): found} if found != doc.get("action", {}).get("payload") else {}


_CHANGE = {"enabled": _enabled_change, "triggers": _schedule_change, "action": _action_change, "payload": _payload_change}
