"""Notices on their way: which wait for which target, and until when.

What is due for one target at the same time goes as one letter, so a hundred failures at once are one message, and so is
what quiet hours have kept. A target that fails is tried again, less and less often, for a day; nothing else waits for it.
A letter may arrive twice when the machine dies between its arrival and the record of it, never silently not at all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from routinectl.core import legible
from routinectl.core.event import Event
from routinectl.core.notice import Block, Notice, notice_from
from routinectl.core.schedule.zone import Zone
from routinectl.core.units import from_iso, to_iso

_FIRST_DELAY, _MOST_DELAY = timedelta(seconds=30), timedelta(hours=1)
_GIVE_UP = timedelta(days=1)  # after a notice was due
_MOST_WAITING = 1000  # notices for one target; over that, the oldest are given up
MOST = 2000  # characters of a message with its title: what Discord takes, the narrowest of those that take more than an SMS
_MOST_BODY = MOST - 400  # beside a title, and a line that says which workspace it comes from


@dataclass(frozen=True, slots=True)
class Waiting:
    """A notice that waits for a target, until `due` (ISO 8601, UTC)."""

    notice: Notice
    target: str
    due: str


@dataclass(frozen=True, slots=True)
class Letter:
    """What one target is sent at once: one notice, or a digest of several."""

    target: str
    notices: tuple[Notice, ...]

    @property
    def title(self) -> str:
        """The title: that of the notice, or how many there are of what."""
        if len(self.notices) == 1:
            return self.notices[0].title
        counts = Counter(notice.occasions[0] for notice in self.notices)
        return f"{len(self.notices)} notices: {', '.join(f'{count} {occasion}' for occasion, count in counts.items())}"

    @property
    def body(self) -> str:
        """The text below the title; where it is cut, it says where the rest is."""
        if len(self.notices) == 1:
            (notice,) = self.notices
            whole = notice.lines if notice.lines[-1:] and notice.lines[-1].startswith("routinectl ") else (*notice.lines, notice.pointer)
            return "\n".join(notice.lines if sum(map(len, whole)) + len(whole) <= _MOST_BODY else legible.fitted(whole, _MOST_BODY))
        lines, left = [f"{notice.at[:19]}Z  {notice.title}" for notice in self.notices], 0
        size = sum(map(len, lines)) + len(lines)
        while size > _MOST_BODY - 80:  # for the line that says how many
            size -= len(lines[left]) + 1
            left += 1
        return "\n".join(
            [*([f"{left} earlier ones are not shown: routinectl history ID, routinectl logs ID"] if left else []), *lines[left:]]
        )

    @property
    def high(self) -> bool:
        """Whether one of them is of high priority."""
        return any(notice.high for notice in self.notices)


@dataclass(frozen=True, slots=True)
class Most:
    """How many notices of a routine go out on a day of its zone."""

    count: int
    zone: Zone


@dataclass(slots=True)
class Trouble:
    """A target that fails: since when, how often, when it is tried again, and what it said last."""

    since: str
    failures: int = 0
    again_at: str = ""
    why: str = ""


@dataclass(slots=True)
class Outbox:
    """The notices of a workspace that are not delivered yet."""

    waiting: list[Waiting] = field(default_factory=list)
    troubles: dict[str, Trouble] = field(default_factory=dict)
    posted: dict[str, list[Any]] = field(default_factory=dict)  # routine -> the last day of its zone with a notice, and how many

    def post(
        self, notice: Notice, blocks: Sequence[Block], targets: Collection[str], now: datetime, most: Most | None = None
    ) -> list[Event]:
        """Put a notice out for whoever wants it; return the failures that are known already: targets that there are not.

        Over the `most` that its routine may tell in a day, it waits for the next one.
        """
        due: dict[str, datetime] = {}
        for block in blocks:
            if block.wants(notice):
                until = block.waits_until(notice, now) or now
                for target in block.to or targets:
                    due[target] = min(due.get(target, until), until)
        if most is not None and due:
            rest = self._counted(notice.routine, most, now)
            due = {target: max(until, rest) for target, until in due.items()}
        self.waiting += [Waiting(notice, target, to_iso(at)) for target, at in due.items() if target in targets]
        missing = [target for target in due if target not in targets]
        lost = [self._record("notice.failed", Letter(target, (notice,)), now, error="there is no such target") for target in missing]
        return lost + self._overflow(now)

    def posted_on(self, routine: str, day: str) -> int:
        """Return how many notices of a routine were put out on a day of its zone (known only where its budget counts them)."""
        found = self.posted.get(routine)
        return found[1] if found and found[0] == day else 0

    def _counted(self, routine: str, most: Most, now: datetime) -> datetime:
        """Count a notice; return from when on it may be told: now, or from the next day of its zone on."""
        local = now.astimezone(most.zone.info)
        day = local.date().isoformat()
        count = self.posted_on(routine, day)
        if count < most.count:
            self.posted[routine] = [day, count + 1]
            return now
        return (local + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0).astimezone(UTC)

    def _overflow(self, now: datetime) -> list[Event]:
        counts = Counter(item.target for item in self.waiting)
        events = []
        for target in (target for target, count in counts.items() if count > _MOST_WAITING):
            given_up = [item for item in self.waiting if item.target == target][: counts[target] - _MOST_WAITING]
            self._remove(target, {item.notice.key for item in given_up})
            letter = Letter(target, tuple(item.notice for item in given_up))
            events.append(self._record("notice.failed", letter, now, error="too many wait for this target"))
        return events

    def ready(self, now: datetime) -> list[Letter]:
        """Return a letter for each target that something is due for, unless it has just failed."""
        found: dict[str, list[Notice]] = {}
        for item in self.waiting:
            trouble = self.troubles.get(item.target)
            if from_iso(item.due) <= now and (trouble is None or from_iso(trouble.again_at) <= now):
                found.setdefault(item.target, []).append(item.notice)
        return [Letter(target, tuple(notices)) for target, notices in found.items()]

    def sent(self, letter: Letter, now: datetime) -> Event:
        """Take in that a letter has arrived; return the event to record."""
        self.troubles.pop(letter.target, None)
        self._remove(letter.target, {notice.key for notice in letter.notices})
        return self._record("notice.sent", letter, now)

    def failed(self, letter: Letter, why: str, now: datetime) -> list[Event]:
        """Take in that a letter has not arrived; return what is to be recorded. Notices of a day ago are given up."""
        trouble = self.troubles.setdefault(letter.target, Trouble(to_iso(now)))
        delay = min(_FIRST_DELAY * 2 ** min(trouble.failures, 20), _MOST_DELAY)
        trouble.failures, trouble.why, trouble.again_at = trouble.failures + 1, why, to_iso(now + delay)
        old = {item.notice.key for item in self.waiting if item.target == letter.target and from_iso(item.due) + _GIVE_UP <= now}
        self._remove(letter.target, old)
        events = []
        for given_up, facts in ((True, {}), (False, {"retry_at": trouble.again_at})):
            part = Letter(letter.target, tuple(notice for notice in letter.notices if (notice.key in old) is given_up))
            if part.notices:
                events.append(self._record("notice.failed", part, now, error=why, attempt=trouble.failures, **facts))
        return events

    def heard(self, event: Event) -> None:
        """Take in what an earlier process recorded before it could write down that it had."""
        if event.type == "notice.sent" or "retry_at" not in event.data:
            self._remove(event.data["target"], {item["key"] for item in event.data["notices"]})

    def forget(self, targets: Collection[str]) -> None:
        """Drop what waits for targets that are not in the settings any more."""
        self.waiting = [item for item in self.waiting if item.target in targets]
        self.troubles = {target: trouble for target, trouble in self.troubles.items() if target in targets}

    def next_at(self) -> datetime | None:
        """Return when something is due next."""
        due = []
        for item in self.waiting:
            trouble = self.troubles.get(item.target)
            due.append(max(item.due, trouble.again_at) if trouble is not None else item.due)
        return min(map(from_iso, due), default=None)

    def _remove(self, target: str, keys: Collection[str]) -> None:
        self.waiting = [item for item in self.waiting if item.target != target or item.notice.key not in keys]

    @staticmethod
    def _record(kind: str, letter: Letter, now: datetime, **facts: Any) -> Event:
        """Return the event of a letter; it is about a routine where all its notices are about one."""
        names = {notice.routine for notice in letter.notices}
        notices = [{"key": notice.key, "routine": notice.routine, "occasion": notice.occasions[0], "incident": notice.incident}
                   for notice in letter.notices]  # fmt: skip
        data = {"at": to_iso(now), "target": letter.target, "notices": notices, **facts}
        return Event(kind, names.pop() if len(names) == 1 else "", data)

    def to_plain(self) -> dict[str, Any]:
        """Return it as JSON data."""
        return {"waiting": [asdict(item) for item in self.waiting],
                "troubles": {target: asdict(trouble) for target, trouble in self.troubles.items()}, "posted": self.posted}  # fmt: skip


def outbox_from(plain: Mapping[str, Any]) -> Outbox:
    """Return the outbox of JSON data."""
    waiting = [Waiting(notice_from(item["notice"]), item["target"], item["due"]) for item in plain.get("waiting", ())]
    return Outbox(waiting, {target: Trouble(**item) for target, item in plain.get("troubles", {}).items()}, plain.get("posted", {}))
