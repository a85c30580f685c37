"""What an agent may only ask for, and a person does: applying or rejecting it, once.

A proposal holds for the revision of the routine that it was made for; when that has changed, it is not applied. Edits
that a run proposes (`edits.py`) hold as long as their patch applies; a call that an agent would have made outside (`calls.py`)
holds until it is answered, for it is whole in the record.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from typing import Any

from routinectl.core.event import Event
from routinectl.core.units import to_iso
from routinectl.engine.proposing import CALL, EDITS
from routinectl.errors import BusyError, NotFoundError, UsageError
from routinectl.operations import calls, edits, lifecycle, runs
from routinectl.operations.approvals import require_person
from routinectl.operations.session import Session

Item = dict[str, Any]
KINDS = ("resume", "delete", "run_now")


def propose(session: Session, name: str, what: str, *, by: str, reason: str = "", payload: Mapping[str, Any] | None = None) -> Item:
    """Record that somebody would like this done, and return it; the same wish is kept once. Raises UsageError."""
    if what not in KINDS:
        raise UsageError(f"'{what}' cannot be proposed; there are {', '.join(KINDS)}", "routinectl proposals list")
    standing = session.standing(name)
    for proposal_id, item in standing.proposals.items():
        if (item["what"], item.get("payload")) == (what, dict(payload) if payload else None):
            return {"proposal": proposal_id, "routine": name, **item}
    item = {"at": to_iso(session.now), "what": what, "by": by, "revision": standing.revision}
    item |= {"reason": reason} if reason else {}
    item |= {"payload": dict(payload)} if payload else {}
    proposal_id = f"p-{secrets.token_hex(4)}"
    session.append(Event("proposal.created", name, {"proposal": proposal_id, **item}))
    return {"proposal": proposal_id, "routine": name, **item}


def is_edits(item: Item) -> bool:
    """Say whether a proposal is of edits: it has a patch (`edits.patch`)."""
    return bool(item["what"] == EDITS)


def waiting(session: Session, names: list[str]) -> list[Item]:
    """Return the open proposals about these routines, the oldest first."""
    found = [{"proposal": key, "routine": name, **item} for name in names for key, item in session.standing(name).proposals.items()]
    return sorted(found, key=lambda item: (item["at"], item["proposal"]))


def find(session: Session, text: str) -> Item:
    """Return an open proposal by its id, or by the routine where it is the only one. Raises NotFoundError, UsageError."""
    found = [item for item in waiting(session, session.alive()) if text in (item["proposal"], item["routine"])]
    if not found:
        raise NotFoundError(f"there is no open proposal '{text}'", "routinectl proposals")
    if len(found) > 1:
        raise UsageError(f"{text} has {len(found)} proposals", f"routinectl proposals apply {found[0]['proposal']}")
    return found[0]


def apply(session: Session, item: Item, *, by: str) -> Item:
    """Do what was proposed, once; return what became of it. Raises DeniedError for an agent, BusyError where the routine has changed."""
    require_person(session, "applying a proposal")
    name = item["routine"]
    head = {"proposal": item["proposal"], "routine": name, "what": item["what"]}
    if is_edits(item):
        return {**head, **edits.apply(session, item, lambda: _answer(session, item, "proposal.applied", by=by), by)}
    if item["what"] == CALL:
        _answer(session, item, "proposal.applied", by=by)  # before it is done: after a crash it is not done twice
        return {**head, **calls.make(session, item)}
    if session.standing(name).revision != item["revision"]:
        raise BusyError(
            f"{name} was changed since this was proposed", f"routinectl show {name}, then routinectl proposals reject {item['proposal']}"
        )
    _answer(session, item, "proposal.applied", by=by)  # before it is done: after a crash it is not done twice
    return {**head, **_DO[item["what"]](session, item, by)}


def reject(session: Session, item: Item, *, by: str, note: str = "") -> None:
    """Say no for good. Raises DeniedError for an agent."""
    require_person(session, "rejecting a proposal")
    _answer(session, item, "proposal.rejected", by=by, **({"note": note} if note else {}))


def _answer(session: Session, item: Item, kind: str, **facts: str) -> None:
    def make() -> list[Event]:
        if item["proposal"] not in session.standing(item["routine"]).proposals:
            raise NotFoundError(f"{item['proposal']} was answered already", "routinectl proposals")
        return [Event(kind, item["routine"], {"at": to_iso(session.now), "proposal": item["proposal"], "what": item["what"], **facts})]

    runs.record(session, make)


def _resume(session: Session, item: Item, by: str) -> Item:
    return {"resumed": lifecycle.resume(session, item["routine"], by=by)}


def _delete(session: Session, item: Item, by: str) -> Item:
    lifecycle.remove(session, item["routine"], cancel=True, by=by)
    return {"deleted": True}


def _run_now(session: Session, item: Item, by: str) -> Item:
    return {"run": runs.request(session, item["routine"], by=by, payload=item.get("payload"))}


_DO: Mapping[str, Callable[[Session, Item, str], Item]] = {"resume": _resume, "delete": _delete, "run_now": _run_now}
