"""state.json and history.jsonl of each routine: written for people and tools, read back only to go on writing.

The file `.routinectl/projected` says up to where in the journal all histories have been written. Where a crash came
between a history and that file, the ids in the last lines of the history say what is there already.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

from routinectl.core.event import AS_JSON
from routinectl.core.units import from_iso
from routinectl.files import atomic, regular
from routinectl.files.journal import Position
from routinectl.files.layout import Layout

_TAIL_BYTES = 256 * 1024
_MOST_BYTES = 1 << 30  # that are read of one of these files
_LINE_BYTES = 1024  # more than most lines have
Line = dict[str, Any]


def state_path(layout: Layout, routine_id: str) -> Path:
    """Return where a routine's state lies."""
    return layout.folder(routine_id) / "state.json"


def history_path(layout: Layout, routine_id: str) -> Path:
    """Return where a routine's ledger lies."""
    return layout.folder(routine_id) / "history.jsonl"


def write_state(layout: Layout, routine_id: str, state: Line) -> None:
    """Replace a routine's state.json; it can always be made again, so nothing waits for the disk."""
    if layout.leads_out(routine_id):
        return
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        data = json.dumps(state, ensure_ascii=False, indent=1).encode("utf-8", AS_JSON) + b"\n"
        atomic.write(state_path(layout, routine_id), data, durable=False)


def told_until(layout: Layout, routine_id: str) -> datetime | None:
    """Return the time of the last event that a routine's state.json knows of, or None."""
    try:
        return from_iso(json.loads(regular.read(state_path(layout, routine_id), _MOST_BYTES))["position"]["time"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def append_history(layout: Layout, routine_id: str, lines: Iterable[Line], *, known: set[str] | None = None) -> None:
    """Append lines to a routine's ledger, those apart whose events are known to be there."""
    data = b"".join(encode(line) for line in lines if known is None or line["event"] not in known)
    if not data or layout.leads_out(routine_id):
        return
    try:
        fd = regular.opened(history_path(layout, routine_id), os.O_RDWR | os.O_APPEND | os.O_CREAT)
    except (FileNotFoundError, NotADirectoryError):
        return  # the routine's folder is gone; its verdicts stay in the journal
    try:
        size = os.fstat(fd).st_size
        if size and os.pread(fd, 1, size - 1) != b"\n":
            data = b"\n" + data
        atomic.write_all(fd, data)
    finally:
        os.close(fd)


def encode(line: Line) -> bytes:
    """Return a ledger line as bytes; what is not known is left out."""
    plain = {key: value for key, value in line.items() if value is not None}
    return json.dumps(plain, separators=(",", ":"), ensure_ascii=False).encode("utf-8", AS_JSON) + b"\n"


def read_history(layout: Layout, routine_id: str, *, last: int = 0) -> list[Line]:
    """Return the good lines of a routine's ledger (at least the `last` so many); foreign and damaged ones are passed over."""
    try:
        with open(regular.opened(history_path(layout, routine_id)), "rb") as file:
            size = os.fstat(file.fileno()).st_size
            first = max(size - last * _LINE_BYTES, 0) if last else 0
            while True:
                file.seek(first)
                data = file.read(_MOST_BYTES)
                found = list(_lines(data[data.find(b"\n") + 1 :] if first else data))
                if first == 0 or len(found) >= last:
                    return found
                first = max(size - 4 * (size - first), 0)
    except OSError:
        return []


def known_events(layout: Layout, routine_id: str) -> set[str]:
    """Return the ids of the events in the last part of a routine's ledger."""
    try:
        data = regular.part(history_path(layout, routine_id), -_TAIL_BYTES, _TAIL_BYTES)
        return {line["event"] for line in _lines(data) if "event" in line}
    except OSError:
        return set()


def _lines(data: bytes) -> Iterable[Line]:
    for raw in data.splitlines():
        try:
            line = json.loads(raw)
        except ValueError:
            continue
        if isinstance(line, dict) and "verdict" in line:
            yield line


def read_position(layout: Layout) -> tuple[Position, int]:
    """Return up to where the histories were written, and the number of the last event; the beginning when not known."""
    try:
        plain = json.loads((layout.private / "projected").read_bytes())
        return (plain["position"][0], plain["position"][1]), plain["seq"]
    except (OSError, ValueError, KeyError, TypeError):
        return (0, 0), 0


def write_position(layout: Layout, position: Position, seq: int) -> None:
    """Remember up to where the histories are written."""
    data = json.dumps({"position": position, "seq": seq}).encode()
    atomic.write(layout.private / "projected", data, mode=0o600, durable=False)
