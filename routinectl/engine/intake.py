"""What serve itself takes in besides time: files of the spool, and changes of watched files.

Messages from commands and deliveries over HTTP are taken in by the processes they come to; serve hears of them in the
journal.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from routinectl import clock
from routinectl.engine.changes import Changes
from routinectl.engine.engine import Engine
from routinectl.engine.post import Post
from routinectl.files.watch import Watch


class Intake:
    """The spool and the file triggers. `next_at` is when (awake) the spool is looked at next, whatever the watch says."""

    def __init__(self, engine: Engine, scan_interval: float, talk: Callable[[str], None]) -> None:
        self.scan_interval = scan_interval
        self.post, self.changes = Post(engine, talk), Changes(engine, scan_interval, talk)
        self.inbox = str(engine.layout.inbox)
        self.next_at = 0.0

    def take(self, now: datetime, watch: Watch | None, poke: Callable[[], None]) -> None:
        """Ask for the runs that spooled messages and settled changes are for. Raises OSError when nothing can be recorded."""
        look = clock.awake() >= self.next_at
        if watch is not None:
            if look:
                watch.follow(self.inbox, recursive=True)
            touched = watch.touched()
            look = look or self.inbox in touched
            if touched - {self.inbox}:
                self.changes.touch()
        if look:
            again = self.post.collect(now)
            self.next_at = clock.awake() + (self.scan_interval if again is None else again)
        self.changes.update(watch, poke)
        self.changes.offer(now)

    def close(self) -> None:
        """Stop looking at files."""
        self.changes.close()
