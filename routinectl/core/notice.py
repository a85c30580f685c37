"""Notices: what people are told of, and that they are told once.

Bad news about a routine is an incident. It opens with the first failure, missed slot, breach or broken definition; each
of these is told once, then again after so many more of them or so long, and its end is told as recovery. Nothing here
decides what runs: notices are made from events that are on record.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from routinectl.core import legible, pattern, quiet_hours
from routinectl.core.event import Event
from routinectl.core.quiet_hours import QuietHours
from routinectl.core.record import BY_ITSELF
from routinectl.core.schedule import zone
from routinectl.core.schedule.zone import Zone
from routinectl.core.settings import Remind
from routinectl.core.standing import APART
from routinectl.core.units import duration_words, from_iso, to_iso
from routinectl.core.verdict import FAILURES, GOOD
from routinectl.errors import DefinitionError

OCCASIONS = ("started", "succeeded", "failed", "recovered", "held", "approval", "missed", "overdue")
URGENT = re.compile(r"(?i)\b(urgent|emergency|down|outage)\b")
_REVIEWS = ("review", "damaged", "journal_lost")
_OF_COURSE = ("edited", "disabled", "deleted", "superseded")  # missed slots that somebody's own act has answered
_BAD = {"failed": "failed", "broken": "failed", "missed": "missed", "overdue": "overdue"}  # cause -> the occasion it is told under

_MOST_TITLE, _MOST_LINE = 200, 2000  # characters: what services take of a title, and what one line of output can have
_READ_BYTES = 4096  # of a notice, in which the word that makes it urgent is looked for
Doc = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Block:
    """One `notify` block: which occasions, to which targets (none named: all), and when it keeps quiet."""

    on: frozenset[str] = frozenset({"failed", "recovered"})
    to: tuple[str, ...] = ()
    quiet: QuietHours | None = None
    zone: Zone | None = None
    urgent: Callable[[str], bool] | None = None

    def wants(self, notice: Notice) -> bool:
        """Say whether this block tells of a notice; of a recovery, only where it told of what went before."""
        if "recovered" in notice.occasions and "recovered" in self.on:
            bad = self.on & set(_BAD.values())
            return not bad or bool(bad & set(notice.causes))
        return bool(self.on & set(notice.occasions))

    def waits_until(self, notice: Notice, now: datetime) -> datetime | None:
        """Return the end of the quiet hours that a notice waits for, None when it need not wait."""
        if self.quiet is None or self.zone is None:
            return None
        if self.urgent is not None and (notice.high or self.urgent(notice.text()[:_READ_BYTES])):
            return None
        return self.quiet.until(now, self.zone)


def blocks(doc: Doc) -> list[Block]:
    """Return the blocks of a definition; one without `notify` tells of failure and recovery, to every target."""
    written = doc.get("notify", {})
    return [_block(item, doc) for item in (written if isinstance(written, list) else [written])]


def _block(item: Doc, doc: Doc) -> Block:
    quiet = item.get("quiet_hours")
    on, to = frozenset(item.get("on", ("failed", "recovered"))), tuple(item.get("to", ()))
    if quiet is None:
        return Block(on, to)
    allowed = quiet.get("allow_urgent", False)
    return Block(on, to, quiet_hours.read(quiet), zone.load(quiet.get("timezone", doc["timezone"])), _urgent(allowed))


def _urgent(allowed: bool | str) -> Callable[[str], bool] | None:
    """Return what says of a text that it is urgent. A pattern of one's own meets what runs print: RE2 alone may read it."""
    if not isinstance(allowed, str):
        return _has_urgent_word if allowed else None
    try:
        if pattern.check(allowed):
            return None  # in force since a version that took other patterns
        return lambda text: bool(pattern.Patterns([allowed]).matching(text))
    except DefinitionError:
        return None  # google-re2 is not there any more


def _has_urgent_word(text: str) -> bool:
    return URGENT.search(text) is not None


@dataclass(frozen=True, slots=True)
class Notice:
    """Something to tell: `key` is its own for ever; `lines` come below the title; `run` names a run's folder.

    `causes` are the occasions of its incident. Whatever it is made of, its title and its lines are plain text, each one line.
    """

    key: str
    routine: str
    occasions: tuple[str, ...]
    at: str
    title: str
    lines: tuple[str, ...] = ()
    run: str = ""
    incident: str = ""
    causes: tuple[str, ...] = ()
    high: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "title", legible.line(self.title, _MOST_TITLE).strip())
        object.__setattr__(self, "lines", tuple(legible.line(line, _MOST_LINE) for line in self.lines))

    @property
    def pointer(self) -> str:
        """The command that shows more of what this is about."""
        return f"routinectl {'logs' if self.run else 'history'} {self.routine} {self.run}".strip()

    def text(self) -> str:
        """Return title and lines as one text."""
        return "\n".join([self.title, *self.lines])


