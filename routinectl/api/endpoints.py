"""What may be asked over HTTP: a table of endpoints, each a call of an operation. The OpenAPI document is made of it."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from routinectl.api.access import Caller
from routinectl.api.answer import Answer, HttpError
from routinectl.core import document, projection
from routinectl.core.prompt import DEFAULT_MODEL
from routinectl.core.units import from_iso, parse_duration, to_iso
from routinectl.engine.dispatch import request_id
from routinectl.errors import ExistsError, NotFoundError, UsageError
from routinectl.files import definitions
from routinectl.operations import (
    agents,
    approvals,
    authoring,
    budget,
    drafting,
    edits,
    explain,
    hooks,
    lifecycle,
    look,
    preview,
    proposals,
    runs,
    templates,
    timeline,
    write,
)
from routinectl.operations.access import EVERYBODY, owner_of
from routinectl.operations.history import history, lines
from routinectl.operations.overview import Overview
from routinectl.operations.session import Session
from routinectl.version import VERSION

Data = dict[str, Any]
_MOST = 1000
_TIMELINES = 100  # routines on one timeline


@dataclass(frozen=True, slots=True)
class Call:
    """One request, read: the caller, the parts of its path, its query and its JSON body."""

    caller: Caller
    parts: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    body: Data = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    overview: Overview | None = None  # the rows of all routines, where somebody keeps them

    def id_in(self, session: Session) -> str:
        """Return the routine of the path. Raises NotFoundError for one that this caller does not see."""
        name = self.parts["id"]
        if not session.exists(name) or not self.caller.sees(session, session.standing(name)):
            raise NotFoundError(f"there is no routine '{name}'", "GET /routines")
        return name

    def number(self, key: str, default: int, most: int = _MOST) -> int:
        """Return a whole number of the query. Raises UsageError."""
        text = self.query.get(key, str(default))
        if not (text.isascii() and text.isdigit()) or not 0 < int(text) <= most:
            raise UsageError(f"{key} is '{text[:40]}'; allowed is 1 to {most}", f"{key}={default}")
        return int(text)


Act = Callable[[Session, Call], Answer]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A method and path, what it does, the role it takes at least, and what its body and query may hold."""

    method: str
    path: str
    act: Act
    role: str
    summary: str
    success: int = 200
    body: Data | None = None
    query: Mapping[str, str] = field(default_factory=dict)
    errors: tuple[int, ...] = ()
    creates: bool = False  # it may answer 201 too


def by(call: Call) -> str:
    """Return who is written into events."""
    return call.caller.owner if call.caller.owner != EVERYBODY else call.caller.role


# -- routines


def view(session: Session, name: str) -> Data:
    """Return everything that is told of one routine."""
    found = look.show(session, name)
    return {**found, "owner": owner_of(session, session.standing(name)), "describe": found["words"], "etag": etag(session, name)}


def etag(session: Session, name: str) -> str:
    """Return what changes with every byte of a definition's file."""
    return f'"{hashlib.sha256(definitions.read_bytes(session.layout, name)).hexdigest()[:20]}"'


def _shown(session: Session, name: str, status: int = 200, **headers: str) -> Answer:
    found = view(session, name)
    return Answer(found, status, {"ETag": found["etag"], **headers})


def list_routines(session: Session, call: Call) -> Answer:
    """Return rows that fit the filters, a page of them, in the order of their ids; or (`since`) what has changed.

    Every answer has a `position` to ask for changes with; where `whole` is true, all rows must be asked for again.
    """
    overview = call.overview
    assert overview is not None, "whoever calls endpoints keeps one"
    if call.query.get("since"):
        return _changes(overview, call)
    limit, after = call.number("limit", 100), _cursor(call.query.get("cursor", ""))
    rows = [row for row in overview.rows() if call.caller.sees_of(row["owner"]) and _fits(row, call.query)]
    page = [row for row in rows if row["id"] > after][:limit]
    more = bool(page) and page[-1]["id"] != rows[-1]["id"]
    return Answer({"items": page, "total": len(rows), "next": _as_cursor(page[-1]["id"]) if more else None, "position": overview.position})


