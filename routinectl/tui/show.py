"""How things look in a terminal: times, outcomes, sparklines. Words first; colour only says again what words say."""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

from rich.cells import cell_len, set_cell_size
from rich.text import Text

Row = dict[str, Any]
GOOD, BAD, WARN, CALM, ACCENT = "good", "bad", "warn", "calm", "accent"
_TONES = {
    "succeeded": GOOD, "active": GOOD, "quiet": CALM, "completed": CALM, "disabled": CALM,
    "failed": BAD, "timed_out": BAD, "over_budget": BAD, "interrupted": BAD, "invalid": BAD, "denied": BAD, "not_started": BAD, "missed": BAD,
    "paused": WARN, "pending_approval": WARN, "draft": WARN, "cancelled": WARN, "held": WARN, "skipped": WARN,
    "running": ACCENT, "planned": ACCENT,
}  # fmt: skip
SIGNS = {"active": "●", "paused": "‖", "disabled": "○", "invalid": "✗", "draft": "✎", "pending_approval": "?", "completed": "✓"}
_BARS = {"s": ("▂", GOOD), "q": ("▁", CALM), "c": ("▅", WARN)}
_BAR = ("█", BAD)


def tone(word: str | None) -> str:
    """Return which colour a status or an outcome has."""
    return _TONES.get(word or "", CALM)


def words(text: str | None) -> str:
    """Return a name of the ledger as people read it."""
    return (text or "").replace("_", " ")


def status(row: Row) -> tuple[str, str]:
    """Return the sign and word of a row's status."""
    short = {"pending_approval": "approval", "invalid": "broken"}.get(row["status"], str(row["status"]))
    if row["running"]:
        return "▶", "running"
    return SIGNS.get(row["status"], "·"), short


def span(seconds: float) -> str:
    """Return a length of time, short: `4s`, `12m`, `3h05`, `2d4h`."""
    whole = max(int(seconds), 0)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02}s" if whole < 600 else f"{whole // 60}m"
    if whole < 86400:
        return f"{whole // 3600}h{whole % 3600 // 60:02}"
    return f"{whole // 86400}d{whole % 86400 // 3600}h"


def until(iso: str | None, now: datetime) -> str:
    """Return how long it is until an instant."""
    if not iso:
        return ""
    seconds = (instant(iso) - now).total_seconds()
    return "due" if seconds <= 0 else span(seconds)


def ago(iso: str | None, now: datetime) -> str:
    """Return how long ago an instant was."""
    return f"{span((now - instant(iso)).total_seconds())} ago" if iso else ""


def instant(iso: str) -> datetime:
    """Return an instant of an answer."""
    return datetime.fromisoformat(iso)


def zone_of(name: str) -> tzinfo:
    """Return a zone, UTC where this machine does not know it (the server may)."""
    try:
        return ZoneInfo(name) if name else UTC
    except (OSError, ValueError):
        return UTC


def local(iso: str | None, zone: str) -> str:
    """Return an instant on the wall clock of a zone: `Mon 2026-11-23 09:00`."""
    return f"{instant(iso).astimezone(zone_of(zone)):%a %Y-%m-%d %H:%M}" if iso else ""


def spark(recent: str, most: int = 30) -> list[tuple[str, str]]:
    """Return the last runs as bars with their colours: low and calm when they were good, tall when they were not."""
    return [_BARS.get(letter, _BAR) for letter in recent[-most:]]


def badges(row: Row) -> list[tuple[str, str]]:
    """Return the short signs beside a row, each with its colour."""
    names = {"external": "↗outside", "approval": "approval?", "OVERDUE": "overdue"}
    found = [(names.get(badge, badge), WARN) for badge in row["badges"]]
    if row["proposals"]:
        found.append((f"{row['proposals']} proposed", WARN))
    if row["reviews"]:
        found.append((f"{row['reviews']} to review", WARN))
    if row["agent"]:
        found.append((f"@{row['agent']}", CALM))
    elif row["action"] in ("prompt", "agent"):
        found.append((row["action"], CALM))
    return found


def fit(text: str, width: int) -> str:
    """Return a text in exactly so many cells, cut with an ellipsis; control characters cannot reach the terminal."""
    plain = line(text)
    if cell_len(plain) > width:
        return set_cell_size(plain, width - 1) + "…" if width > 0 else ""
    return set_cell_size(plain, width)


def line(text: str) -> str:
    """Return a text as one line without control characters."""
    return text if text.isprintable() else "".join(char if char.isprintable() else " " for char in text)


def clean(text: str) -> str:
    """Return a text of several lines without control characters."""
    return "".join(char if char.isprintable() or char in "\n\t" else "�" for char in text.replace("\r\n", "\n"))


def definition(text: str, problems: list[Row], theme: dict[str, str]) -> Text:
    """Return a definition with keys and comments coloured and numbered lines; the lines of its faults are marked."""
    faulty = {item["line"]: item["message"] for item in problems if item.get("line")}
    found = Text()
    for number, line in enumerate(clean(text).splitlines(), 1):
        found.append(f"{number:>4} ", theme[BAD] if number in faulty else theme[CALM])
        head, sep, rest = line.partition(":")
        if line.lstrip().startswith("#"):
            found.append(line, theme[CALM])
        elif sep and head.strip(" -").replace("_", "").isalnum():
            found.append(head, theme[ACCENT]).append(sep + rest)
        else:
            found.append(line)
        if number in faulty:
            found.append(f"\n     ▲ {faulty[number]}", theme[BAD])
        found.append("\n")
    return found


def diff(text: str, theme: dict[str, str]) -> Text:
    """Return a patch with its colours."""
    found = Text()
    for line in clean(text).splitlines():
        style = {"+": theme[GOOD], "-": theme[BAD], "@": theme[ACCENT]}.get(line[:1], "")
        found.append(line, "bold" if line.startswith(("+++", "---", "diff ")) else style).append("\n")
    return found
