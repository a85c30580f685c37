"""The engine's side of the keeper: find it or start it, hand runs over, hear of their ends."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from routinectl import clock
from routinectl.errors import RoutinectlError
from routinectl.files import lock
from routinectl.files.layout import Layout
from routinectl.process import keep, proc
from routinectl.process.message import MAX_DESCRIPTORS, Closed, encode

if TYPE_CHECKING:
    from routinectl.process.wire import Wire

Message = dict[str, Any]
_PATIENCE = 10.0  # seconds to wait for a keeper that is being started or is on its way out
BATCH = 100
_BURST = 1.0


class Keeping:
    """The link to the keeper of one workspace; `wire` is None while there is none."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.wire: Wire | None = None
        self.hello: Message = {}
        self.foreign = False  # whether the keeper is bound otherwise than this process, and so are the runs it starts
        self.outstanding = 0  # runs handed over that it has not answered for
        self._news: list[Message] = []
        self._returned: list[Message] = []
        self._news_since = 0.0

    @property
    def log(self) -> str:
        """The keeper's log: the exit records that are not in the journal yet."""
        return f"{self.layout.live}/keeper.jsonl"

    def find(self) -> bool:
        """Connect to a living keeper; say whether there is one."""
        if self.wire is None:
            found = keep.connect(self.layout.live)
            if found is not None:
                self.wire, self.hello = found
                self.foreign = proc.bounds(self.hello["pid"]) != proc.bounds(os.getpid())
        return self.wire is not None

    def find_or_outlive(self) -> bool:
        """Connect to the keeper; where one is on its way in or out, wait for what becomes of it."""
        deadline = clock.awake() + _PATIENCE
        while not self.find() and not self.is_dead() and clock.awake() < deadline:
            clock.pause(0.01)
        return self.wire is not None

    def ensure(self) -> None:
        """Connect to the keeper, starting one where there is none. Raises RoutinectlError when that fails.

        The log of a keeper that died must have been harvested before. A foreign one with nothing to keep is left to its
        end, which comes soon; should somebody else go on using it, it is used here too.
        """
        deadline = clock.awake() + _PATIENCE
        if self.find() and self.foreign and not any(self.hello[what] for what in ("alive", "ending", "ended")):
            self.close()
            while not self.is_dead() and clock.awake() < deadline:
                clock.pause(0.01)
        while not self.find():
            held = lock.try_lock(self.layout.lock("keeper"))
            if held is not None:
                with held:
                    self._start(held.fd)
            elif clock.awake() > deadline:
                raise RoutinectlError("the keeper does not answer", f"fuser {self.layout.lock('keeper')}")
            else:
                clock.pause(0.01)

    def _start(self, held: int) -> None:
        log = os.open(self.log, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        runs = os.open(self.layout.runs, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            keep.start(self.layout.live, log, runs, held)
        finally:
            os.close(log)
            os.close(runs)

    def leave_foreign(self) -> None:
        """Let a foreign keeper go, so that it ends when it has no runs and the next one is started from here.

        A service's new hardening would not reach its runs otherwise: serve is back before an idle keeper has ended.
        """
        if self.foreign and self.outstanding == 0:
            self.close()

    def has_news(self) -> bool:
        """Say whether a keeper may have something to tell: its log is emptied when all has been told."""
        try:
            return os.stat(self.log).st_size > 0
        except FileNotFoundError:
            return False

    def records(self) -> list[Message]:
        """Return the ends in the log of a keeper; a torn last line is one that was never reported."""
        found: list[Message] = []
        with contextlib.suppress(FileNotFoundError), open(self.log, "rb") as file:
            for line in file:
                with contextlib.suppress(ValueError):
                    found.append(json.loads(line))
        return found

    def forget_log(self) -> None:
        """Empty the log of a keeper that is dead, after its ends are durable in the journal."""
        held = lock.try_lock(self.layout.lock("keeper"))
        if held is None:
            return
        with held, contextlib.suppress(FileNotFoundError):
            os.truncate(self.log, 0)

    def is_dead(self) -> bool:
        """Say whether no keeper lives or is being started."""
        return self.wire is None and not lock.is_held(self.layout.lock("keeper"))

    def spawn(self, entries: list[bytes], fds: list[int], env: dict[str, str]) -> None:
        """Hand a batch over, `env` being what all of it has in common; the answer comes as a `spawned` message. Raises Closed when the keeper is gone."""
        assert self.wire is not None
        assert len(fds) <= MAX_DESCRIPTORS
        body = b'{"fds":%d,"env":%b,"spawn":[%b]}' % (len(fds), encode(env), b",".join(entries))
        try:
            self.wire.send_encoded(body, fds)
        except Closed:
            self.close()
            raise
        self.outstanding += len(fds)

    def alert(self) -> None:
        """Wake the keeper, because a batch is about to come."""
        if self.wire is not None:
            with contextlib.suppress(Closed):
                self._send({"soon": True})

    def cancel(self, run_ids: list[str]) -> None:
        """Have runs stopped."""
        if run_ids and self.wire is not None:
            with contextlib.suppress(Closed):
                self._send({"cancel": run_ids})

    def acknowledge(self, run_ids: list[str]) -> None:
        """Say that these ends are durable in the journal."""
        if run_ids and self.wire is not None:
            with contextlib.suppress(Closed):
                self._send({"ack": run_ids})

    def receive(self) -> list[Message]:
        """Return what the keeper has sent, waiting for the first of it; `wire` is None afterwards when it is gone.

        While it still spawns what it was given, its news are kept back for a moment: starts come first.
        """
        if self._returned:
            news, self._returned = self._returned, []
            return news
        if self.wire is None:
            return []
        try:
            messages = self.wire.receive()
        except Closed:
            self.close()
            messages = []
        self.outstanding -= sum(len(message.get("spawned", ())) for message in messages)
        self._news += messages
        now = clock.awake()
        if self.outstanding > 0 and self.wire is not None and now - self._news_since < _BURST:
            return []
        self._news_since = now
        news, self._news = self._news, []
        return news

    def put_back(self, messages: Sequence[Message]) -> None:
        """Keep news that could not be recorded for the next time; nobody tells them again."""
        self._returned = [*messages, *self._returned]

    def has_something(self) -> bool:
        """Say whether `receive` would return at once: the keeper has spoken, or something was put back."""
        return bool(self._returned) or (self.wire is not None and bool(clock.wait([self.wire.fileno()], 0)))

    def close(self) -> None:
        """End the connection. The keeper goes on while it has runs."""
        if self.wire is not None:
            self.wire.close()
            self.wire = None
            self.outstanding = 0

    def _send(self, message: Message) -> None:
        assert self.wire is not None
        try:
            self.wire.send(message)
        except Closed:
            self.close()
            raise
