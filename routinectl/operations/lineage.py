"""Who made which routine: the runs of routines that made routines, and how far that may go."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from routinectl.core import permissions, projection
from routinectl.core.routine import Routine
from routinectl.core.units import format_duration
from routinectl.errors import DeniedError, NotFoundError
from routinectl.operations.session import Session

Row = dict[str, Any]
MOST_MADE = 3  # routines that one run may make
DEEPEST = 2  # generations: a routine that an agent's routine made may make some, theirs may not
_BY_RUN = re.compile(r"([a-z0-9][a-z0-9-]{0,62}) (\d{8}T\d{6}Z-[A-Za-z0-9-]+)")


def maker(session: Session, name: str) -> tuple[str, str]:
    """Return the routine and the run that made a routine; empty for what a person, or an agent without a run, made."""
    found = _BY_RUN.fullmatch(session.standing(name).maker)
    return (found[1], found[2]) if found else ("", "")


def depth(session: Session, name: str) -> int:
    """Return how many generations of routines are above one."""
    seen: set[str] = set()
    while name and name not in seen:
        seen.add(name)
        name = maker(session, name)[0]
    return len(seen) - 1


def require_room(session: Session, by: str) -> None:
    """Raise DeniedError when a run has made enough routines, or is too far down itself; `by` is who makes one now."""
    found = _BY_RUN.fullmatch(by)
    if found is None:
        return
    made = [name for name in session.alive() if session.standing(name).maker == by]
    if len(made) >= MOST_MADE:
        raise DeniedError(f"this run has made {MOST_MADE} routines already: {', '.join(made)}", "routinectl lineage")
    if session.standing(found[1]).doc is not None and depth(session, found[1]) + 1 > DEEPEST:
        raise DeniedError(
            f"{found[1]} was itself made by a run, {DEEPEST} generations down; its runs make no routines", "routinectl lineage"
        )


def require_no_wider(session: Session, by: str, made: Routine) -> None:
    """Raise DeniedError when a run asks for a routine that may do more, or use more in one run, than the run itself."""
    found = _BY_RUN.fullmatch(by)
    own = session.routine(found[1]) if found is not None and session.exists(found[1]) else None
    if own is None:
        return
    narrower = permissions.wider(made.permissions, own.permissions) or next((
        f"budget.{key}: {format_duration(most) if isinstance(most, timedelta) else most}"
        for key, most, wanted in (("cpu", own.cpu, made.cpu), ("memory", own.memory, made.memory))
        if most is not None and (wanted is None or wanted > most)  # type: ignore[operator]  # both are of one kind
    ), "")  # fmt: skip
    if narrower:
        raise DeniedError(f"a run may not ask for more than it has itself: {own.id} has {narrower}", narrower)


def rows(session: Session) -> list[Row]:
    """Return every routine that a run made, or whose runs made one: in the order of a tree, with its depth."""
    names = session.alive()
    children: dict[str, list[str]] = {}
    for name in names:
        above = maker(session, name)[0]
        if above:
            children.setdefault(above, []).append(name)
    roots = [name for name in dict.fromkeys([*children, *names]) if name in children and not maker(session, name)[0]]
    return [row for root in sorted(roots) for row in _below(session, root, children, 0)]


def _below(session: Session, name: str, children: dict[str, list[str]], level: int) -> Iterator[Row]:
    status = projection.status_of(session.standing(name), session.routine(name), session.now)[0] if name in session.alive() else "gone"
    yield {"id": name, "depth": level, "status": status, "run": maker(session, name)[1]}
    for child in sorted(children.get(name, ())) if level < 20 else ():
        yield from _below(session, child, children, level + 1)


def descendants(session: Session, text: str) -> list[str]:
    """Return the routines that a run made, or the runs of a routine, with all that theirs made. Raises NotFoundError."""
    names = session.alive()
    found = [name for name in names if text in maker(session, name)]
    if not found:
        raise NotFoundError(f"neither a run nor a routine '{text}' has made a routine", "routinectl lineage")
    waiting = list(found)
    while waiting:
        above = waiting.pop()
        new = [name for name in names if maker(session, name)[0] == above and name not in found]
        found += new
        waiting += new
    return sorted(found)
