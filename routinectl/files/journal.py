"""The journal: the event log of a workspace, and the truth about it.

Uniqueness comes from here. Every event that answers or changes something is appended inside one critical section:

    lock -> fold to the end -> check that the decision still stands -> one write -> unlock -> fdatasync -> act

`transaction()` is the lock; the caller folds what `read_new` returns, checks, and calls `append`; after the section it
calls `sync`, and only then acts or says that it is done. Whoever acts on an event that somebody else wrote syncs first.

Segments are `journal/000001.jsonl` and so on; a position is (segment, offset). A segment is synced before its successor
exists, and the folder after. A torn last line (a writer died in its write) is cut off before the next append and kept
in `journal/torn-*`; a damaged line inside costs only itself: it is passed over, reported in `damage`, and what it may
have said is doubted up to the next intact line.
"""

from __future__ import annotations

import binascii
import contextlib
import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from routinectl.core.event import Event, decode, encode
from routinectl.core.units import to_iso
from routinectl.errors import RoutinectlError
from routinectl.files import atomic, lock
from routinectl.files.layout import Layout

SEGMENT_BYTES = 8 * 1024 * 1024
_RESERVE_BYTES = 1024 * 1024
_LINE_BYTES = 16 * 1024  # more than most lines have
_READ_BYTES = 1024 * 1024
Position = tuple[int, int]


def read_all(layout: Layout) -> list[Event]:
    """Return every event of a workspace, from the first segment that is kept."""
    journal = Journal(layout)
    try:
        return journal.read_new()
    finally:
        journal.close()


def read_after(layout: Layout, seq: int) -> list[Event]:
    """Return the events after a number that are kept, reading no older segment than that needs."""
    journal = Journal(layout)
    try:
        for segment in reversed(journal.segments()):
            first = _first_of(journal.path(segment))
            if first is not None and first <= seq + 1:
                journal.segment, journal.seq = segment, first - 1
                break
        return [event for event in journal.read_new() if event.seq > seq]
    finally:
        journal.close()


def _first_of(path: str) -> int | None:
    """Return the number of a segment's first event, None when that cannot be read."""
    try:
        with open(path, "rb") as file:
            return decode(file.readline()).seq
    except (OSError, ValueError, KeyError):
        return None


@dataclass(frozen=True, slots=True)
class Damage:
    """A line that could not be read, or lines that are gone: at a position; `through` is the next intact line's time."""

    segment: int
    offset: int
    size: int
    missing: int
    through: str


class Unwritable(OSError):
    """The journal itself could not be read, written or made durable: nothing may start."""


@contextmanager
def _ours() -> Iterator[None]:
    """Mark what fails in here as the journal's own, so that it is told from what fails for one routine."""
    try:
        yield
    except Unwritable:
        raise
    except OSError as error:
        raise Unwritable(*error.args) from error


class Swapped(RoutinectlError):
    """The journal or its lock is no longer the file that was opened; nothing more may be decided."""


