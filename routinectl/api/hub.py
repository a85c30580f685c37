"""The one session of the HTTP process, and the stream of events to whoever listens.

Operations take their turn under a lock: they are short, and each sees the journal folded to its end. A pump looks for
new events a few times a second while somebody listens; each event is encoded once, however many listen. A listener that
does not keep up is let go, and resumes where it was (`Last-Event-ID`).
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from routinectl import clock
from routinectl.api.access import ASK_SECONDS, Caller, Right
from routinectl.core.event import AS_JSON, Event
from routinectl.errors import RoutinectlError
from routinectl.files import journal
from routinectl.files.layout import Layout
from routinectl.operations.overview import Overview
from routinectl.operations.session import Session, sees_all

_PUMP_SECONDS = 0.05
_PING_SECONDS = 15.0
_MOST_BEHIND = 20_000  # events that may wait for a listener
Wanted = Callable[[Event], bool]


@dataclass(eq=False)
class Listener:
    """Somebody who hears events: which ones, and those that wait for him. `lost` when he was too slow."""

    wants: Wanted
    waiting: list[bytes] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)
    lost: bool = False


class Hub:
    """What the endpoints share."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self._lock = threading.Lock()
        self._session: Session | None = None
        self._overview: Overview | None = None
        self._listeners: set[Listener] = set()
        self._loop: asyncio.AbstractEventLoop | None = None

    @contextmanager
    def turn(self) -> Iterator[Session]:
        """Give one operation the session, as of now. After a failure the session is opened anew."""
        with self._lock:
            if self._session is None:
                self._session = Session(self.layout)
                self._overview = Overview(self._session)
                self._session.engine.listeners += [self._overview.heard, self._publish]
            try:
                self._session.refresh()
                yield self._session
                self._session.world.cool()
            except OSError:
                self._session.close()
                self._session = None
                raise
            finally:
                if self._session is not None:
                    self._session.agent, self._session.sees = "", sees_all

    @property
    def overview(self) -> Overview:
        """The rows of all routines. Only while one has the turn."""
        assert self._overview is not None
        return self._overview

    def warm(self) -> None:
        """Compute the rows before somebody asks for them; who cannot be served then is told why."""
        with suppress(OSError, RoutinectlError), self.turn():
            self.overview.rows()

    def sees(self, caller: Caller, name: str) -> bool:
        """Say whether a caller is told of a routine's events. Only while one has the turn."""
        session = self._session
        if not name or caller.sees_all:
            return caller.sees_all
        return session is not None and name in session.world and caller.sees(session, session.standing(name))

    def close(self) -> None:
        """End the session."""
        with self._lock:
            if self._session is not None:
                self._session.close()
                self._session = None

    # -- events

    def _publish(self, events: Sequence[Event]) -> None:
        """Hand events to who listens; called under the lock, in any thread: what a listener may see is asked here."""
        listeners = tuple(self._listeners)
        if self._loop is None or not listeners:
            return
        encoded = [(event, encode(event)) for event in events]
        parts = [(listener, [data for event, data in encoded if listener.wants(event)]) for listener in listeners]
        self._loop.call_soon_threadsafe(self._deliver, [part for part in parts if part[1]])

    def _deliver(self, parts: list[tuple[Listener, list[bytes]]]) -> None:
        for listener, news in parts:
            if len(listener.waiting) + len(news) > _MOST_BEHIND:
                listener.lost = True
            elif not listener.lost:
                listener.waiting += news
            listener.news.set()

    async def pump(self) -> None:
        """Look for events that other processes append, for as long as this server lives."""
        self._loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(_PUMP_SECONDS)
            if self._listeners:
                await asyncio.to_thread(self._look)

    def _look(self) -> None:
        try:
            with self.turn():
                return
        except OSError:
            return  # the disk is in trouble; whoever writes says so

    async def stream(self, wants: Wanted, after: int | None, right: Right) -> AsyncIterator[bytes]:
        """Yield events as server-sent ones: those after a position in the journal (if one is given), then as they come.

        It ends with the right to hear them, also in the middle of what is past.
        """
        listener = Listener(wants)
        begin = await asyncio.to_thread(self._join, listener)
        try:
            yield b": connected\n\n"
            if after is not None and after < begin:
                for chunk in await asyncio.to_thread(self._missed, wants, after, begin):
                    if not await right.lasts():
                        return
                    yield chunk
            said = clock.awake()
            while not listener.lost:
                with suppress(TimeoutError):
                    await asyncio.wait_for(listener.news.wait(), ASK_SECONDS)
                if not await right.lasts():
                    return
                listener.news.clear()
                waiting, listener.waiting = listener.waiting, []
                if waiting or clock.awake() > said + _PING_SECONDS:
                    said = clock.awake()
                    yield b"".join(waiting) or b": ping\n\n"
        finally:
            self._listeners.discard(listener)

    def _join(self, listener: Listener) -> int:
        """Begin to listen; return the position up to which events are past."""
        with self.turn() as session:
            self._listeners.add(listener)
            return session.world.journal.seq

    def _missed(self, wants: Wanted, after: int, through: int) -> list[bytes]:
        past = [event for event in journal.read_after(self.layout, after) if event.seq <= through]
        with self.turn():
            return [encode(event) for event in past if wants(event)]


def encode(event: Event) -> bytes:
    """Return an event as a server-sent one; its id is its position in the journal."""
    data = json.dumps(event.as_dict(), ensure_ascii=False, separators=(",", ":"))
    return f"id: {event.seq}\nevent: {event.type}\ndata: {data}\n\n".encode("utf-8", AS_JSON)
