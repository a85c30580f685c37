"""Endpoints that change nothing: each a call of an operation."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from datetime import timedelta

from routinectl.api.answer import Answer
from routinectl.api.call import Call, Data, etag, instant_of, proposal_of, shown, text_of
from routinectl.core import projection
from routinectl.core.units import to_iso
from routinectl.core.verdict import words
from routinectl.errors import NotFoundError, UsageError
from routinectl.operations import (
    agents,
    approvals,
    authoring,
    budget,
    edits,
    explain,
    look,
    preview,
    proposals,
    review,
    templates,
    timeline,
    write,
)
from routinectl.operations.history import history, lines
from routinectl.operations.overview import Overview
from routinectl.operations.session import Session
from routinectl.version import VERSION

_TIMELINES = 100  # routines on one timeline
_FILTERS: dict[str, Callable[[Data, str], bool]] = {
    "enabled": lambda row, value: str(row["enabled"]).lower() == value.lower(),
    "status": lambda row, value: bool(row["status"] == value),
    "owner": lambda row, value: bool(row["owner"] == value),
    "tag": lambda row, value: value in row["tags"],
    "text": lambda row, value: value.casefold() in " ".join([row["id"], row["name"], row["description"]]).casefold(),
}


def list_routines(session: Session, call: Call) -> Answer:
    """Return rows that fit the filters, a page of them, in the order of their ids; or (`since`) what has changed.

    Every answer has a `position` to ask for changes with; where `whole` is true, all rows must be asked for again. `none`
    says why there are none.
    """
    overview = call.overview
    assert overview is not None, "whoever calls endpoints keeps one"
    if call.query.get("since"):
        return _changes(overview, call)
    limit, after = call.number("limit", 100), _cursor(call.query.get("cursor", ""))
    seen = [row for row in overview.rows() if call.caller.sees_of(row["owner"])]
    rows = [row for row in seen if _fits(row, call.query)]
    none = "" if rows else call.caller.none_of(len(seen), {key: call.query[key] for key in _FILTERS if call.query.get(key)})
    page = [row for row in rows if row["id"] > after][:limit]
    more = bool(page) and page[-1]["id"] != rows[-1]["id"]
    return Answer({"items": page, "total": len(rows), "next": _as_cursor(page[-1]["id"]) if more else None, "position": overview.position,
                   "none": none})  # fmt: skip


def _changes(overview: Overview, call: Call) -> Answer:
    found = overview.since(call.query["since"])
    if found is None:
        return Answer({"items": [], "gone": [], "whole": True, "position": overview.position})
    items = [row for row in found[0] if call.caller.sees_of(row["owner"])]
    gone = [name for name, owner in found[1].items() if call.caller.sees_of(owner)]
    left = any(call.caller.sees_of(row["owner"]) for row in overview.rows())
    none = "" if left else call.caller.none_of(0, {})
    return Answer({"items": items, "gone": gone, "whole": False, "position": overview.position, "none": none})


def _fits(row: Data, query: Mapping[str, str]) -> bool:
    return all(fits(row, query[key]) for key, fits in _FILTERS.items() if query.get(key))


def _as_cursor(name: str) -> str:
    return base64.urlsafe_b64encode(name.encode()).decode().rstrip("=")


def _cursor(text: str) -> str:
    try:
        return base64.b64decode(text.encode() + b"=" * (-len(text) % 4), b"-_", validate=True).decode("ascii")
    except (ValueError, UnicodeError):
        raise UsageError("the cursor is none of ours", "take it from `next` of the page before") from None


def get(session: Session, call: Call) -> Answer:
    """Return one routine."""
    return shown(session, call.id_in(session))


def get_definition(session: Session, call: Call) -> Answer:
    """Return a definition's text, and its faults if it has any."""
    name = call.id_in(session)
    tag = etag(session, name)
    return Answer({**authoring.text_of(session, name), "etag": tag}, headers={"ETag": tag})


def check(session: Session, call: Call) -> Answer:
    """Say what a definition means and when it fires, or all its faults; nothing is written."""
    name = text_of(call.body, "id") or "new-routine"
    doc, patch, form = (call.body.get(key) for key in ("definition", "patch", "form"))
    if not all(isinstance(item, (dict, type(None))) for item in (doc, patch, form)):
        raise UsageError("definition, patch and form are objects", '{"definition": {"triggers": [{"schedule": "daily at 9"}]}}')
    if patch is not None:
        return Answer(authoring.check_patch(session, Call(call.caller, {"id": name}).id_in(session), patch))
    write.new_id(name, "")
    if form is not None:
        return Answer(authoring.check_form(session, name, form, text_of(call.body, "text")))
    if doc is not None:
        return Answer(authoring.check_doc(session, name, doc))
    return Answer(authoring.check_text(session, name, text_of(call.body, "text")))


def get_history(session: Session, call: Call) -> Answer:
    """Return the last lines of a routine's ledger, oldest first."""
    name, since = call.id_in(session), call.query.get("since")
    start = instant_of("since", since) if since else None
    found = history(session, [name], limit=call.number("limit", 20), since=start, outcome=call.query.get("outcome"))
    return Answer({"items": found})


def why(session: Session, call: Call) -> Answer:
    """Say why a slot, a run, or (without either) the last thing that did not happen, is as it is."""
    name, at = call.id_in(session), call.query.get("at")
    return Answer(explain.explain(session, name, at=instant_of("at", at) if at else None, run=call.query.get("run")).plain())


def get_timeline(session: Session, call: Call) -> Answer:
    """Return what happened and what is to come on one axis: of the routines named, else of the first hundred."""
    start = instant_of("from", call.query["from"]) if call.query.get("from") else session.now - timedelta(days=1)
    end = instant_of("to", call.query["to"]) if call.query.get("to") else session.now + timedelta(days=1)
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


def get_reviews(session: Session, call: Call) -> Answer:
    """Return the slots and requests that a person must look at."""
    found = review.waiting(session, call.caller.seen(session))
    return Answer({"items": [{**item, "words": words("held", item["reason"])} for item in found]})


def get_proposals(session: Session, call: Call) -> Answer:
    """Return the open proposals."""
    return Answer({"items": proposals.waiting(session, call.caller.seen(session))})


def get_proposal(session: Session, call: Call) -> Answer:
    """Return an open proposal, with the patch where it is of edits."""
    item = proposal_of(session, call)
    text = edits.patch(session, item).decode(errors="replace") if proposals.is_edits(item) else None
    return Answer({**item, **({} if text is None else {"patch": text})})


def get_templates(session: Session, call: Call) -> Answer:
    """Return the presets."""
    return Answer({"items": templates.rows(session.layout)})


def get_status(session: Session, call: Call) -> Answer:
    """Return the state of the workspace; what it counts and names are routines that this caller sees."""
    return Answer(look.status(session))