def _changes(overview: Overview, call: Call) -> Answer:
    found = overview.since(call.query["since"])
    if found is None:
        return Answer({"items": [], "gone": [], "whole": True, "position": overview.position})
    items = [row for row in found[0] if call.caller.sees_of(row["owner"])]
    gone = [name for name, owner in found[1].items() if call.caller.sees_of(owner)]
    return Answer({"items": items, "gone": gone, "whole": False, "position": overview.position})


def _fits(row: Data, query: Mapping[str, str]) -> bool:
    text = query.get("text", "").casefold()
    checks: dict[str, Callable[[str], bool]] = {
        "enabled": lambda value: str(row["enabled"]).lower() == value.lower(),
        "status": lambda value: row["status"] == value,
        "owner": lambda value: row["owner"] == value,
        "tag": lambda value: value in row["tags"],
        "text": lambda _: text in " ".join([row["id"], row["name"], row["description"]]).casefold(),
    }
    return all(check(query[key]) for key, check in checks.items() if query.get(key))


def _as_cursor(name: str) -> str:
    return base64.urlsafe_b64encode(name.encode()).decode().rstrip("=")


def _cursor(text: str) -> str:
    try:
        return base64.b64decode(text.encode() + b"=" * (-len(text) % 4), b"-_", validate=True).decode("ascii")
    except (ValueError, UnicodeError):
        raise UsageError("the cursor is none of ours", "take it from `next` of the page before") from None


def create(session: Session, call: Call) -> Answer:
    """Write a new definition."""
    doc = dict(call.body)
    routine_id = doc.pop("id", None) or write.id_from(str(doc.get("name", "")))
    if not isinstance(routine_id, str) or write.id_from(routine_id) != routine_id:
        raise UsageError(f"'{routine_id}' is no id: lower-case letters, digits and -", "id: my-backup")
    _own(session, call, doc)
    write.require_free_name(session, {"name": routine_id, **doc})
    write.create(session, routine_id, doc)
    return _shown(session, routine_id, 201, Location=f"/routines/{routine_id}")


def propose_routine(session: Session, call: Call) -> Answer:
    """Have a model draft a routine for a sentence."""
    session.agent = session.agent or f"propose, for {call.caller.owner}"
    owner = "" if call.caller.role == "admin" else call.caller.owner
    made = drafting.draft(session, _text(call.body, "text"), model=_text(call.body, "model") or DEFAULT_MODEL, owner=owner)
    return _shown(session, made.id, 201, Location=f"/routines/{made.id}")


def _own(session: Session, call: Call, doc: Data) -> None:
    """Have the definition belong to who makes it, unless he may make it for others."""
    if call.caller.role == "admin":
        return
    if doc.setdefault("owner", call.caller.owner) != call.caller.owner:
        raise HttpError(403, f"this token makes routines for {call.caller.owner} only")
    if doc["owner"] == session.settings.owner:
        del doc["owner"]


def get(session: Session, call: Call) -> Answer:
    """Return one routine."""
    return _shown(session, call.id_in(session))


def patch(session: Session, call: Call) -> Answer:
    """Change a definition by a JSON merge patch (RFC 7396); the rest of its file stays as it is."""
    name = call.id_in(session)
    _match(session, name, call)
    if "id" in call.body:
        raise UsageError("an id is not changed: the routine would be another one", "POST /routines")
    if "owner" in call.body and call.caller.role != "admin" and call.body["owner"] != call.caller.owner:
        raise HttpError(403, "only an admin gives a routine away")
    write.merge(session, name, call.body)
    return _shown(session, name)


def _match(session: Session, name: str, call: Call) -> None:
    wanted = call.headers.get("if-match")
    if wanted is not None and wanted != "*" and etag(session, name) not in [tag.strip() for tag in wanted.split(",")]:
        raise HttpError(412, f"{name} was changed since you read it", f"GET /routines/{name}", ETag=etag(session, name))


