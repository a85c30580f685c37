"""What an agent may ask and do: two tools, each a table of actions over the same operations that people have.

Everything that asks is an agent here, whoever started it. It reads what its owner may see. What only narrows (a pause)
is done at once; what it creates or changes is a draft; resuming, deleting and running are proposals. A person answers
both. Errors are values with a hint, so that the agent can mend what it asked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from routinectl.core.problem import path_text
from routinectl.core.units import from_iso, parse_duration
from routinectl.errors import DefinitionError, NotFoundError, RoutinectlError, UsageError
from routinectl.files import definitions
from routinectl.files.layout import Layout
from routinectl.operations import explain, lifecycle, look, preview, proposals, write
from routinectl.operations.access import Caller
from routinectl.operations.history import history
from routinectl.operations.session import Session

Data = dict[str, Any]
_MOST = 200


@dataclass(frozen=True, slots=True)
class Asked:
    """One call of a tool, as it came: which routine, and the rest by name."""

    id: str = ""
    rest: Mapping[str, Any] = field(default_factory=dict)

    def text(self, key: str) -> str:
        """Return an argument that is text; empty when it is not given."""
        return str(self.rest.get(key) or "")


class Desk:
    """Answers an agent's calls for one workspace and one owner."""

    def __init__(self, layout: Layout, owner: str, *, control: bool) -> None:
        self.layout, self.owner, self.control = layout, owner, control

    def query(self, action: str, asked: Asked) -> Data:
        """Answer a question. Never raises for what an agent did."""
        return self._answer(QUERIES, action, asked)

    def act(self, action: str, asked: Asked) -> Data:
        """Do, draft or propose something. Never raises for what an agent did."""
        if not self.control:
            return _error("this server only reads", "start it with: routinectl mcp --allow-control")
        return self._answer(CONTROLS, action, asked)

    def definition(self, name: str) -> str:
        """Return the text of a definition. Raises NotFoundError."""
        with self._session() as session:
            return definitions.read_bytes(self.layout, self.seen(session, name)).decode(errors="replace")

    def _session(self) -> Session:
        session = Session(self.layout)
        session.agent = "an agent, over MCP"
        return session

    def _answer(self, actions: Mapping[str, Action], action: str, asked: Asked) -> Data:
        act = actions.get(action)
        if act is None:
            return _error(f"there is no action '{action}'", f"one of {', '.join(actions)}")
        try:
            with self._session() as session:
                self.caller(session).looks_through(session)
                return act(self, session, asked)
        except RoutinectlError as error:
            return _error(error.message, error.hint, getattr(error, "problems", ()))
        except OSError as error:
            return _error(f"the workspace cannot be read or written: {error.strerror}", "routinectl doctor")

    def caller(self, session: Session) -> Caller:
        """Return who asks, as those see it who judge whose routine is whose."""
        return Caller("agent", self.owner or session.settings.default_owner)

    def seen(self, session: Session, name: str) -> str:
        """Return the id of a routine that this agent's owner has. By its whole id: what is near to it may be another's.

        Raises NotFoundError and UsageError.
        """
        if not name:
            raise UsageError("which routine? `id` is missing", "action list names them")
        if not session.exists(name) or not self.caller(session).sees(session, session.standing(name)):
            raise NotFoundError(f"there is no routine '{name}'", "action list names them")
        return name

    def mine(self, session: Session) -> list[str]:
        """Return the ids of the routines that this agent's owner has."""
        return self.caller(session).seen(session)


Action = Callable[[Desk, Session, Asked], Data]


def _error(message: str, hint: str, problems: Any = ()) -> Data:
    found: Data = {"error": message, "hint": hint}
    if problems:
        found["problems"] = [{"path": path_text(item.path), "message": item.message, "hint": item.hint} for item in problems]
    return found


def _list(desk: Desk, session: Session, asked: Asked) -> Data:
    caller, text, status = desk.caller(session), asked.text("text").casefold(), asked.text("status")
    seen = [row for row in look.rows(session) if caller.sees_of(row["owner"])]
    rows = [row for row in seen if text in f"{row['id']} {row['name']} {row['description']}".casefold() and status in ("", row["status"])]
    asked_for = {key: value for key, value in (("text", text), ("status", status)) if value}
    return {"routines": rows[:_MOST], "total": len(rows), **({} if rows else {"none": caller.none_of(len(seen), asked_for)})}


def _get(desk: Desk, session: Session, asked: Asked) -> Data:
    name = desk.seen(session, asked.id)
    return {**look.show(session, name), "proposals": proposals.waiting(session, [name])}


