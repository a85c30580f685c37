"""The switchboard: which routines listen on which channel, and what a batch of messages asks of them.

Matching happens in whatever process the message came to, so that a flood of messages that match nothing costs serve
nothing; only what matches is recorded (DESIGN 7).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from routinectl.core.event import Event
from routinectl.core.gates import Refusal
from routinectl.core.pattern import Patterns
from routinectl.core.reaction import Message
from routinectl.core.units import to_iso
from routinectl.engine.dispatch import request_id, requested
from routinectl.engine.engine import Engine

MOST_BYTES = 1 << 20  # of a message


@dataclass(frozen=True, slots=True)
class Letter:
    """A message that came: when, its text, the JSON that came with it, and a key that no other message has."""

    key: str
    at: datetime
    channel: str
    text: str
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Asked:
    """What a message asked for: a run of this routine, and why not, where it was refused."""

    routine: str
    request: str
    refused: Refusal | None = None

    def to_plain(self) -> dict[str, str | None]:
        """Return it as the answers in JSON have it."""
        reason = self.refused.reason if self.refused is not None else None
        return {"routine": self.routine, "run": self.request, "status": "refused" if reason else "requested", "reason": reason}


@dataclass(slots=True)
class _Channel:
    listeners: list[tuple[str, Message]]
    patterns: Patterns | None

    def matching(self, letter: Letter) -> list[tuple[str, Message, dict[str, str]]]:
        """Return the listeners that a message is for, each routine once, with the named groups of its pattern."""
        found = self.patterns.matching(letter.text) if self.patterns is not None else range(len(self.listeners))
        matched: dict[str, tuple[str, Message, dict[str, str]]] = {}
        for number in found:
            name, trigger = self.listeners[number]
            if name not in matched and trigger.accepts(letter.data):
                groups = self.patterns.groups(number, letter.text) if self.patterns is not None and trigger.pattern else {}
                matched[name] = (name, trigger, groups)
        return list(matched.values())


class Board:
    """The listeners of a workspace, by channel; made anew when a definition that listens has changed."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._channels: dict[str, _Channel] = {}
        self._made_for = -1

    def take(self, letters: Sequence[Letter], now: datetime, reaches: Callable[[str], bool] = lambda _: True) -> list[list[Asked]]:
        """Ask for the runs that messages are for, durably; returns what each asked for, nothing where nobody listens.

        `reaches` says which routines whoever gives the messages may start at all.
        """
        self._update()
        matched = [[found for found in self._matching(letter) if reaches(found[0])] for letter in letters]
        answers: list[list[Asked]] = [[] for _ in letters]
        if not any(matched):
            return answers

        def make() -> list[Event]:
            events: list[Event] = []
            heard = []
            for letter, listeners, answer in zip(letters, matched, answers, strict=True):
                for name, trigger, groups in listeners:
                    made, asked = self._ask(letter, name, trigger, groups, now)
                    events += made
                    answer.append(asked)
                if answer:
                    heard.append({"key": letter.key, "channel": letter.channel, "routines": [asked.routine for asked in answer]})
            return [*events, Event("message.received", "", {"at": to_iso(now), "messages": heard})] if events else []

        self.engine.record(make, now)
        return answers

    def hears(self, channel: str) -> bool:
        """Say whether anybody listens on a channel."""
        self._update()
        return channel.casefold() in self._channels

    def listeners(self, letter: Letter) -> list[str]:
        """Return the routines that a message is for."""
        self._update()
        return [name for name, _, _ in self._matching(letter)]

    def last_keys(self) -> frozenset[str]:
        """Return the keys of the last batch on record: after a crash, these need no second hearing."""
        last = self.engine.world.workspace.get("message.received")
        return frozenset(item["key"] for item in last.data["messages"]) if last is not None else frozenset()

    def _ask(self, letter: Letter, name: str, trigger: Message, groups: dict[str, str], now: datetime) -> tuple[list[Event], Asked]:
        payload: dict[str, Any] = {"channel": letter.channel, "text": letter.text}
        payload |= {"groups": groups} if groups else {}
        payload |= {"data": dict(letter.data)} if letter.data else {}
        request = request_id(letter.at, f"{letter.key}>{name}")
        data = {"request": request, "trigger": trigger.label, "payload": payload}
        events, refused = requested(self.engine, name, data, now)
        return events, Asked(name, request, refused)

    def _matching(self, letter: Letter) -> list[tuple[str, Message, dict[str, str]]]:
        channel = self._channels.get(letter.channel.casefold())
        return channel.matching(letter) if channel is not None else []

    def _update(self) -> None:
        world = self.engine.world
        if self._made_for == world.reactions:
            return
        listeners: dict[str, list[tuple[str, Message]]] = {}
        for name in sorted(world.reactive):
            routine = world.routine(name)
            for item in routine.reactions if routine is not None and routine.enabled else ():
                if isinstance(item, Message):
                    listeners.setdefault(item.channel.casefold(), []).append((name, item))
        self._channels = {
            channel: _Channel(found, Patterns([item.pattern for _, item in found]) if any(item.pattern for _, item in found) else None)
            for channel, found in listeners.items()
        }
        self._made_for = world.reactions