def get_definition(session: Session, call: Call) -> Answer:
    """Return a definition's text, and its faults if it has any."""
    name = call.id_in(session)
    tag = etag(session, name)
    return Answer({**authoring.text_of(session, name), "etag": tag}, headers={"ETag": tag})


def put_definition(session: Session, call: Call) -> Answer:
    """Write a definition as it was typed; where there is none of this id, it is a new one."""
    name, text = call.parts["id"], _text(call.body, "text")
    if not session.exists(name) and write.id_from(name) == name and session.layout.definition(name).exists():
        session.look_at(name)  # somebody has just put it there
    exists = session.exists(name)
    if exists:
        call.id_in(session)
        _match(session, name, call)
    elif write.id_from(name) != name:
        raise UsageError(f"'{name}' is no id: lower-case letters, digits and -", "PUT /routines/my-backup/definition")
    if exists and call.headers.get("if-none-match") == "*":
        raise ExistsError(f"the routine {name} exists already", f"GET /routines/{name}/definition")
    doc = document.read(text.encode("utf-8", "surrogatepass"), "the text")
    _keep_owner(session, call, doc, name if exists else "")
    if not exists and isinstance(doc, dict):
        write.require_free_name(session, {"name": name, **doc})
    write.store(session, name, text.encode("utf-8", "surrogatepass"), created=not exists)
    return _shown(session, name, 200 if exists else 201)


def _keep_owner(session: Session, call: Call, doc: Any, name: str) -> None:
    """Raise HttpError where a text would give a routine to somebody else; only an admin may."""
    owner = (doc.get("owner") if isinstance(doc, dict) else None) or session.settings.owner
    before = owner_of(session, session.standing(name)) if name else call.caller.owner
    if call.caller.role != "admin" and owner != before:
        raise HttpError(403, f"this token writes routines of {before} only", f"owner: {before}")


def check(session: Session, call: Call) -> Answer:
    """Say what a definition means and when it fires, or all its faults; nothing is written."""
    name = _text(call.body, "id") or "new-routine"
    doc, patch = call.body.get("definition"), call.body.get("patch")
    if not isinstance(doc, (dict, type(None))) or not isinstance(patch, (dict, type(None))):
        raise UsageError("definition and patch are objects", '{"definition": {"triggers": [{"schedule": "daily at 9"}]}}')
    if write.id_from(name) != name:
        raise UsageError(f"'{name}' is no id: lower-case letters, digits and -", "id: my-backup")
    if patch is not None:
        return Answer(authoring.check_patch(session, Call(call.caller, {"id": name}).id_in(session), patch))
    if doc is not None:
        return Answer(authoring.check_doc(session, name, doc))
    return Answer(authoring.check_text(session, name, _text(call.body, "text")))


def delete(session: Session, call: Call) -> Answer:
    """Remove a routine; its events stay."""
    name = call.id_in(session)
    _match(session, name, call)
    lifecycle.remove(session, name, by=by(call))
    return Answer(None, 204)


def toggle(session: Session, call: Call) -> Answer:
    """Switch `enabled`, or set it."""
    name = call.id_in(session)
    wanted = call.body.get("enabled", not session.standing(name).enabled)
    if not isinstance(wanted, bool):
        raise UsageError("enabled is true or false", '{"enabled": true}')
    lifecycle.set_enabled(session, name, wanted)
    return _shown(session, name)


# -- acting


def _payload(call: Call) -> Data:
    payload = call.body.get("payload")
    if payload is not None and not isinstance(payload, dict):
        raise UsageError("payload is an object", '{"payload": {"day": "2026-11-20"}}')
    return {"payload": payload} if payload is not None else {}


