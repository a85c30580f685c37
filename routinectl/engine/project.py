"""Keeping state.json and history.jsonl up to date, after the burst and a few routines at a time.

The holder of the lock `projections` writes: serve while it lives, else a command, which does not wait for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from routinectl.core import projection
from routinectl.core.event import Event
from routinectl.engine.world import World
from routinectl.files import projections
from routinectl.files.journal import Journal, read_all
from routinectl.files.lock import Lock, try_lock

_AT_ONCE = 25  # routines written before the loop looks at its clock again


class Projector:
    """Collects what is to be written; `flush` writes a part of it. Use `open` to get one, if nobody else is."""

    def __init__(self, world: World, lock: Lock) -> None:
        self.world, self.lock = world, lock
        self.lines: dict[str, list[dict[str, Any]]] = {}
        self.checked: set[str] = set()

    @classmethod
    def open(cls, world: World) -> Projector | None:
        """Return the one that may write, with everything collected that earlier ones did not write; None if taken."""
        lock = try_lock(world.layout.lock("projections"))
        if lock is None:
            return None
        projector = cls(world, lock)
        projector.collect(unprojected(world))
        return projector

    def collect(self, events: Sequence[Event]) -> None:
        """Remember the ledger lines of durable events."""
        for event in events:
            line = projection.history_line(event)
            if line is not None and event.subject:
                self.lines.setdefault(event.subject, []).append(line)

    @property
    def behind(self) -> bool:
        """Whether anything waits to be written."""
        return bool(self.lines or self.world.changed)

    def flush(self, now: datetime, most: int = _AT_ONCE) -> None:
        """Write the ledgers and states of at most so many routines.

        Raises OSError when one could not be written, once the others are; it stays to be written, behind all others.
        """
        names = list(dict.fromkeys([*self.lines, *self.world.changed]))[:most]
        failed: OSError | None = None
        for name in names:
            lines = self.lines.pop(name, [])
            self.world.changed.discard(name)
            try:
                self._write(name, lines, now)
            except OSError as error:
                self.lines[name] = lines
                failed = error
        if failed is not None:
            raise failed
        if names and not self.lines:
            projections.write_position(self.world.layout, self.world.journal.position, self.world.journal.seq)

    def _write(self, name: str, lines: list[dict[str, Any]], now: datetime) -> None:
        if lines:
            known = None if name in self.checked else projections.known_events(self.world.layout, name)
            self.checked.discard(name)  # until they are all written
            projections.append_history(self.world.layout, name, lines, known=known)
            self.checked.add(name)
        if name in self.world and not self.world.standing(name).deleted:
            state = projection.state(self.world.standing(name), self.world.routine(name), now)
            projections.write_state(self.world.layout, name, state)

    def flush_all(self, now: datetime) -> None:
        """Write everything that waits. Raises OSError when something cannot be written; it is written another time."""
        while self.behind:
            self.flush(now, len(self.lines) + len(self.world.changed))

    def close(self, now: datetime) -> None:
        """Write everything and let another one have the lock."""
        try:
            self.flush_all(now)
        finally:
            self.lock.close()


def unprojected(world: World) -> list[Event]:
    """Return the events that are not in the histories yet, up to where the world has read."""
    position, seq = projections.read_position(world.layout)
    if position == world.journal.position:
        return []
    journal = Journal(world.layout)
    if position == (0, 0) or not journal.seek(position, seq, ""):
        journal = Journal(world.layout)
    events = [event for event in journal.read_new() if event.seq <= world.journal.seq]
    journal.close()
    return events


def rebuild(world: World, name: str) -> int:
    """Merge what the journal says into a routine's ledger, by event id; returns how many lines were missing.

    Lines older than the first segment, and foreign ones, stay where they are.
    """
    known = {line.get("event") for line in projections.read_history(world.layout, name)}
    lines = [projection.history_line(event) for event in read_all(world.layout) if event.subject == name]
    missing = [line for line in lines if line is not None and line["event"] not in known]
    projections.append_history(world.layout, name, missing)
    return len(missing)
