"""Endpoints that change something: each a call of an operation, for a caller who may ask for it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from routinectl.api.answer import Answer, HttpError
from routinectl.api.call import Call, Data, by, etag, instant_of, proposal_of, shown, text_of
from routinectl.core import document
from routinectl.core.prompt import DEFAULT_MODEL
from routinectl.core.units import from_iso, parse_duration
from routinectl.engine.dispatch import request_id
from routinectl.errors import ExistsError, UsageError
from routinectl.operations import approvals, drafting, hooks, lifecycle, proposals, review, runs, write
from routinectl.operations.access import owner_of
from routinectl.operations.session import Session


def create(session: Session, call: Call) -> Answer:
    """Write a new definition."""
    doc = dict(call.body)
    routine_id = write.new_id(doc.pop("id", None), doc.get("name"))
    _own(session, call, doc)
    write.require_free_name(session, {"name": routine_id, **doc})
    write.create(session, routine_id, doc)
    return shown(session, routine_id, 201, Location=f"/routines/{routine_id}")


def propose_routine(session: Session, call: Call) -> Answer:
    """Have a model draft a routine for a sentence."""
    session.agent = session.agent or f"propose, for {call.caller.owner}"
    owner = "" if call.caller.role == "admin" else call.caller.owner
    made = drafting.draft(session, text_of(call.body, "text"), model=text_of(call.body, "model") or DEFAULT_MODEL, owner=owner)
    return shown(session, made.id, 201, Location=f"/routines/{made.id}")


def _own(session: Session, call: Call, doc: Data) -> None:
    """Have the definition belong to who makes it, unless he may make it for others."""
    if call.caller.role == "admin":
        return
    if doc.setdefault("owner", call.caller.owner) != call.caller.owner:
        raise HttpError(403, f"this token makes routines for {call.caller.owner} only")
    if doc["owner"] == session.settings.owner:
        del doc["owner"]


def patch(session: Session, call: Call) -> Answer:
    """Change a definition by a JSON merge patch (RFC 7396); the rest of its file stays as it is."""
    name = call.id_in(session)
    _match(session, name, call)
    if "id" in call.body:
        raise UsageError("an id is not changed: the routine would be another one", "POST /routines")
    if "owner" in call.body and call.caller.role != "admin" and call.body["owner"] != call.caller.owner:
        raise HttpError(403, "only an admin gives a routine away")
    write.merge(session, name, call.body)
    return shown(session, name)


def _match(session: Session, name: str, call: Call) -> None:
    wanted = call.headers.get("if-match")
    if wanted is not None and wanted != "*" and etag(session, name) not in [tag.strip() for tag in wanted.split(",")]:
        raise HttpError(412, f"{name} was changed since you read it", f"GET /routines/{name}", ETag=etag(session, name))


def put_definition(session: Session, call: Call) -> Answer:
    """Write a definition as it was typed; where there is none of this id, it is a new one."""
    name, text = call.parts["id"], text_of(call.body, "text")
    if not session.exists(name) and session.layout.definition(write.new_id(name, "")).exists():
        session.look_at(name)  # somebody has just put it there
    exists = session.exists(name)
    if exists:
        call.id_in(session)
        _match(session, name, call)
    if exists and call.headers.get("if-none-match") == "*":
        raise ExistsError(f"the routine {name} exists already", f"GET /routines/{name}/definition")
    doc = document.read(text.encode("utf-8", "surrogatepass"), "the text")
    _keep_owner(session, call, doc, name if exists else "")
    if not exists and isinstance(doc, dict):
        write.require_free_name(session, {"name": name, **doc})
    write.store(session, name, text.encode("utf-8", "surrogatepass"), created=not exists)
    return shown(session, name, 200 if exists else 201)


def _keep_owner(session: Session, call: Call, doc: Any, name: str) -> None:
    """Raise HttpError where a text would give a routine to somebody else; only an admin may."""
    owner = (doc.get("owner") if isinstance(doc, dict) else None) or session.settings.default_owner
    before = owner_of(session, session.standing(name)) if name else call.caller.owner
    if call.caller.role != "admin" and owner != before:
        raise HttpError(403, f"this token writes routines of {before} only", f"owner: {before}")


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
    return shown(session, name)


def _payload(call: Call) -> Data:
    payload = call.body.get("payload")
    if payload is not None and not isinstance(payload, dict):
        raise UsageError("payload is an object", '{"payload": {"day": "2026-11-20"}}')
    return {"payload": payload} if payload is not None else {}


def _asked(session: Session, call: Call, data: Data) -> Answer:
    name = call.id_in(session)
    session.good(name)
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
    lifecycle.pause(session, name, until=_until(session, call.body), reason=text_of(call.body, "reason"), by=by(call))
    return shown(session, name)


def _until(session: Session, body: Data) -> datetime | None:
    try:
        if body.get("for") is not None:
            return session.now + parse_duration(str(body["for"]))
        return from_iso(text_of(body, "until")) if body.get("until") is not None else None
    except (ValueError, OverflowError) as error:
        raise UsageError(f"until when? {error}", '{"for": "2h"}, or {"until": "2026-12-24T18:00:00Z"}') from None


def resume(session: Session, call: Call) -> Answer:
    """Let a paused routine fire again."""
    name = call.id_in(session)
    lifecycle.resume(session, name, by=by(call))
    return shown(session, name)


def cancel(session: Session, call: Call) -> Answer:
    """Stop the runs of a routine, or one of them."""
    name = call.id_in(session)
    stopped = runs.cancel(session, name, text_of(call.body, "run") or None, by=by(call))
    return Answer({"routine": name, "cancelled": stopped}, 202)


def approve(session: Session, call: Call) -> Answer:
    """Grant what a routine asks for, for exactly the content it has now; a draft becomes active."""
    name = call.id_in(session)
    try:
        lasting = parse_duration(str(call.body["for"])) if call.body.get("for") is not None else None
    except ValueError as error:
        raise UsageError(f"for: {error}", '{"for": "30d"}') from None
    return Answer(approvals.approve(session, name, lasting=lasting, note=text_of(call.body, "note"), by=by(call)))


def deny(session: Session, call: Call) -> Answer:
    """Deny what a routine asks for."""
    return Answer(approvals.deny(session, call.id_in(session), note=text_of(call.body, "note"), by=by(call)))


def answer_review(session: Session, call: Call) -> Answer:
    """Have what waits for review run, or dismiss it; returns which."""
    name, run, slot = call.id_in(session), call.body.get("run"), text_of(call.body, "slot")
    if not isinstance(run, bool):
        raise UsageError("run is true (have it run) or false (dismiss it)", '{"run": true}')
    return Answer({"answered": review.answer(session, name, instant_of("slot", slot) if slot else None, run=run, by=by(call))})


def propose(session: Session, call: Call) -> Answer:
    """Record what an agent would like a person to do."""
    name, payload = call.id_in(session), _payload(call).get("payload")
    item = proposals.propose(session, name, text_of(call.body, "what"), by=by(call), reason=text_of(call.body, "reason"), payload=payload)
    return Answer(item, 201)


def apply_proposal(session: Session, call: Call) -> Answer:
    """Do what was proposed, once. Edits may reach all of the workspace, so that an admin applies them."""
    item = proposal_of(session, call)
    if proposals.is_edits(item):
        call.caller.require("admin")
    return Answer(proposals.apply(session, item, by=by(call)))


def reject_proposal(session: Session, call: Call) -> Answer:
    """Say no to a proposal."""
    item = proposal_of(session, call)
    proposals.reject(session, item, by=by(call), note=text_of(call.body, "note"))
    return Answer({"proposal": item["proposal"], "routine": item["routine"], "rejected": True})
