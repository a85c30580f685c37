"""Triggers that are no time: another routine's end, a message, a webhook, changed files.

What they make is a request, not a slot: it is judged once, by the same gates, when it comes. A disabled routine and a
draft do not listen at all; a paused one hears, and the refusal is on record.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

KINDS = ("webhook", "message", "file", "after")
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


Reaction = After


def read(doc: Doc) -> tuple[Reaction, ...]:
    """Return the triggers of a definition that are no time, in its order."""
    found: list[Reaction] = []
    for trigger in doc.get("triggers", ()):
        if "after" in trigger:
            after = trigger["after"]
            found.append(After(after["routine"], frozenset(after.get("outcome", ("succeeded",)))))
    return tuple(found)


def loop(routine_id: str, doc: Doc, doc_of: Callable[[str], Doc | None]) -> list[str]:
    """Return the chain by which a routine would follow itself, from its id to its id; empty when there is none.

    `doc_of` returns the definition in force of another routine, None where there is none.
    """
    trail: list[str] = [routine_id]
    seen: set[str] = set()

    def leads_back(current: Doc) -> bool:
        for reaction in read(current):
            before = reaction.routine
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