class Journal:
    """One process's view of the journal: how far it has read, and the means to append."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.segment = 0
        self.offset = 0
        self.seq = 0
        self.damage: list[Damage] = []
        self.torn: list[int] = []
        self.last_time = ""
        self._fd = -1
        self._inode = 0
        self._lock_fd = -1
        self._prefix = binascii.hexlify(os.urandom(6)).decode()
        self._count = 0
        self._reserved_until = 0
        self._synced = 0  # up to where this segment is known to be durable
        self._named = False  # whether its name is
        self._pending: tuple[int, int, int] | None = None  # a damaged stretch that waits for the next intact line

    @property
    def position(self) -> Position:
        """Where the next event will be read or written."""
        return self.segment, self.offset

    def seek(self, position: Position, seq: int, time: str) -> bool:
        """Start after a checkpoint; return False when the journal does not reach there."""
        segment, offset = position
        try:
            size = os.stat(self.path(segment)).st_size
        except FileNotFoundError:
            return False
        if size < offset or (offset and self._number_before(segment, offset) != seq):
            return False
        self._close()
        self.segment, self.offset, self.seq, self.last_time = segment, offset, seq, time
        self._synced = offset
        return True

    def _number_before(self, segment: int, offset: int) -> int:
        """Return the number of the event that ends at an offset, 0 when none does."""
        with open(self.path(segment), "rb") as file:
            size = _LINE_BYTES
            while True:
                first = max(offset - size, 0)
                lines = os.pread(file.fileno(), offset - first, first).split(b"\n")
                if first == 0 or len(lines) > 2:
                    break
                size *= 8
        try:
            return decode(lines[-2]).seq if lines[-1] == b"" and len(lines) > 1 else 0
        except (ValueError, KeyError, TypeError):
            return 0

    def segments(self) -> list[int]:
        """Return the numbers of the segments on disk, in order."""
        names = os.listdir(self.layout.journal) if self.layout.journal.is_dir() else []
        return sorted(int(name[:6]) for name in names if name[:6].isdigit() and name[6:] == ".jsonl")

    def path(self, segment: int) -> str:
        """Return the file of a segment."""
        return f"{self.layout.journal}/{segment:06d}.jsonl"

    @_ours()
    def read_new(self) -> list[Event]:
        """Return the events since the last call, from every segment; a torn last line is left for its writer."""
        events: list[Event] = []
        if self.segment == 0:
            first = self.segments()[:1]
            if not first:
                return events
            self.segment = first[0]
        while True:
            self._read_segment(events)
            if self.offset < SEGMENT_BYTES and self._fd >= 0:
                # A successor appears only once a segment is full, so there is no need to look for one.
                return events
            if not os.path.exists(self.path(self.segment + 1)):
                return events
            self._next_segment()

    @contextmanager
    def transaction(self) -> Iterator[list[Event]]:
        """Hold the journal's lock; yields the events that were appended since the last read."""
        with _ours():
            self._take_lock()
        try:
            with _ours():
                events = self.read_new()
                self._cut_torn_line()
            yield events
        finally:
            fcntl.flock(self._lock_fd, fcntl.LOCK_UN)

    @_ours()
    def append(self, events: Sequence[Event], now: datetime) -> None:
        """Append events in one write, inside a transaction. Raises Unwritable, with nothing appended, when that fails."""
        if not events:
            return
        self._ready_to_append()
        time, lines = to_iso(now), []
        for index, event in enumerate(events, 1):
            event.id = f"{self._prefix}-{self._count + index:x}"
            event.time, event.seq = time, self.seq + index
            lines.append(encode(event))
        data = b"".join(lines)
        try:
            atomic.write_all(self._fd, data)
        except BaseException:
            os.ftruncate(self._fd, self.offset)
            raise
        self.offset += len(data)
        self.seq += len(events)
        self._count += len(events)
        self._note_time(events, time)

    def _note_time(self, events: Sequence[Event], time: str) -> None:
        """Remember the latest instant on record; a clock that is accepted begins anew."""
        accepted = any(event.type == "clock.accepted" for event in events)
        self.last_time = time if accepted else max(time, self.last_time)

    @_ours()
    def reserve(self) -> None:
        """Have a mebibyte of disk ready behind the end, for the ends of runs. Raises Unwritable when there is none left.

        Whoever starts runs asks for it before every start, so that what was started can always be recorded as ended.
        """
        if self._fd < 0 or self.offset + _RESERVE_BYTES <= self._reserved_until:
            return
        atomic.reserve(self._fd, self.offset, 2 * _RESERVE_BYTES)
        self._reserved_until = self.offset + 2 * _RESERVE_BYTES

    def drop(self, before: int) -> int:
        """Remove the segments below a number; return how many. What they said must be in a durable checkpoint."""
        gone = [number for number in self.segments() if number < before]
        for number in gone:
            os.unlink(self.path(number))
        return len(gone)

    @_ours()
    def sync(self) -> None:
        """Make everything read or written so far durable. Raises Unwritable; then `reopen` before trying again.

        After a failed sync the kernel takes the pages for clean: a second sync would succeed, and write nothing. So what
        was not known to be durable is noted in `journal/doubt`, and whoever syncs next, of any process, writes it again.
        """
        if self._fd < 0 and not (self.segment and self._open(create=False)):
            return  # there is nothing yet
        if os.path.lexists(self._doubt):
            self._write_again()
        self._sync_segment()

    def _sync_segment(self) -> None:
        try:
            if not self._named:  # whoever made this segment may have died before its name was durable
                atomic.sync_folder(self.layout.journal)
                self._named = True
            os.fdatasync(self._fd)
        except OSError:
            self._leave_doubt()
            raise
        self._synced = self.offset

    @property
    def _doubt(self) -> str:
        return f"{self.layout.journal}/doubt"

    def _leave_doubt(self) -> None:
        """Note from where on a sync has failed; the earliest place stays. Needs not be durable: after a power cut nothing is doubtful."""
        with contextlib.suppress(OSError):
            fd = os.open(self._doubt, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                atomic.write_all(fd, b"%d %d" % (self.segment, self._synced))
            finally:
                os.close(fd)

    def _write_again(self) -> None:
        """Write what a failed sync left in doubt a second time, and make that durable."""
        self._take_lock()
        try:
            words = Path(self._doubt).read_bytes().split()
            segment, offset = (int(words[0]), int(words[1])) if len(words) == 2 else (0, 0)
            for number in [number for number in self.segments() if number >= segment]:
                self._write_segment_again(number, offset if number == segment else 0)
            os.unlink(self._doubt)
        except FileNotFoundError:
            return  # another process has done it
        finally:
            fcntl.flock(self._lock_fd, fcntl.LOCK_UN)

    def _write_segment_again(self, segment: int, offset: int) -> None:
        fd = os.open(self.path(segment), os.O_RDWR | os.O_CLOEXEC)
        try:
            while chunk := os.pread(fd, _READ_BYTES, offset):
                offset += os.pwrite(fd, chunk, offset)
            os.fdatasync(fd)
        finally:
            os.close(fd)

    def reopen(self) -> None:
        """Forget the descriptor after a failed sync: the kernel reports such an error only once per descriptor."""
        self._close()

    def close(self) -> None:
        """Give the descriptors back."""
        self._close()
        if self._lock_fd >= 0:
            os.close(self._lock_fd)
            self._lock_fd = -1

    def _take_lock(self) -> None:
        """Take the lock on a descriptor that stays open, so that the inode of a removed lock file cannot come back."""
        path = self.layout.lock("journal")
        if self._lock_fd < 0:
            self._lock_fd = lock.open_file(path)
        fcntl.flock(self._lock_fd, fcntl.LOCK_EX)
        try:
            same = os.stat(path).st_ino == os.fstat(self._lock_fd).st_ino
        except FileNotFoundError:
            same = False
        if not same:
            fcntl.flock(self._lock_fd, fcntl.LOCK_UN)
            raise Swapped(f"the lock file {path} was replaced while in use", "restart serve; never delete .routinectl/locks")

    def _read_segment(self, events: list[Event]) -> None:
        if self._fd < 0 and not self._open(create=False):
            return
        if self._inode_changed():
            raise Swapped(f"the journal segment {self.path(self.segment)} was replaced while in use", "restart serve")
        rest = b""
        while chunk := os.pread(self._fd, _READ_BYTES, self.offset + len(rest)):
            lines = (rest + chunk).split(b"\n")
            rest = lines.pop()
            for line in lines:
                self._read_line(line, events)
                self.offset += len(line) + 1

    def _read_line(self, line: bytes, events: list[Event]) -> None:
        try:
            event = decode(line)
        except (ValueError, KeyError, TypeError, RecursionError):
            if self._pending is None:
                self._pending = (self.segment, self.offset, len(line) + 1)
            return
        missing = event.seq - self.seq - 1
        if self._pending is not None or missing:
            segment, offset, size = self._pending or (self.segment, self.offset, 0)
            self.damage.append(Damage(segment, offset, size, missing, event.time))
            self._pending = None
        self.seq = max(event.seq, self.seq)
        self._note_time([event], event.time)
        events.append(event)

    def _inode_changed(self) -> bool:
        try:
            return os.stat(self.path(self.segment)).st_ino != self._inode
        except FileNotFoundError:
            return True

    def _cut_torn_line(self) -> None:
        """Cut what follows the last newline: its writer is gone, because we hold the lock. Keep it for people."""
        if self._fd < 0:
            return
        rest = os.pread(self._fd, _READ_BYTES, self.offset)
        if rest and b"\n" not in rest:
            aside = self.layout.journal / f"torn-{self.segment:06d}-{self.offset}"
            atomic.write(aside, rest, mode=0o600)
            os.ftruncate(self._fd, self.offset)
            self.torn.append(len(rest))
        if self._pending is not None:
            # Nothing intact follows yet: what is appended next ends the doubt.
            segment, offset, size = self._pending
            self.damage.append(Damage(segment, offset, size, 1, ""))
            self.seq += 1
            self._pending = None

    def _ready_to_append(self) -> None:
        if self.segment == 0:
            self.segment = 1
        if self._fd < 0:
            self._open(create=True)
        if self.offset >= SEGMENT_BYTES:
            self._start_segment()

    def _start_segment(self) -> None:
        """Begin the next segment, when the disk has room for it; else this one goes on. It appears with its space set aside."""
        following, making = self.path(self.segment + 1), self.layout.tmp / "segment"
        self._sync_segment()
        fd = -1
        try:
            fd = os.open(making, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            atomic.reserve(fd, 0, 2 * _RESERVE_BYTES)
            os.fsync(fd)
            os.rename(making, following)
        except OSError:
            return
        finally:
            if fd >= 0:
                os.close(fd)
        atomic.sync_folder(self.layout.journal)
        os.ftruncate(self._fd, self.offset)  # gives back what was set aside behind its end
        self._next_segment()
        self._named = True
        self._open(create=False)

    def _next_segment(self) -> None:
        self._close()
        self.segment, self.offset, self._reserved_until, self._synced = self.segment + 1, 0, 0, 0
        self._named = False

    def _open(self, *, create: bool) -> bool:
        flags = os.O_RDWR | os.O_APPEND | os.O_CLOEXEC
        path = self.path(self.segment)
        try:
            self._fd = os.open(path, flags)
        except FileNotFoundError:
            if not create:
                return False
            self._fd = os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o600)
            atomic.sync_folder(self.layout.journal)
        except PermissionError:
            if create:
                raise
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._inode = os.fstat(self._fd).st_ino
        return True

    def _close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1