def _asked(session: Session, call: Call, data: Data) -> Answer:
    name = call.id_in(session)
    runs.require_good(session, name)
    key = call.headers.get("idempotency-key", "")
    unique = f"{by(call)}:{key}" if key else f"{session.now.timestamp()}{id(call)}"
    taken = hooks.ask(session, name, {"request": request_id(session.now, f"{unique}>{name}"), "by": by(call), **data, **_payload(call)})
    return Answer({"routine": name, "run": taken.run, "status": "requested"}, 202, {"Location": f"/routines/{name}/runs/{taken.run}"})


def run_now(session: Session, call: Call) -> Answer:
    """Ask for a run, as `run-now` does: it passes a pause and `enabled: false`."""
    return _asked(session, call, {"force": True} if call.body.get("force") is True else {})


def dispatch(session: Session, call: Call) -> Answer:
    """Ask for a run as a trigger would: every gate counts."""
    return _asked(session, call, {"trigger": "dispatch"})


def pause(session: Session, call: Call) -> Answer:
    """Stop firing a routine, for a while or until it is resumed."""
    name = call.id_in(session)
    lifecycle.pause(session, name, until=_until(session, call.body), reason=_text(call.body, "reason"), by=by(call))
    return _shown(session, name)


def _until(session: Session, body: Data) -> datetime | None:
    try:
        if body.get("for") is not None:
            return session.now + parse_duration(str(body["for"]))
        return from_iso(_text(body, "until")) if body.get("until") is not None else None
    except (ValueError, OverflowError) as error:
        raise UsageError(f"until when? {error}", '{"for": "2h"}, or {"until": "2026-12-24T18:00:00Z"}') from None


def _text(body: Data, key: str) -> str:
    value = body.get(key, "")
    if not isinstance(value, str):
        raise UsageError(f"{key} is text", f'{{"{key}": "..."}}')
    return value


def resume(session: Session, call: Call) -> Answer:
    """Let a paused routine fire again."""
    name = call.id_in(session)
    lifecycle.resume(session, name, by=by(call))
    return _shown(session, name)


def cancel(session: Session, call: Call) -> Answer:
    """Stop the runs of a routine, or one of them."""
    name = call.id_in(session)
    stopped = runs.cancel(session, name, _text(call.body, "run") or None, by=by(call))
    return Answer({"routine": name, "cancelled": stopped}, 202)


def approve(session: Session, call: Call) -> Answer:
    """Grant what a routine asks for, for exactly the content it has now; a draft becomes active."""
    name = call.id_in(session)
    try:
        lasting = parse_duration(str(call.body["for"])) if call.body.get("for") is not None else None
    except ValueError as error:
        raise UsageError(f"for: {error}", '{"for": "30d"}') from None
    return Answer(approvals.approve(session, name, lasting=lasting, note=_text(call.body, "note"), by=by(call)))


def deny(session: Session, call: Call) -> Answer:
    """Deny what a routine asks for."""
    return Answer(approvals.deny(session, call.id_in(session), note=_text(call.body, "note"), by=by(call)))


# -- looking


def get_history(session: Session, call: Call) -> Answer:
    """Return the last lines of a routine's ledger, oldest first."""
    name, since = call.id_in(session), call.query.get("since")
    start = _instant("since", since) if since else None
    found = history(session, [name], limit=call.number("limit", 20), since=start, outcome=call.query.get("outcome"))
    return Answer({"items": found})


def why(session: Session, call: Call) -> Answer:
    """Say why a slot, a run, or (without either) the last thing that did not happen, is as it is."""
    name, at = call.id_in(session), call.query.get("at")
    return Answer(explain.explain(session, name, at=_instant("at", at) if at else None, run=call.query.get("run")).plain())


def _instant(key: str, text: str) -> datetime:
    try:
        return from_iso(text)
    except (ValueError, OverflowError):
        raise UsageError(f"{key} is '{text[:40]}', no instant", f"{key}=2026-11-20T00:00:00Z") from None


