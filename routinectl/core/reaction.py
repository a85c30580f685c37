"""Triggers that are no time: another routine's end, a message, a webhook, changed files.

What they make is a request, not a slot: it is judged once, by the same gates, when it comes. A disabled routine and a
draft do not listen at all; a paused one hears, and the refusal is on record.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from routinectl.core.units import parse_duration

KINDS = ("webhook", "message", "file", "after")
CHANNEL = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}", re.ASCII)
MOST_LINKS = 10  # of a chain of routines that follow each other
Doc = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class After:
    """Another routine's run has ended with one of these outcomes."""

    routine: str
    outcomes: frozenset[str] = frozenset({"succeeded"})

    @property
    def words(self) -> str:
        """The trigger in words."""
        return f"after {self.routine} {' or '.join(sorted(self.outcomes))}"

    @property
    def label(self) -> str:
        """What a run's `trigger` says; its first word is the kind."""
        return f"after {self.routine}"


@dataclass(frozen=True, slots=True)
class Message:
    """A message has come in a channel, whose name is compared without case; `pattern` and `match` narrow it.

    `match` gives values that top-level keys of the message's JSON must have: text without case, numbers and booleans
    as such or written out.
    """

    channel: str
    pattern: str = ""
    match: tuple[tuple[str, str], ...] = ()

    @property
    def words(self) -> str:
        """The trigger in words."""
        narrowed = [f"that matches {self.pattern}"] if self.pattern else []
        narrowed += [f"with {' and '.join(f'{key} {value}' for key, value in self.match)}"] if self.match else []
        return " ".join([f"on a message in {self.channel}", *narrowed])

    @property
    def label(self) -> str:
        """What a run's `trigger` says; its first word is the kind."""
        return f"message {self.channel}"

    def accepts(self, data: Mapping[str, Any]) -> bool:
        """Say whether the JSON of a message has the values that are wanted."""
        return all(key in data and _plain(data[key]) == wanted for key, wanted in self.match)


@dataclass(frozen=True, slots=True)
class Webhook:
    """A signed HTTP request has come, for `path` or the routine's id. `secret` is (env or file, where); no file is the usual one."""

    path: str = ""
    signature: str = "routinectl"
    secret: tuple[str, str] = ("file", "")

    @property
    def words(self) -> str:
        """The trigger in words."""
        return f"on a webhook{f' at {self.path}' if self.path else ''}, signed as {self.signature}"

    @property
    def label(self) -> str:
        """What a run's `trigger` says; its first word is the kind."""
        return f"webhook {self.path}".rstrip()


@dataclass(frozen=True, slots=True)
class FileChange:
    """Files have changed, and then not for `settle` seconds. `kinds` are among created, changed, deleted."""

    paths: tuple[str, ...]
    kinds: frozenset[str] = frozenset({"created", "changed"})
    settle: float = 2.0

    @property
    def words(self) -> str:
        """The trigger in words."""
        return f"when {' or '.join(self.paths)} is {' or '.join(sorted(self.kinds))}"

    @property
    def label(self) -> str:
        """What a run's `trigger` says; its first word is the kind."""
        return f"file {self.paths[0]}"


Reaction = After | Message | Webhook | FileChange


def read(doc: Doc) -> tuple[Reaction, ...]:
    """Return the triggers of a definition that are no time, in its order."""
    found: list[Reaction] = []
    for trigger in doc.get("triggers", ()):
        if "after" in trigger:
            after = trigger["after"]
            found.append(After(after["routine"], frozenset(after.get("outcome", ("succeeded",)))))
        if "webhook" in trigger:
            hook = trigger["webhook"]
            secret = next(iter(hook.get("secret", {"file": ""}).items()))
            found.append(Webhook(hook.get("path", ""), hook.get("signature", "routinectl"), secret))
        if "file" in trigger:
            file = trigger["file"]
            settle = parse_duration(file.get("settle", "2s")).total_seconds()
            found.append(FileChange(tuple(file["paths"]), frozenset(file.get("on", ("created", "changed"))), settle))
        if "message" in trigger:
            message = trigger["message"]
            wanted = tuple((key, str(_plain(value))) for key, value in message.get("match", {}).items())
            found.append(Message(message["channel"], message.get("pattern", ""), wanted))
    return tuple(found)


def _plain(value: object) -> str | None:
    """Return a scalar of JSON as it is compared; None for what cannot be compared."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return str(int(value)) if float(value).is_integer() else str(value)
    return value.casefold() if isinstance(value, str) else None


def loop(routine_id: str, doc: Doc, doc_of: Callable[[str], Doc | None]) -> list[str]:
    """Return the chain by which a routine would follow itself, from its id to its id; empty when there is none.

    `doc_of` returns the definition in force of another routine, None where there is none.
    """
    trail: list[str] = [routine_id]
    seen: set[str] = set()

    def leads_back(current: Doc) -> bool:
        for before in [item.routine for item in read(current) if isinstance(item, After)]:
            if before == routine_id:
                trail.append(before)
                return True
            if before in seen:
                continue
            seen.add(before)
            other = doc_of(before)
            if other is not None:
                trail.append(before)
                if leads_back(other):
                    return True
                trail.pop()
        return False

    return trail[::-1] if leads_back(doc) else []
