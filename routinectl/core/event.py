"""Events: facts in the past tense, one JSON line each.

A line is a CloudEvents 1.0 envelope (`specversion id source type subject time data`) with two members of ours: `seq`
counts the events of a workspace without a gap, so that a removed line is noticed, and `crc`, always the last member, is
the CRC-32 of every byte before it, so that a damaged line is noticed. `time` is when the event was appended; the fact's
own instant is in `data`.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

SOURCE = "routinectl"
KINDS = frozenset({
    "routine.created", "routine.updated", "routine.deleted", "routine.enabled", "routine.disabled", "routine.paused",
    "routine.resumed", "routine.invalid", "routine.drafted", "routine.activated", "routine.vouched", "slot.skipped", "slot.missed", "slot.held", "slot.released",
    "approval.requested", "approval.granted", "approval.denied", "approval.expired", "sla.breached", "sla.recovered",
    "run.requested", "run.claimed", "run.started", "run.adopted", "run.retrying", "run.cancel_requested", "run.ended",
    "budget.reserved", "budget.settled", "proposal.created", "proposal.applied", "proposal.rejected", "proposal.done", "maintenance.done", "message.received", "notice.sent", "notice.failed",
    "serve.started", "serve.stopped", "serve.recovered", "clock.jumped", "clock.accepted", "journal.damaged",
})  # fmt: skip
_CRC = b',"crc":"'
AS_JSON = "backslashreplace"  # what is no text (a file's name in Latin-1) becomes an escape that JSON knows, and comes back as it was
_dumps = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


@dataclass(slots=True)
class Event:
    """One fact about `subject` (a routine's id, or empty for the workspace). id, time and seq are given on appending."""

    type: str
    subject: str
    data: Mapping[str, Any]
    id: str = ""
    time: str = ""
    seq: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Return the envelope as plain data, without the checksum."""
        return {"specversion": "1.0", "id": self.id, "source": SOURCE, "type": self.type, "subject": self.subject,
                "time": self.time, "seq": self.seq, "data": self.data}  # fmt: skip


def encode(event: Event) -> bytes:
    """Return the event as one line, newline included."""
    body = _dumps(event.as_dict())[:-1].encode("utf-8", AS_JSON)
    return b'%b,"crc":"%08x"}\n' % (body, zlib.crc32(body))


def decode(line: bytes) -> Event:
    """Return the event of a line (with or without its newline). Raises ValueError when the line is damaged."""
    body, found, tail = line.rpartition(_CRC)
    if not found or zlib.crc32(body) != int(tail[:8], 16):
        raise ValueError("the checksum of the line does not match")
    return from_dict(json.loads(body + b"}"))


def from_dict(plain: Mapping[str, Any]) -> Event:
    """Return the event of an envelope as plain data. Raises KeyError when a member is missing."""
    return Event(plain["type"], plain["subject"], plain["data"], plain["id"], plain["time"], plain["seq"])
