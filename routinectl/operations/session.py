"""What every operation begins with: the workspace, its settings, and the world as it stands.

Where no serve lives, an operation does for a moment what serve would: it takes in changed definitions and the ends of
runs that a keeper reported meanwhile, and writes the projections. Where one lives, it only reads, appends and pokes.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from datetime import datetime
from typing import Protocol, Self

from routinectl import clock
from routinectl.core.event import Event
from routinectl.core.problem import did_you_mean
from routinectl.core.routine import Routine
from routinectl.core.settings import Settings
from routinectl.core.standing import Standing
from routinectl.engine.board import Board
from routinectl.engine.damage import answer_damage
from routinectl.engine.engine import Engine
from routinectl.engine.project import Projector
from routinectl.engine.recover import recover
from routinectl.engine.revise import cache_words
from routinectl.engine.world import World
from routinectl.errors import BusyError, DefinitionError, NotFoundError, UsageError
from routinectl.files import config, definitions, watch
from routinectl.files.layout import Layout
from routinectl.files.lock import is_held

_CHECKPOINT_EVENTS = 500  # a command leaves a checkpoint behind when it had to fold more than this


def sees_all(_: Standing) -> bool:
    """Say yes: whoever has the files has every routine."""
    return True


class View(Protocol):
    """A workspace as it stands, for whoever only looks: a session, or a serve from inside."""

    @property
    def world(self) -> World:
        """The world, folded."""
        ...

    @property
    def settings(self) -> Settings:
        """The settings in force."""
        ...

    @property
    def now(self) -> datetime:
        """The instant of the look."""
        ...

    @property
    def serve_lives(self) -> bool:
        """Whether a serve lives."""
        ...

    def standing(self, name: str) -> Standing:
        """Return where a routine stands."""
        ...

    def routine(self, name: str) -> Routine | None:
        """Return the definition in force."""
        ...


class Session:
    """One operation's view of a workspace. Close it: the projections are brought up to date then."""

    def __init__(self, layout: Layout, *, now: datetime | None = None) -> None:
        self.layout = layout
        self.now = now or clock.now()
        self.settings: Settings = config.load(layout)
        layout.make()
        self.engine = Engine(layout, self.settings)
        self.engine.slots = False
        self.agent = ""  # which agent asks, where the one who asks has shown who it is (a token)
        self.sees: Callable[[Standing], bool] = sees_all  # which routines are there for the one who asks
        self.serve_lives = is_held(layout.lock("serve"))
        self.world.load()
        self.projector = None if self.serve_lives else Projector.open(self.world)
        if self.projector is not None:
            self.engine.listeners.append(self.projector.collect)
        if not self.serve_lives:
            self.stand_in()

    @property
    def world(self) -> World:
        """The world, folded to where the journal ended when it was last read."""
        return self.engine.world

    def stand_in(self) -> None:
        """Take in what a serve would: changed definitions, damage, and the ends of runs that a keeper has reported."""
        cache = definitions.Cache(self.layout)
        words = cache_words(self.settings)
        self.engine.revisions.recall(cache.read(words), self.world)
        before = dict(self.engine.revisions.keys)
        answer_damage(self.engine, self.now)
        if self.world.running or self.engine.keeping.has_news():
            recover(self.engine, self.now)
        self.engine.revise(self.engine.revisions.look(self.world, self.now, patience=0.0), self.now)
        if self.engine.revisions.keys != before:
            cache.write(words, self.engine.revisions.keys)

    def id_of(self, text: str) -> str:
        """Return the id of a routine named by id or by a unique prefix. Raises NotFoundError or UsageError."""
        alive = self.alive()
        if text in alive:
            return text
        found = [name for name in alive if name.startswith(text)] if text else []
        if len(found) == 1:
            return found[0]
        if found:
            raise UsageError(f"'{text}' could be {', '.join(found[:5])}", f"write more of the id: {found[0]}")
        hint = did_you_mean(text, alive) or ("routinectl list" if alive else "routinectl add")
        raise NotFoundError(f"there is no routine '{text}'", hint)

    def alive(self) -> list[str]:
        """Return the ids of the routines that exist now."""
        return [name for name in self.world.ids() if self.exists(name)]

    def exists(self, name: str) -> bool:
        """Say whether there is a routine of this very id now."""
        standing = self.standing(name) if name in self.world else None
        return standing is not None and not standing.deleted and (standing.doc is not None or standing.invalid is not None)

    def shows(self, name: str) -> bool:
        """Say whether there is a routine of this very id for the one who asks."""
        return self.exists(name) and self.sees(self.standing(name))

    @functools.cached_property
    def board(self) -> Board:
        """The routines that listen to messages, by channel."""
        return Board(self.engine)

    def standing(self, name: str) -> Standing:
        """Return where a routine stands."""
        return self.world.standing(name)

    def routine(self, name: str) -> Routine | None:
        """Return the definition in force of a routine, or None when it has never been good."""
        return self.world.routine(name)

    def good(self, name: str) -> Routine:
        """Return the definition in force of a routine. Raises DefinitionError when it has never been good."""
        found = self.routine(name)
        if found is None:
            problems = (self.standing(name).invalid or {}).get("problems", [])
            what = problems[0]["message"] if problems else "it cannot be read"
            raise DefinitionError(f"{name} has no good definition: {what}", f"routinectl validate {name}")
        return found

    def refresh(self, now: datetime | None = None) -> None:
        """Go on with what has happened since: for whoever keeps a session for more than one thing."""
        self.now = now or clock.now()
        self.serve_lives = is_held(self.layout.lock("serve"))
        self.engine.hear()

    def append(self, *events: Event) -> None:
        """Record events durably and wake a serve."""
        self.engine.append(events, self.now)
        watch.poke(self.layout)

    def look_at(self, name: str) -> None:
        """Take in a definition that this operation has just changed."""
        self.engine.revise(self.engine.revisions.look_at(self.world, [name], self.now, patience=0.0), self.now)
        watch.poke(self.layout)

    def close(self) -> None:
        """Bring projections up to date, and leave a checkpoint where the next command would have to fold a lot."""
        if self.projector is not None:
            with contextlib.suppress(OSError):  # what was asked is durable; ledgers and states can always be written later
                self.projector.close(clock.now())
            if self.world.since_checkpoint > _CHECKPOINT_EVENTS:
                for name in self.world.ids():
                    if name in self.world.thawed:
                        self.world.plan(name, self.now)
                self.world.save()
        self.engine.keeping.close()
        self.world.journal.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self.close()


def require_idle(standing: Standing) -> None:
    """Raise BusyError when a routine has a run that goes on."""
    if standing.runs:
        run_id = next(iter(standing.runs))
        raise BusyError(f"{standing.id} is running: {run_id}", f"routinectl rm {standing.id} --cancel")