def notice_from(plain: Doc) -> Notice:
    """Return the notice of JSON data, as `dataclasses.asdict` and JSON made it."""
    found: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in plain.items()}
    return Notice(**found)


@dataclass(slots=True)
class Incident:
    """Bad news that has not ended: what it is made of (cause -> how often), and what was told of it when.

    `since` and `told_at` are ISO 8601 in UTC; `zone` is the one in which people read them.
    """

    id: str
    since: str
    causes: dict[str, int] = field(default_factory=dict)
    zone: str = "UTC"
    told_at: str = ""
    untold: int = 0
    told: int = 0


@dataclass(slots=True)
class Desk:
    """The open incidents, by routine. `hear` takes every event once, in order."""

    remind: Remind = field(default_factory=Remind)
    incidents: dict[str, Incident] = field(default_factory=dict)

    def hear(self, event: Event, doc: Doc) -> Iterator[Notice]:
        """Yield what an event gives to tell; `doc` is the routine's definition in force."""
        name, data, kind = event.subject, event.data, event.type
        if data.get("mode") in APART:
            return
        story = _Story(event, doc)
        if kind in ("routine.deleted", "routine.disabled"):
            self.incidents.pop(name, None)
        elif kind in ("routine.created", "routine.updated", "routine.enabled"):
            yield from self._mended(story, "broken")
        elif kind == "sla.recovered":
            yield from self._mended(story, "overdue")
        elif kind == "run.ended" and data["outcome"] in GOOD:
            yield from self._succeeded(story)
        else:
            cause = _cause(event)
            yield from self._bad(story, cause) if cause else ()
            yield from _single(story)

    def _bad(self, story: _Story, cause: str) -> Iterator[Notice]:
        incident = self.incidents.get(story.name)
        if incident is None:
            incident = self.incidents[story.name] = Incident(story.event.id, story.at, zone=str(story.doc.get("timezone", "UTC")))
        first = cause not in incident.causes
        incident.causes[cause] = incident.causes.get(cause, 0) + 1
        incident.untold += 1
        if first:
            self._told(incident, story.at)
            yield story.notice((_BAD[cause],), story.bad(cause), incident)
        elif incident.untold >= self.remind.failures:
            self._told(incident, story.at)
            yield story.notice(_occasions(incident), story.still(incident), incident)

    def _mended(self, story: _Story, cause: str) -> Iterator[Notice]:
        """One cause is gone without a run; the incident has ended if there was no other."""
        incident = self.incidents.get(story.name)
        if incident is not None and set(incident.causes) == {cause}:
            del self.incidents[story.name]
            yield story.notice(("recovered",), story.recovered(incident), incident)

    def _succeeded(self, story: _Story) -> Iterator[Notice]:
        incident = self.incidents.pop(story.name, None)
        told = ("succeeded",) if story.event.data["outcome"] == "succeeded" else ()
        if incident is not None:
            yield story.notice(("recovered", *told), story.recovered(incident), incident)
        elif told:
            yield story.notice(told, f"{story.name} succeeded")

    def due(self, now: datetime, muted: Collection[str]) -> list[Notice]:
        """Return the reminders of incidents that nothing was told of for long; those of `muted` routines wait."""
        found = []
        for name, incident in self.incidents.items():
            if name in muted or from_iso(incident.told_at) + self.remind.after > now:
                continue
            self._told(incident, to_iso(now))
            key = f"{incident.id}+{incident.told}"
            title = f"{name} has not recovered, since {_when(incident.since, incident.zone)}"
            found.append(Notice(key, name, _occasions(incident), to_iso(now), title, (_counts(incident),), "", incident.id))
        return found

    def next_at(self, muted: Collection[str]) -> datetime | None:
        """Return when the next reminder is due if nothing happens."""
        waits = [from_iso(incident.told_at) + self.remind.after for name, incident in self.incidents.items() if name not in muted]
        return min(waits, default=None)

    @staticmethod
    def _told(incident: Incident, at: str) -> None:
        incident.told_at, incident.untold, incident.told = at, 0, incident.told + 1

    def to_plain(self) -> dict[str, Any]:
        """Return the incidents as JSON data."""
        return {name: asdict(incident) for name, incident in self.incidents.items()}


def incidents_from(plain: Doc) -> dict[str, Incident]:
    """Return the incidents of JSON data."""
    return {name: Incident(**item) for name, item in plain.items()}


def _cause(event: Event) -> str:
    """Return which kind of bad news an event is; empty when it is none."""
    data = event.data
    if event.type == "run.ended" and data["outcome"] in FAILURES:
        return "failed"
    if event.type == "routine.invalid":
        return "broken"
    if event.type == "sla.breached":
        return "overdue"
    if (event.type == "slot.missed" and data["reason"] not in _OF_COURSE) or (event.type == "run.claimed" and "collapsed" in data):
        return "missed"
    return ""


