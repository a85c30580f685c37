"""The folded journal up to a position, so that a start does not read the whole journal.

One header line (with the newest event of each kind that is about no routine), then one line per routine: `id<TAB>next wake<TAB>standing as JSON`. The next wake (seconds since 1970,
or `-`) lets a start fill its heap without reading the JSON. The last line is the CRC-32 of everything before it; a file
that does not match is as good as none.
"""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from routinectl.files import atomic
from routinectl.files.journal import Position

VERSION = 2


@dataclass(slots=True)
class Checkpoint:
    """Where it ends in the journal, and the frozen standings."""

    position: Position
    seq: int
    time: str
    workspace: list[dict[str, Any]]
    records: list[bytes]
    meter: dict[str, Any] = field(default_factory=dict)


def write(path: Path, saved: Checkpoint) -> None:
    """Write a checkpoint, durably. The journal must have been synced up to its position."""
    plain = {
        "version": VERSION,
        "position": saved.position,
        "seq": saved.seq,
        "time": saved.time,
        "workspace": saved.workspace,
        "meter": saved.meter,
    }
    body = b"\n".join([json.dumps(plain).encode(), *saved.records]) + b"\n"
    atomic.write(path, body + b"%08x\n" % zlib.crc32(body), mode=0o600)


def read(path: Path) -> Checkpoint | None:
    """Return the checkpoint of a file, or None when there is none or it is damaged or from another version."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    body, tail = data[:-9], data[-9:]
    try:
        if zlib.crc32(body) != int(tail, 16):
            return None
        header, *records = body[:-1].split(b"\n")
        plain = json.loads(header)
    except ValueError:
        return None
    if plain.get("version") != VERSION:
        return None
    return Checkpoint(
        (plain["position"][0], plain["position"][1]), plain["seq"], plain["time"], plain["workspace"], records, plain.get("meter", {})
    )
