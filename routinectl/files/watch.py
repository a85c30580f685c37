"""Hints that something changed: the wake pipe, and watchdog on the definitions.

A hint is never the truth: whoever is woken looks for himself, and a rescan finds what no hint told of.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections import deque
from collections.abc import Callable
from typing import Any

from routinectl.files.layout import DEFINITION, Layout


class WakePipe:
    """A FIFO that wakes the serve of a workspace; bytes in it mean nothing but `look`."""

    def __init__(self, layout: Layout) -> None:
        path = layout.wake
        with contextlib.suppress(FileNotFoundError):
            if not stat.S_ISFIFO(os.lstat(path).st_mode):
                os.unlink(path)
        with contextlib.suppress(FileExistsError):
            os.mkfifo(path, 0o600)
        # Opened for writing too, so that it never reports an end when the last poker has gone.
        self.fd = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)

    def fileno(self) -> int:
        """Return the descriptor to wait on."""
        return self.fd

    def drain(self) -> None:
        """Forget the pokes so far."""
        with contextlib.suppress(BlockingIOError):
            while os.read(self.fd, 65536):
                continue

    def poke(self) -> None:
        """Wake ourselves, from another thread."""
        with contextlib.suppress(BlockingIOError):
            os.write(self.fd, b".")

    def close(self) -> None:
        """Stop listening."""
        os.close(self.fd)


def poke(layout: Layout) -> bool:
    """Wake the serve of a workspace; return False when none listens."""
    try:
        fd = os.open(layout.wake, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in (errno.ENXIO, errno.ENOENT):
            return False
        raise
    try:
        with contextlib.suppress(BlockingIOError, BrokenPipeError):
            os.write(fd, b".")
    finally:
        os.close(fd)
    return True


class Watch:
    """Tells which routines' definitions were touched, and in which other folders something was.

    It is filled by watchdog's thread, and the pipe wakes the loop.

    Filtered to created, closed after write, moved and deleted: an unfiltered watch wakes for every byte that a chatty
    run writes below its routine's folder, and burns a core.
    """

    def __init__(self, layout: Layout, pipe: WakePipe) -> None:
        import logging

        from watchdog.events import (
            DirCreatedEvent,
            DirDeletedEvent,
            DirMovedEvent,
            FileClosedEvent,
            FileCreatedEvent,
            FileDeletedEvent,
            FileMovedEvent,
            FileSystemEventHandler,
        )
        from watchdog.observers import Observer

        logging.getLogger("watchdog").addHandler(logging.NullHandler())
        self.names: deque[str] = deque()
        watch = self
        base = f"{layout.routines}/"

        class Handler(FileSystemEventHandler):
            def dispatch(self, event: Any) -> None:
                for path in (os.fsdecode(event.src_path), os.fsdecode(event.dest_path or "")):
                    parts = path.removeprefix(base).split("/")
                    definition = len(parts) == 2 and parts[1] == DEFINITION
                    folder = len(parts) == 1 and event.is_directory
                    if path.startswith(base) and (definition or folder):
                        watch.names.append(parts[0])
                        pipe.poke()

        self._observer = Observer()
        kinds = [FileCreatedEvent, FileClosedEvent, FileMovedEvent, FileDeletedEvent, DirCreatedEvent, DirMovedEvent, DirDeletedEvent]
        self._observer.schedule(Handler(), base, recursive=True, event_filter=kinds)
        self._followed: set[str] = set()
        self._touched: deque[str] = deque()

        def follow(folder: str, recursive: bool) -> None:
            class Toucher(FileSystemEventHandler):
                def dispatch(self, event: Any) -> None:
                    watch._touched.append(folder)
                    pipe.poke()

            self._observer.schedule(Toucher(), folder, recursive=recursive, event_filter=kinds)

        self._follow: Callable[[str, bool], None] = follow
        self._observer.start()

    def take(self) -> set[str]:
        """Return the routines touched since the last call."""
        names: set[str] = set()
        while self.names:
            names.add(self.names.popleft())
        return names

    def follow(self, folder: str, *, recursive: bool) -> None:
        """Watch another folder (with all below it), from when it is there; then it counts as touched.

        Where the kernel has no watches left, nothing is said of it: whoever follows it looks again from time to time.
        """
        if folder not in self._followed and os.path.isdir(folder):
            with contextlib.suppress(OSError):
                self._follow(folder, recursive)
            self._followed.add(folder)
            self._touched.append(folder)

    def touched(self) -> set[str]:
        """Return the other folders in which something was touched since the last call."""
        found: set[str] = set()
        while self._touched:
            found.add(self._touched.popleft())
        return found

    def close(self) -> None:
        """Stop watching."""
        self._observer.stop()
