"""One line of the ledger, for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from routinectl.cli import output
from routinectl.core.units import format_duration, from_iso
from routinectl.core.verdict import words

Line = Mapping[str, Any]


def ledger_line(line: Line, zone: str) -> str:
    """Return a line of the ledger as people read it: when, what, why, and what it said."""
    when = output.instant(line.get("slot") or line.get("completed_at"), zone)
    if line.get("verdict") == "ran":
        parts = [output.word(str(line.get("outcome")))]
        if line.get("exit_code"):
            parts.append(f"exit {line['exit_code']}")
        if line.get("signal"):
            parts.append(str(line["signal"]))
        parts.append(took(line))
        if line.get("reason") not in ("on_time", None):
            parts.append(f"({line['reason']})")
        return f"{when}  {' '.join(filter(None, parts))}  {output.safe(str(line.get('message') or ''))}".rstrip()
    verdict = str(line.get("verdict"))
    count = int(line.get("count") or 0)
    many = f"{count} slots until " if count > 1 else ""
    return f"{many}{when}  {output.word(verdict)}  {because(line)}"


def because(line: Line) -> str:
    """Return why a slot or request was refused, in words, with what was found then."""
    verdict = str(line.get("verdict"))
    detail = f": {output.safe(str(line['detail']))}" if verdict == "skipped" and line.get("detail") else ""
    return words(verdict, str(line.get("reason"))) + detail


def took(line: Line) -> str:
    """Return how long a run took."""
    if not line.get("started_at") or not line.get("completed_at"):
        return ""
    seconds = (from_iso(line["completed_at"]) - from_iso(line["started_at"])).total_seconds()
    return f"in {seconds:.1f}s" if seconds < 60 else f"in {format_duration(seconds)}"
