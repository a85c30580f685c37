"""What waits for a person's yes: listing, granting, denying; and activating what an agent made.

A grant is bound to the content fingerprint that was seen when it was given: the definition and every file it acts with.
Only a person may answer. Who is a person is decided by the channel: a command that runs below a keeper is an agent's,
terminal or not. (A run with permissions `full` has its user's power and could forge even that; see `approve --help`.)
"""

from __future__ import annotations

import os
from datetime import datetime, timedelta
from typing import Any

from routinectl.core import gates
from routinectl.core.event import Event
from routinectl.core.units import to_iso
from routinectl.errors import DeniedError, NotFoundError, UsageError
from routinectl.operations.session import Session
from routinectl.process import proc

Item = dict[str, Any]


def agent(session: Session) -> str:
    """Return which agent asks: the run that this process belongs to, or whose token was shown; empty for a person."""
    return session.agent or run_above()


def run_above() -> str:
    """Return which run this process belongs to, empty where there is none."""
    if not proc.is_below("routinectl.process.keeper"):
        return ""
    return f"{os.environ.get('ROUTINE_ID', 'a run')} {os.environ.get('ROUTINE_RUN_ID', '')}".strip()


def require_person(session: Session, what: str) -> None:
    """Raise DeniedError when an agent asks."""
    found = agent(session)
    if found:
        raise DeniedError(f"{what} is for a person, and it is {found} that asks", "run it in a terminal of your own")


def waiting(session: Session, names: list[str]) -> list[Item]:
    """Return what waits for a person in these routines: drafts, and open questions, oldest first."""
    found = []
    for name in names:
        standing = session.standing(name)
        if standing.draft is not None:
            found.append({"id": name, "what": "draft", "at": standing.draft["at"], "by": standing.draft.get("by", "")})
        asked = standing.approval
        if asked is not None and asked["state"] == "requested":
            held = [to_iso(hold.slot) for hold in standing.holds.values() if hold.reason == "approval"]
            asking = [request.id for request in standing.requests.values() if request.hold == "approval"]
            found.append({"id": name, "what": asked["mode"], "at": asked["at"], "expires": asked["expires"],
                          "content": asked["content"], "holds": held + asking})  # fmt: skip
    return sorted(found, key=lambda item: (item["at"], item["id"]))


def approve(session: Session, name: str, *, lasting: timedelta | None, note: str, by: str) -> Item:
    """Grant what a routine asks for, for exactly the content it has now, and activate a draft; returns the grant.

    Raises DeniedError for an agent, NotFoundError when nothing waits and nothing ever will.
    """
    require_person(session, "an approval")
    standing, routine = session.standing(name), session.good(name)
    mode = gates.approval_mode(routine, standing)
    if mode == "none" and standing.draft is None:
        raise NotFoundError(f"{name} needs no approval", f"routinectl edit {name} --set approval=before_first_run")
    at = to_iso(session.now)
    events = [Event("routine.activated", name, {"at": at, "by": by})] if standing.draft is not None else []
    grant: Item = {"at": at, "by": by, "mode": mode, "content": session.engine.content_of(routine, standing)}
    if mode != "none" and not grant["content"]:
        raise UsageError(f"the folder of {name} is too large for its content to be bound", "move data out of the routine's folder")
    if lasting is not None:
        grant["until"] = to_iso(session.now + lasting)
    if note:
        grant["note"] = note
    if mode != "none":
        events.append(Event("approval.granted", name, grant))
    session.append(*events)
    return {"id": name, **grant}


def deny(session: Session, name: str, *, note: str, by: str) -> Item:
    """Deny an open question, or throw a draft's activation away (it stays a draft); raises as `approve` does."""
    require_person(session, "a denial")
    asked = session.standing(name).approval
    if asked is None or asked["state"] != "requested":
        raise NotFoundError(f"{name} has no open request for approval", "routinectl approvals")
    answer = {"at": to_iso(session.now), "by": by, "content": asked["content"]} | ({"note": note} if note else {})
    session.append(Event("approval.denied", name, answer))
    return {"id": name, **answer}


def before_writing(session: Session, name: str, fingerprint: str, now: datetime) -> None:
    """Record who is about to write a definition: an agent's becomes a draft, a person's is vouched for."""
    by = agent(session)
    if by:
        session.append(Event("routine.drafted", name, {"at": to_iso(now), "by": by}))
    elif session.settings.trust == "approve-changes":
        session.append(Event("routine.vouched", name, {"at": to_iso(now), "fingerprint": fingerprint}))
