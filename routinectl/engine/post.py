"""The spool's postman: takes files from `inbox/`, gives them to whoever listens, and removes them once that is on record.

A crash between the record and the removal is no second hearing: the last batch on record names its files. Files of a
channel that nobody listens on stay where they are.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from routinectl import clock
from routinectl.core.units import from_epoch
from routinectl.engine.board import Board, Letter
from routinectl.engine.engine import Engine
from routinectl.files import inbox
from routinectl.files.inbox import Spooled

_BATCH = 100  # messages that are recorded with one sync
_MOST_BYTES = 64 * 1024  # of a spooled message: a bad pattern takes some microseconds a byte, and this is the loop's own time
_BUDGET = 0.05  # seconds of a turn that the post may take before what is due has its turn
_SOON = 0.1


class Post:
    """Collects the spool. `talk` hears of what cannot be taken, once for each file."""

    def __init__(self, engine: Engine, talk: Callable[[str], None]) -> None:
        self.engine, self.talk = engine, talk
        self.board = Board(engine)
        self._told: set[str] = set()

    def collect(self, now: datetime) -> float | None:
        """Take what is there, for a moment at most; return after how many seconds there is more, None when there is not."""
        waiting = [item for item in inbox.scan(self.engine.layout) if self.board.hears(item.channel)]
        ready = [item for item in waiting if item.is_quiet(now.timestamp())]
        until = clock.awake() + _BUDGET
        for first in range(0, len(ready), _BATCH):
            if first and clock.awake() > until:
                return 0.0
            self._take(ready[first : first + _BATCH], now)
        return _SOON if len(ready) < len(waiting) else None

    def _take(self, items: list[Spooled], now: datetime) -> None:
        known = self.board.last_keys()
        letters = [(item, letter) for item in items if item.key not in known and (letter := self._open(item)) is not None]
        self.board.take([letter for _, letter in letters], now)
        try:
            inbox.remove([item for item in items if item.key in known] + [item for item, _ in letters])
        except OSError as error:
            self._tell(items[0].path, f"messages are on record and cannot be removed: {error}")

    def _open(self, item: Spooled) -> Letter | None:
        try:
            if item.size > _MOST_BYTES:
                raise ValueError(
                    f"it has {item.size} bytes; a spooled message has at most {_MOST_BYTES >> 10} KiB, one for emit a mebibyte"
                )
            text, data = inbox.read(item)
        except FileNotFoundError:
            return None
        except ValueError as error:
            self._refuse(item, error)
            return None
        except OSError as error:
            self._tell(item.path, f"{item.path} cannot be read: {error.strerror}")
            return None
        return Letter(item.key, from_epoch(int(item.changed)), item.channel, text, data)

    def _refuse(self, item: Spooled, why: ValueError) -> None:
        try:
            where = f"it is now {inbox.refuse(item)}"
        except OSError as error:
            where = f"it cannot be moved aside: {error.strerror}"
        self._tell(item.path, f"{item.path} is no message: {why}; {where}")

    def _tell(self, path: str, text: str) -> None:
        if path not in self._told:
            self._told.add(path)
            self.talk(text)
