"""From changed files to revisions: what a scan of the definitions adds to the journal.

File events are hints and a scan is the truth: it compares the state of every definition's file with what was read
last, reads what differs, and says what follows as events, once the journal is locked. A changed file counts when it is
valid; one that is invalid or gone counts after a while (`patience`), because an editor may be half way through saving.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

from routinectl.core import decision
from routinectl.core.event import Event
from routinectl.core.record import event_of
from routinectl.core.routine import build, schedule_key
from routinectl.core.settings import Settings
from routinectl.core.standing import Standing
from routinectl.core.units import to_iso
from routinectl.engine.world import World
from routinectl.errors import DefinitionError, UnreadableError
from routinectl.files import definitions, projections
from routinectl.files.definitions import Definition
from routinectl.version import VERSION

PATIENCE = 2.0
# What was seen of a file, as the events that follow from it where its routine stands when it is called. It is called in
# the journal's critical section: a serve and a command may have seen the same edit, and it counts once.
Seen = Callable[[], list[Event]]


@dataclass(slots=True)
class Revisions:
    """What this process knows of the files: their keys when last read, and since when some are broken or gone."""

    settings: Settings
    keys: dict[str, str] = field(default_factory=dict)
    doubtful: dict[str, datetime] = field(default_factory=dict)
    sources: dict[str, tuple[str, ...]] = field(default_factory=dict)  # other files that definitions were read from

    def recall(self, keys: dict[str, str], world: World) -> None:
        """Take remembered keys over, of routines that the journal knows; others are read as new."""
        self.keys = {name: key for name, key in keys.items() if name in world}

    def look(self, world: World, now: datetime, *, patience: float = PATIENCE) -> list[Seen]:
        """Return what was seen of everything that changed since the last look at all files."""
        found = {name: self._whole(name, key) for name, key in definitions.scan(world.layout).items()}
        changed = [name for name, key in found.items() if self.keys.get(name) != key]
        gone = [name for name in self.keys if name not in found]
        if not self.keys:
            gone += [name for name in world.ids() if name not in found and self._lives(world, name)]
        return self._seen(world, changed, dict.fromkeys(gone, ""), found, now, patience)

    def look_at(self, world: World, names: Iterable[str], now: datetime, *, patience: float = PATIENCE) -> list[Seen]:
        """Return what was seen of what changed about these routines."""
        names = self._with_those_that_read(world, set(filter(definitions.is_text, names)))
        keys = {name: self._whole(name, definitions.key_of(world.layout.definition(name))) for name in names}
        changed = [name for name, key in keys.items() if key and self.keys.get(name) != key]
        gone = {name: "" for name, key in keys.items() if not key and (name in self.keys or self._lives(world, name))}
        return self._seen(world, changed, gone, keys, now, patience)

    def _with_those_that_read(self, world: World, names: set[str]) -> set[str]:
        """Add the routines whose own definition is good or not depending on one of these files."""
        files = {str(world.layout.definition(name)) for name in names}
        return names | {name for name, sources in self.sources.items() if not files.isdisjoint(sources)}

    def _whole(self, name: str, key: str) -> str:
        """Return the key of everything a definition was read from: a changed calendar is a changed definition."""
        return " ".join([key, *map(definitions.key_of, self.sources.get(name, ()))]) if key else key

    @staticmethod
    def _lives(world: World, name: str) -> bool:
        if name not in world:
            return False
        standing = world.standing(name)
        return not standing.deleted and (standing.doc is not None or standing.invalid is not None)

    def _seen(
        self, world: World, changed: list[str], gone: dict[str, str], keys: dict[str, str], now: datetime, patience: float
    ) -> list[Seen]:
        found: list[Seen] = []
        for name in changed:
            try:
                definition = self._load(world, name, now)
            except DefinitionError as error:
                if self._is_final(name, now, patience):
                    found.append(partial(_invalid, world, name, error, now))
                    if not isinstance(error, UnreadableError):  # that may pass while the file stays as it is: look again
                        self._remember(name, keys[name], error.sources)
                continue
            self.doubtful.pop(name, None)
            self._remember(name, keys[name], definition.sources)
            found.append(partial(revision, world, definition, now, trust=self.settings.trust))
        for name in gone:
            if self._is_final(name, now, patience):
                self.keys.pop(name, None)
                found.append(partial(self._deleted, world, name, now))
        return found

    def _load(self, world: World, name: str, now: datetime) -> Definition:
        """Return a good definition; whatever keeps one from being read is a fault of that one alone. Raises DefinitionError."""
        try:
            return definitions.load(world.layout, name, self.settings, now)
        except OSError as error:
            raise definitions.unread(error, definitions.relative(world.layout, world.layout.definition(name))) from None

    def _remember(self, name: str, key: str, sources: tuple[str, ...]) -> None:
        self.sources[name] = sources
        self.keys[name] = self._whole(name, key.partition(" ")[0])

    def _deleted(self, world: World, name: str, now: datetime) -> list[Event]:
        return deletion(world, name, now) if self._lives(world, name) else []

    def _is_final(self, name: str, now: datetime, patience: float) -> bool:
        """Say whether a file has been bad or gone for long enough to believe it."""
        since = self.doubtful.setdefault(name, now)
        if (now - since).total_seconds() < patience:
            return False
        del self.doubtful[name]
        return True


def cache_words(settings: Settings) -> str:
    """Return what remembered keys depend on: this version, and the settings that are merged into definitions."""
    return f"{VERSION} {settings.timezone} {settings.owner} {settings.min_interval} {sorted(settings.pools)} {dict(settings.defaults)!r}"


def revision(world: World, definition: Definition, now: datetime, *, trust: str = "local") -> list[Event]:
    """Return what a good definition changes, by the rules of edits (DESIGN 6.8).

    Under `trust: approve-changes` a revision that did not come through routinectl here is marked: a person must approve it.
    """
    standing = world.standing(definition.id) if definition.id in world else Standing(definition.id)
    data: dict[str, Any] = {"at": to_iso(now), "definition": definition.doc, "fingerprint": definition.fingerprint}
    if trust == "approve-changes" and definition.fingerprint not in standing.vouched:
        data["untrusted"] = True
    if standing.doc is None or standing.deleted:
        return [Event("routine.created", definition.id, data), *_lost(world, standing, definition, now)]
    events: list[Event] = []
    enabled, was = definition.doc.get("enabled", True), standing.enabled
    same = standing.fingerprint == definition.fingerprint
    if same and enabled == was and standing.invalid is None:
        return events
    rescheduled = schedule_key(standing.doc) != schedule_key(definition.doc)
    routine = world.routine(definition.id)
    if routine is not None:
        wishes = decision.end_invalid(routine, standing, now) if standing.invalid is not None and was else []
        if not wishes and rescheduled:
            wishes = decision.close(routine, standing, now, "edited")
        elif not wishes and was and not enabled:
            wishes = decision.close(routine, standing, now, "disabled")
        elif not wishes and enabled and not was and routine.schedule.once:
            wishes = decision.close_disabled(routine, standing, now)
        events += [event_of(wish, now) for wish in wishes]
    if not same or standing.invalid is not None:
        # What it says of `enabled` is told by its own event below, so that the fold moves the mark for it.
        kept = {**definition.doc, "enabled": was}
        events.append(Event("routine.updated", definition.id, {**data, "definition": kept}))
    if enabled != was:
        events.append(Event("routine.enabled" if enabled else "routine.disabled", definition.id, {"at": to_iso(now)}))
    return events


def _lost(world: World, standing: Standing, definition: Definition, now: datetime) -> list[Event]:
    """Return a hold for review where a state.json tells of a routine that the journal has never heard of.

    Its newest slot since then may have run or not; nobody knows any more, so it is never fired as if it were new.
    """
    since = projections.told_until(world.layout, definition.id) if standing.version == 0 else None
    if since is None or since >= now or not definition.doc.get("enabled", True):
        return []
    newest = build(definition.id, definition.doc, now).schedule.last_n(since, now, 1)
    return [Event("slot.held", definition.id, {"at": to_iso(now), "slot": to_iso(slot), "reason": "journal_lost"}) for slot in newest]


def deletion(world: World, name: str, now: datetime) -> list[Event]:
    """Return what the removal of a definition means: everything open is answered, then it is deleted."""
    standing, routine = world.standing(name), world.routine(name)
    wishes = decision.close(routine, standing, now, "deleted") if routine is not None else []
    return [*(event_of(wish, now) for wish in wishes), Event("routine.deleted", name, {"at": to_iso(now)})]


def _invalid(world: World, name: str, error: DefinitionError, now: datetime) -> list[Event]:
    standing = world.standing(name) if name in world else Standing(name)
    problems = [{"message": item.message, "where": item.where, "hint": item.hint} for item in error.problems]
    if standing.invalid is not None and standing.invalid["problems"] == problems:
        return []
    return [Event("routine.invalid", standing.id, {"at": to_iso(now), "problems": problems})]
