"""One request over HTTP, read, and what several endpoints answer with."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from routinectl.api.access import Caller
from routinectl.api.answer import Answer
from routinectl.core import foreign
from routinectl.core.units import from_iso
from routinectl.errors import NotFoundError, UsageError
from routinectl.files import definitions
from routinectl.operations import look, proposals
from routinectl.operations.access import EVERYBODY
from routinectl.operations.overview import Overview
from routinectl.operations.session import Session

Data = dict[str, Any]
_MOST = 1000


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
        found = foreign.whole(text)
        if found is None or not 0 < found <= most:
            raise UsageError(f"{key} is '{text[:40]}'; allowed is 1 to {most}", f"{key}={default}")
        return found


Act = Callable[[Session, Call], Answer]


def by(call: Call) -> str:
    """Return who is written into events."""
    return call.caller.owner if call.caller.owner != EVERYBODY else call.caller.role


def view(session: Session, name: str) -> Data:
    """Return everything that is told of one routine."""
    found = look.show(session, name)
    return {**found, "describe": found["words"], "etag": etag(session, name)}


def etag(session: Session, name: str) -> str:
    """Return what changes with every byte of a definition's file."""
    return f'"{hashlib.sha256(definitions.read_bytes(session.layout, name)).hexdigest()[:20]}"'


def shown(session: Session, name: str, status: int = 200, **headers: str) -> Answer:
    """Return the answer that shows a routine."""
    found = view(session, name)
    return Answer(found, status, {"ETag": found["etag"], **headers})


def text_of(body: Data, key: str) -> str:
    """Return a text of a body, empty where it has none. Raises UsageError."""
    value = body.get(key, "")
    if not isinstance(value, str):
        raise UsageError(f"{key} is text", f'{{"{key}": "..."}}')
    return value


def instant_of(key: str, text: str) -> datetime:
    """Return an instant of a query. Raises UsageError."""
    try:
        return from_iso(text)
    except (ValueError, OverflowError):
        raise UsageError(f"{key} is '{text[:40]}', no instant", f"{key}=2026-11-20T00:00:00Z") from None


def proposal_of(session: Session, call: Call) -> Data:
    """Return the proposal of the path; one about a routine that this caller does not see is not there."""
    wanted = call.parts["proposal"]
    for item in proposals.waiting(session, call.caller.seen(session)):
        if item["proposal"] == wanted:
            return item
    raise NotFoundError(f"there is no open proposal '{wanted}'", "GET /proposals")
