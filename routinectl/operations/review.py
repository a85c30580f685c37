"""What waits for a person: slots and requests, and having them run or not."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from routinectl.core.decision import REVIEWS
from routinectl.core.event import Event
from routinectl.core.units import to_iso
from routinectl.errors import NotFoundError
from routinectl.operations.session import Session

Item = dict[str, Any]


def waiting(session: Session, names: list[str]) -> list[Item]:
    """Return what waits for review in these routines, oldest first: each with its `slot` or its `request`, and `since`."""
    found: list[Item] = []
    for name in names:
        standing = session.standing(name)
        found += [
            {"id": name, "slot": to_iso(hold.slot), "since": to_iso(hold.since), "reason": hold.reason}
            for hold in standing.holds.values()
            if hold.reason in REVIEWS
        ]
        found += [
            {"id": name, "request": request.id, "since": to_iso(request.at), "reason": request.hold}
            for request in standing.requests.values()
            if request.hold in REVIEWS
        ]
    return sorted(found, key=lambda item: (item.get("slot") or item["since"], item["id"]))


def answer(session: Session, name: str, slot: datetime | None, *, run: bool, by: str) -> list[str]:
    """Have what waits of a routine (or one slot of it) run, or dismiss it; returns which. Raises NotFoundError.

    Of several slots the newest runs, and the older ones are answered by it: one run is what a person means. Every
    request runs: each was asked for.
    """
    found = [item for item in waiting(session, [name]) if slot is None or item.get("slot") == to_iso(slot)]
    if not found:
        raise NotFoundError(f"nothing of {name} waits for review", "routinectl review")
    about = [_subject(item) for item in found]
    common = {"at": to_iso(session.now), "by": by}
    newest = max((item["slot"] for item in about if "slot" in item), default="")
    events = []
    for item in about:
        if not run:
            events.append(Event("slot.skipped", name, {**common, **item, "reason": "dismissed"}))
        elif item.get("slot", newest) == newest:
            events.append(Event("slot.released", name, {**common, **item}))
        else:
            events.append(Event("slot.missed", name, {**common, **item, "reason": "superseded"}))
    session.append(*events)
    return [next(iter(_subject(event.data).values())) for event in events if event.type != "slot.missed"]


def _subject(item: Mapping[str, Any]) -> Item:
    key = "slot" if "slot" in item else "request"
    return {key: item[key]}