def _runs(desk: Desk, session: Session, asked: Asked) -> Data:
    names = [desk.seen(session, asked.id)] if asked.id else desk.mine(session)
    limit = _number(asked.rest.get("limit"), 20)
    since = _instant(asked.text("since"))
    return {"runs": history(session, names, limit=limit, since=since, outcome=asked.text("outcome") or None)}


def _why(desk: Desk, session: Session, asked: Asked) -> Data:
    name = desk.seen(session, asked.id)
    return explain.explain(session, name, at=_instant(asked.text("at")), run=asked.text("run") or None).plain()


def _preview(desk: Desk, session: Session, asked: Asked) -> Data:
    schedule = asked.rest.get("schedule")
    if not schedule:
        raise UsageError("which schedule? `schedule` is missing", "schedule: every weekday at 9am")
    defaults = preview.Defaults(session.settings.timezone, session.now, write.least_interval(session))
    count = _number(asked.rest.get("limit"), 5)
    return preview.preview(schedule, defaults, timezone=asked.text("timezone") or None, after=asked.text("at") or None, count=count)


def _status(desk: Desk, session: Session, asked: Asked) -> Data:
    return {**look.status(session), "timezone": session.settings.timezone, "proposals": proposals.waiting(session, desk.mine(session))}


def _create(desk: Desk, session: Session, asked: Asked) -> Data:
    doc = dict(_object(asked.rest, "definition"))
    routine_id = write.new_id(doc.pop("id", asked.id or None), doc.get("name"))
    owner = desk.caller(session).owner
    if doc.get("owner", owner) != owner:
        raise UsageError(f"it is made for {owner}, and nobody else", "leave owner out")
    if owner != session.settings.owner:
        doc["owner"] = owner
    write.require_free_name(session, {"name": routine_id, **doc})
    write.create(session, routine_id, doc)
    return _drafted(session, routine_id)


def _update(desk: Desk, session: Session, asked: Asked) -> Data:
    name = desk.seen(session, asked.id)
    wanted = _object(asked.rest, "definition")
    if "owner" in wanted or "id" in wanted:
        raise UsageError("owner and id stay as they are", "leave them out")
    write.merge(session, name, wanted)
    return _drafted(session, name)


def _drafted(session: Session, name: str) -> Data:
    shown = look.show(session, name)
    return {"id": name, "status": shown["status"], "words": shown["words"], "definition": shown["definition"],
            "note": f"a draft: nothing of it fires until a person says: routinectl approve {name}"}  # fmt: skip


def _pause(desk: Desk, session: Session, asked: Asked) -> Data:
    name = desk.seen(session, asked.id)
    try:
        until = session.now + parse_duration(asked.text("for")) if asked.text("for") else None
    except (ValueError, OverflowError) as error:
        raise UsageError(f"for: {error}", "for: 2h") from None
    if session.standing(name).paused is not None:
        raise UsageError(f"{name} is paused already, and a shorter pause would resume it", "action get says since when and by whom")
    lifecycle.pause(session, name, until=until, reason=asked.text("reason"), by=session.agent)
    return {"id": name, "status": "paused", "note": "at once; resuming is for a person, and may be proposed"}


def _proposing(what: str) -> Action:
    def propose(desk: Desk, session: Session, asked: Asked) -> Data:
        name = desk.seen(session, asked.id)
        payload = asked.rest.get("payload")
        if payload is not None and not isinstance(payload, dict):
            raise UsageError("payload is an object", '{"day": "2026-11-21"}')
        item = proposals.propose(session, name, what, by=session.agent, reason=asked.text("reason"), payload=payload)
        return {**item, "note": f"nothing is done yet; a person says: routinectl proposals apply {item['proposal']}"}

    return propose


QUERIES: dict[str, Action] = {"list": _list, "get": _get, "runs": _runs, "why": _why, "preview": _preview, "status": _status}
CONTROLS: dict[str, Action] = {"create": _create, "update": _update, "pause": _pause, "resume": _proposing("resume"),
                               "delete": _proposing("delete"), "run_now": _proposing("run_now")}  # fmt: skip


def _number(value: Any, default: int) -> int:
    if value is None:
        return default
    if not isinstance(value, int) or not 0 < value <= _MOST:
        raise UsageError(f"limit is {value}; allowed is 1 to {_MOST}", f"limit: {default}")
    return value


def _instant(text: str) -> Any:
    try:
        return from_iso(text) if text else None
    except ValueError:
        raise UsageError(f"'{text[:40]}' is no instant", "2026-11-21T02:00:00Z") from None


def _object(rest: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = rest.get(key)
    if not isinstance(found, Mapping) or not found:
        raise DefinitionError(
            f"`{key}` is an object: the keys of a ROUTINE.yaml", "definition: {name: ..., triggers: [...], action: {...}}"
        )
    return found