def get_timeline(session: Session, call: Call) -> Answer:
    """Return what happened and what is to come on one axis: of the routines named, else of the first hundred."""
    start = _instant("from", call.query["from"]) if call.query.get("from") else session.now - timedelta(days=1)
    end = _instant("to", call.query["to"]) if call.query.get("to") else session.now + timedelta(days=1)
    names = call.caller.seen(session)
    if call.query.get("ids"):
        wanted = set(call.query["ids"].split(","))
        names = [name for name in names if name in wanted]
    return Answer(timeline.timeline(session, names[:_TIMELINES], start, end, call.number("cells", 96, timeline.MOST_CELLS)))


def get_budgets(session: Session, call: Call) -> Answer:
    """Return what is used of the budgets of the day."""
    shared = budget.shared(session) if call.caller.sees_all else []
    return Answer({"items": [*shared, *budget.rows(session, call.caller.seen(session))]})


def get_agents(session: Session, call: Call) -> Answer:
    """Return the saved agents, with the routines that use them."""
    seen = set(call.caller.seen(session))
    return Answer({"items": [{**row, "routines": [name for name in row["routines"] if name in seen]} for row in agents.rows(session)]})


def me(session: Session, call: Call) -> Answer:
    """Say who asks, and of what workspace."""
    return Answer({
        "role": call.caller.role, "owner": call.caller.owner, "sees_all": call.caller.sees_all, "version": VERSION,
        "workspace": session.layout.root.name, "timezone": session.settings.timezone, "now": to_iso(session.now),
        "serve_alive": session.serve_lives,
    })  # fmt: skip


def get_run(session: Session, call: Call) -> Answer:
    """Return one run: its line of the ledger, or how it stands."""
    name, run = call.id_in(session), call.parts["run"]
    standing = session.standing(name)
    if run in standing.runs:
        return Answer({"routine": name, "state": "running", **projection.running(standing, run)})
    if run in standing.requests:
        request = standing.requests[run]
        return Answer({"routine": name, "state": "waiting", "run": run, "since": to_iso(request.at), "reason": request.hold or "capacity"})
    line = next((line for line in reversed(lines(session, name)) if line.get("run") == run), None)
    if line is None:
        raise NotFoundError(f"{name} has no run '{run}'", f"GET /routines/{name}/history")
    return Answer({"routine": name, "state": "ended", **{key: value for key, value in line.items() if value is not None}})


def schedule_preview(session: Session, call: Call) -> Answer:
    """Say what a schedule means and when it fires next."""
    defaults = preview.Defaults(session.settings.timezone, session.now, session.settings.min_interval)
    body = call.body
    preview.check_types(body)
    return Answer(
        preview.preview(body["schedule"], defaults, timezone=body.get("timezone"), after=body.get("after"), count=body.get("count"))
    )


def get_approvals(session: Session, call: Call) -> Answer:
    """Return what waits for a person."""
    return Answer({"items": approvals.waiting(session, call.caller.seen(session))})


def propose(session: Session, call: Call) -> Answer:
    """Record what an agent would like a person to do."""
    name, payload = call.id_in(session), _payload(call).get("payload")
    item = proposals.propose(session, name, _text(call.body, "what"), by=by(call), reason=_text(call.body, "reason"), payload=payload)
    return Answer(item, 201)


def get_proposals(session: Session, call: Call) -> Answer:
    """Return the open proposals."""
    return Answer({"items": proposals.waiting(session, call.caller.seen(session))})


def _proposal(session: Session, call: Call) -> Data:
    """Return the proposal of the path; one about a routine that this caller does not see is not there."""
    wanted = call.parts["proposal"]
    for item in proposals.waiting(session, call.caller.seen(session)):
        if item["proposal"] == wanted:
            return item
    raise NotFoundError(f"there is no open proposal '{wanted}'", "GET /proposals")


def get_proposal(session: Session, call: Call) -> Answer:
    """Return an open proposal, with the patch where it is of edits."""
    item = _proposal(session, call)
    text = edits.patch(session, item).decode(errors="replace") if proposals.is_edits(item) else None
    return Answer({**item, **({} if text is None else {"patch": text})})


