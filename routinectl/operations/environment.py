"""What a run of a routine is given as its environment, without giving secrets away."""

from __future__ import annotations

from routinectl.core.wish import Start
from routinectl.engine import launch
from routinectl.operations.session import Session


def of(session: Session, name: str) -> dict[str, str]:
    """Return the environment of a run that would start now; secrets are shown as ***. Raises DefinitionError."""
    routine = session.good(name)
    prepared = launch.prepare(session.layout, session.settings, routine, "", {})
    slot = routine.schedule.next_after(session.now) or session.now
    env = launch.base_environment() | launch.environment(
        session.layout, routine, prepared, Start(name, slot, "on_time", slot=slot), "RUN", session.now
    )
    return {key: "***" if key in (routine.action.secrets or {}) else value for key, value in env.items()} | dict.fromkeys(
        routine.action.secrets or {}, "***"
    )