def _single(story: _Story) -> Iterator[Notice]:
    """Yield the notice of an event that is told by itself."""
    name, data, kind = story.name, story.event.data, story.event.type
    if kind == "run.claimed" and data.get("attempt", 1) == 1:  # it starts within milliseconds, and a claim says for what it is
        yield story.notice(("started",), f"{name} has started")
    elif kind == "slot.held" and data["reason"] in _REVIEWS:
        yield story.notice(
            ("held",), f"{name} waits for review: {data.get('slot') or data.get('request')}", hint=f"routinectl review {name}"
        )
    elif kind == "routine.paused" and data.get("by") == BY_ITSELF:
        hint = f"routinectl resume {name}"
        yield story.notice(("held", "failed"), f"{name} is paused: {data.get('reason', '')}", hint=hint)
    elif kind == "proposal.created":
        hint = f"routinectl proposals apply {data['proposal']}"
        yield story.notice(("approval",), f"{name}: {data['by']} asks for {data['what'].replace('_', '-')}", hint=hint)
    elif kind in ("approval.requested", "routine.drafted"):
        yield story.notice(("approval",), f"{name} waits for approval", hint=f"routinectl approve {name}")


@dataclass(frozen=True, slots=True)
class _Story:
    """An event about a routine, to be told."""

    event: Event
    doc: Doc

    @property
    def name(self) -> str:
        return self.event.subject

    @property
    def at(self) -> str:
        return str(self.event.data.get("at") or self.event.time)

    def notice(self, occasions: tuple[str, ...], title: str, incident: Incident | None = None, *, hint: str = "") -> Notice:
        data = self.event.data
        lines = [str(data["message"])] if data.get("message") else []
        lines += [_counts(incident)] if incident is not None and sum(incident.causes.values()) > 1 else []
        if self.event.type == "routine.invalid":
            lines += [f"{item.get('where', '')}: {item['message']}" for item in data["problems"][:3]]
            hint = f"routinectl validate {self.name}"
        elif not hint and "failed" in occasions and data.get("run"):
            hint = f"routinectl logs {self.name} {data['run']}"
        lines += [hint] if hint else []
        causes = _occasions(incident) if incident is not None else ()
        return Notice(self.event.id, self.name, occasions, self.at, title, tuple(lines), _key(data),
                      incident.id if incident is not None else "", causes, self.doc.get("priority") == "high")  # fmt: skip

    def bad(self, cause: str) -> str:
        data = self.event.data
        if cause == "broken":
            return f"{self.name} is broken: nothing of it fires"
        if cause == "overdue":
            return f"{self.name} is overdue: {data['promise']} is not kept"
        if cause == "missed":
            count = int(data.get("collapsed", data).get("count", 1))
            late = "; it runs now, late" if self.event.type == "run.claimed" else ""
            return f"{self.name} missed {'a slot' if count == 1 else f'{count} slots'}{late}"
        return f"{self.name} {_ended(data)}"

    def still(self, incident: Incident) -> str:
        return f"{self.name} goes on failing, since {_when(incident.since, incident.zone)}"

    def recovered(self, incident: Incident) -> str:
        seconds = int((from_iso(self.at) - from_iso(incident.since)).total_seconds())
        return f"{self.name} has recovered, after {duration_words(max(seconds, 1))}"


def _key(data: Doc) -> str:
    """Return the name of the attempt that an event is about, and of its folder (see `standing.Run.key`)."""
    attempt = data.get("attempt", 1)
    return f"{data['run']}.{attempt}" if data.get("run") and attempt > 1 else str(data.get("run", ""))


def _ended(data: Doc) -> str:
    outcome = str(data["outcome"]).replace("_", " ")
    code = f" with exit {data['exit_code']}" if data.get("exit_code") else f" by {data['signal']}" if data.get("signal") else ""
    seconds = (from_iso(data["at"]) - from_iso(data["started_at"])).total_seconds() if data.get("started_at") else None
    return f"{outcome}{code}" + (f" after {seconds:.1f} s" if seconds is not None else "")


def _occasions(incident: Incident) -> tuple[str, ...]:
    return tuple(dict.fromkeys(_BAD[cause] for cause in incident.causes))


def _counts(incident: Incident) -> str:
    return f"since {_when(incident.since, incident.zone)}: " + ", ".join(f"{count} x {cause}" for cause, count in incident.causes.items())


def _when(text: str, name: str) -> str:
    """Return an instant (ISO 8601) as people of a zone write it."""
    return f"{from_iso(text).astimezone(zone.load(name).info):%a %d %b %H:%M %Z}"