def apply_proposal(session: Session, call: Call) -> Answer:
    """Do what was proposed, once. Edits may reach all of the workspace, so that an admin applies them."""
    item = _proposal(session, call)
    if proposals.is_edits(item):
        call.caller.require("admin")
    return Answer(proposals.apply(session, item, by=by(call)))


def reject_proposal(session: Session, call: Call) -> Answer:
    """Say no to a proposal."""
    item = _proposal(session, call)
    proposals.reject(session, item, by=by(call), note=_text(call.body, "note"))
    return Answer({"proposal": item["proposal"], "routine": item["routine"], "rejected": True})


def get_templates(session: Session, call: Call) -> Answer:
    """Return the presets."""
    return Answer({"items": templates.rows(session.layout)})


def get_status(session: Session, call: Call) -> Answer:
    """Return the state of the workspace; what it names are routines that this caller sees."""
    found = look.status(session)
    if not call.caller.sees_all:
        seen = set(call.caller.seen(session))
        named = ("running", "next", "broken", "held", "last")
        found |= {key: [row for row in found[key] if row["id"] in seen] for key in named} | {"health": []}
    return Answer(found)


_PAYLOAD: Data = {"type": "object", "description": "Input of the run; it is merged over action.payload."}
_FOR: Data = {"type": "string", "description": "A duration.", "examples": ["2h"]}
_NOTE: Data = {"type": "object", "properties": {"note": {"type": "string"}, "for": _FOR}}
_ASKED: Data = {"type": "object", "properties": {"payload": _PAYLOAD, "force": {"type": "boolean"}}}
_DEFINITION: Data = {"$ref": "#/components/schemas/Routine"}
_PAGE = {"limit": "How many at most.", "cursor": "`next` of the page before."}

ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint("GET", "/me", me, "viewer", "Say who asks."),
    Endpoint("GET", "/routines", list_routines, "viewer", "List the routines.", query={
        **_PAGE, "since": "`position` of an answer before: only what has changed since.", "enabled": "true or false.", "status": "active, paused, ...", "owner": "Whose.", "tag": "With this tag.",
        "text": "In id, name or description."}, errors=(400,)),
    Endpoint("POST", "/routines", create, "agent", "Add a routine.", 201, body=_DEFINITION, errors=(400, 409, 422)),
    Endpoint("POST", "/routines/propose", propose_routine, "agent", "Have a model draft a routine for a sentence.", 201, body={
        "type": "object", "required": ["text"], "properties": {"text": {"type": "string"}, "model": {"type": "string"}}},
        errors=(400, 409, 422)),
    Endpoint("GET", "/routines/{id}", get, "viewer", "Show a routine.", errors=(404, 422)),
    Endpoint("PATCH", "/routines/{id}", patch, "agent", "Change a routine (JSON merge patch).", body={"type": "object"},
             errors=(400, 404, 409, 412, 422)),
    Endpoint("DELETE", "/routines/{id}", delete, "user", "Remove a routine.", 204, errors=(404, 409, 412, 422)),
    Endpoint("GET", "/routines/{id}/definition", get_definition, "viewer", "Show its file.", errors=(404, 422)),
    Endpoint("PUT", "/routines/{id}/definition", put_definition, "agent", "Write its file.", body={
        "type": "object", "required": ["text"], "properties": {"text": {"type": "string", "description": "YAML."}}},
        errors=(400, 404, 409, 412, 422), creates=True),
    Endpoint("POST", "/check", check, "viewer", "Check a definition before it is written.", body={
        "type": "object", "properties": {"id": {"type": "string"}, "text": {"type": "string", "description": "YAML."},
                                         "definition": {"type": "object"},
                                         "patch": {"type": "object", "description": "A JSON merge patch of the routine `id`."}}},
             errors=(400, 404, 422)),
    Endpoint("GET", "/routines/{id}/why", why, "viewer", "Say why it ran or did not.",
             query={"at": "The instant of a slot.", "run": "A run."}, errors=(400, 404, 409, 422)),
    Endpoint("PATCH", "/routines/{id}/toggle", toggle, "user", "Enable or disable a routine.",
             body={"type": "object", "properties": {"enabled": {"type": "boolean"}}}, errors=(400, 404, 409, 422)),
    Endpoint("POST", "/routines/{id}/run_now", run_now, "user", "Run a routine now.", 202, body=_ASKED, errors=(400, 404, 409, 422)),
    Endpoint("POST", "/routines/{id}/dispatch", dispatch, "user", "Ask for a run as a trigger would.", 202, body=_ASKED,
             errors=(400, 404, 409, 422)),
    Endpoint("POST", "/routines/{id}/pause", pause, "user", "Pause a routine.", body={"type": "object", "properties": {
        "for": _FOR, "until": {"type": "string", "description": "An instant, ISO 8601."}, "reason": {"type": "string"}}},
        errors=(400, 404, 422)),
    Endpoint("POST", "/routines/{id}/resume", resume, "user", "Resume a routine.", errors=(400, 404, 422)),
    Endpoint("POST", "/routines/{id}/cancel", cancel, "user", "Stop its runs.", 202,
             body={"type": "object", "properties": {"run": {"type": "string"}}}, errors=(400, 404, 409)),
    Endpoint("POST", "/routines/{id}/approve", approve, "user", "Approve its content as it is now.", body=_NOTE, errors=(400, 404)),
    Endpoint("POST", "/routines/{id}/deny", deny, "user", "Deny what it asks for.", body=_NOTE, errors=(400, 404)),
    Endpoint("GET", "/routines/{id}/history", get_history, "viewer", "Show its ledger.",
             query={"limit": "The last so many.", "since": "An instant.", "outcome": "An outcome, or skipped, missed."}, errors=(400, 404)),
    Endpoint("GET", "/routines/{id}/runs/{run}", get_run, "viewer", "Show a run.", errors=(404,)),
    Endpoint("POST", "/schedule_preview", schedule_preview, "viewer", "Say what a schedule means and when it fires.", body={
        "type": "object", "required": ["schedule"], "properties": {
            "schedule": {"description": "Any text that `add` takes, or a trigger."}, "timezone": {"type": "string"},
            "after": {"type": "string"}, "count": {"type": "integer"}}}, errors=(400, 422)),
    Endpoint("GET", "/approvals", get_approvals, "viewer", "List what waits for a person."),
    Endpoint("POST", "/routines/{id}/proposals", propose, "agent", "Propose to resume, delete or run it.", 201, body={
        "type": "object", "required": ["what"], "properties": {
            "what": {"enum": list(proposals.KINDS)}, "reason": {"type": "string"}, "payload": _PAYLOAD}}, errors=(400, 404)),
    Endpoint("GET", "/proposals", get_proposals, "viewer", "List what agents propose."),
    Endpoint("GET", "/proposals/{proposal}", get_proposal, "viewer", "Show one, with its patch.", errors=(404,)),
    Endpoint("POST", "/proposals/{proposal}/apply", apply_proposal, "user", "Do what was proposed.", errors=(400, 404, 409, 422)),
    Endpoint("POST", "/proposals/{proposal}/reject", reject_proposal, "user", "Refuse it.",
             body={"type": "object", "properties": {"note": {"type": "string"}}}, errors=(400, 404)),
    Endpoint("GET", "/timeline", get_timeline, "viewer", "Show past and future of many routines.", query={
        "from": "An instant.", "to": "An instant.", "cells": "How many the axis has.", "ids": "Of these routines, with commas."},
        errors=(400,)),
    Endpoint("GET", "/budgets", get_budgets, "viewer", "Show the budgets of the day."),
    Endpoint("GET", "/agents", get_agents, "viewer", "List the saved agents."),
    Endpoint("GET", "/templates", get_templates, "viewer", "List the presets."),
    Endpoint("GET", "/status", get_status, "viewer", "Show the state of the workspace."),
)  # fmt: skip
