"""Slots that wait for a person: what they are, and having them run or not."""

from __future__ import annotations

from datetime import datetime

from routinectl.core.decision import REVIEWS
from routinectl.core.event import Event
from routinectl.core.units import to_iso
from routinectl.errors import NotFoundError
from routinectl.operations.session import Session


def waiting(session: Session, names: list[str]) -> list[dict[str, str]]:
    """Return the slots of these routines that wait for review, oldest first."""
    found = [
        {"id": name, "slot": to_iso(hold.slot), "reason": hold.reason}
        for name in names
        for hold in session.standing(name).holds.values()
        if hold.reason in REVIEWS
    ]
    return sorted(found, key=lambda item: item["slot"])


def answer(session: Session, name: str, slot: datetime | None, *, run: bool, by: str) -> list[str]:
    """Have the waiting slots of a routine (or one of them) run, or dismiss them; returns which. Raises NotFoundError."""
    chosen = [item["slot"] for item in waiting(session, [name]) if slot is None or item["slot"] == to_iso(slot)]
    if not chosen:
        raise NotFoundError(f"no slot of {name} waits for review", "routinectl review")
    at = to_iso(session.now)
    if run:
        # One run is what a person means by it: the newest; the older ones are answered by it.
        *older, newest = chosen
        session.append(
            *(Event("slot.missed", name, {"at": at, "slot": item, "reason": "superseded", "by": by}) for item in older),
            Event("slot.released", name, {"at": at, "slot": newest, "by": by}),
        )
        return [newest]
    session.append(*(Event("slot.skipped", name, {"at": at, "slot": item, "reason": "dismissed", "by": by}) for item in chosen))
    return chosen
