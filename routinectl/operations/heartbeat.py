"""A sign of life for a service that misses it: is serve there, does it decide, are slots in time?"""

from __future__ import annotations

from typing import Any

from routinectl.errors import UsageError
from routinectl.notify.ping import ping
from routinectl.operations import look
from routinectl.operations.notices import dereference
from routinectl.operations.session import Session

_GRAVE = ("late",)  # what of the health says that the scheduler itself is not well; the rest is about routines


def faults(session: Session) -> list[str]:
    """Return what is wrong with the scheduler, in words."""
    status = look.status(session)
    found = [] if status["serve"]["alive"] else ["no serve lives: nothing fires"]
    if status["clock"]["suspect"]:
        found.append("the clock is in doubt: nothing is decided")
    return found + [f"{item['count']} {item['what']}" for item in status["health"] if item["kind"] in _GRAVE]


def beat(session: Session, url: str | None, *, dry_run: bool = False) -> dict[str, Any]:
    """Ping the service with how things stand; return that. Raises UsageError without a URL, UnreachableError when it is not taken."""
    wrong = faults(session)
    found = {"well": not wrong, "faults": wrong}
    if dry_run:
        return found
    where = url or dereference(session.layout, session.settings.notify.heartbeat)
    if not where:
        raise UsageError("where to? There is no URL", "notify: {heartbeat: {file: secrets/ping.url}}    # in routinectl.yaml")
    ping(where.rstrip("/") + ("/fail" if wrong else ""), "\n".join(wrong) or "all is well")
    return found
