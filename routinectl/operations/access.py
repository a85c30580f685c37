"""Whose routine it is, and who sees it: one answer for every face that serves more than one person."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass

from routinectl.core.standing import Standing
from routinectl.operations.session import Session

EVERYBODY = "*"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: the role, and whose routines he sees. An admin sees all, and so does a viewer for `*`."""

    role: str
    owner: str

    def sees(self, session: Session, standing: Standing) -> bool:
        """Say whether this routine is there for him at all."""
        return self.sees_all or owner_of(session, standing) == self.owner

    def sees_of(self, owner: str) -> bool:
        """Say whether this owner's routines are there for him."""
        return self.sees_all or owner == self.owner

    def seen(self, session: Session) -> list[str]:
        """Return the routines that are there for him, in order."""
        return [name for name in session.alive() if self.sees(session, session.standing(name))]

    def looks_through(self, session: Session) -> None:
        """Have operations of this session speak of what is there for him, until another asks."""
        if not self.sees_all:
            session.sees = functools.partial(self.sees, session)

    def none_of(self, seen: int, filters: Mapping[str, str]) -> str:
        """Return why a list is empty: of how many that are there for him none fits. What others have is not told, not even how many."""
        whose = "" if self.sees_all else f" of {self.owner}"
        if not seen:
            return f"There are no routines{whose or ' here'}"
        asked = ", ".join(f"{key} {value}" for key, value in filters.items())
        return (
            f"None of the {seen} routines{whose} fits: {asked}" if seen > 1 else f"The one routine{whose or ' here'} does not fit: {asked}"
        )

    @property
    def sees_all(self) -> bool:
        """Whether everybody's routines are there for him."""
        return self.role == "admin" or (self.role == "viewer" and self.owner == EVERYBODY)


def owner_of(session: Session, standing: Standing) -> str:
    """Return whose routine it is: as its definition says, else that of all that name nobody."""
    return str((standing.doc or {}).get("owner", session.settings.default_owner))
