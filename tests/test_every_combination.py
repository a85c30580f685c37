"""Every misfire policy x concurrency x kind of trigger x lateness x a run that goes on x what happened meanwhile x restart.

One slot at 09:00, looked at once, then everything that goes on ends. The expected verdict comes from `expected`, which
is written down from the rules of DESIGN 6.5 to 6.12 and not from the code; and after each story the audit, which knows
nothing of decisions, must find exactly one verdict for the slot and an end for every run.
"""

from __future__ import annotations

import itertools
from datetime import datetime, timedelta
from types import SimpleNamespace

import pytest

from routinectl.core import decision
from routinectl.core.audit import audit
from routinectl.core.event import Event
from routinectl.core.record import claim, event_of
from routinectl.core.routine import build
from routinectl.core.standing import Standing, from_plain, to_plain
from routinectl.core.units import to_iso
from routinectl.core.wish import Start
from routinectl.engine.revise import deletion, revision

MISFIRE = ("skip", "run_once", "catch_up")
CONCURRENCY = ("forbid", "queue_one", "replace", "allow")
TRIGGERS = {
    "cron": {"cron": "0 9 * * *"},
    "cron with jitter": {"cron": "0 9 * * *"},
    "every": {"every": "1d", "anchor": "2026-01-01T09:00:00Z"},
    "daily": {"daily": "09:00"},
    "weekly": {"weekly": {"days": ["mon"], "time": "09:00"}},
    "at": {"at": "2026-03-02T09:00:00Z"},
}
LATENESS = {"at its instant": 0, "within the grace": 30, "late": 600, "too old": 7200}
MEANWHILE = ("nothing", "paused", "paused and resumed", "rescheduled", "edited", "disabled", "disabled and enabled", "deleted")
CREATED, EARLIER, SLOT = (datetime.fromisoformat(f"2026-03-02T{clock}:00+00:00") for clock in ("08:00", "08:55", "09:00"))


class Story:
    """A routine's events, folded as a serve would: with `restarts`, every step begins from a checkpoint."""

    def __init__(self, doc: dict, *, restarts: bool) -> None:
        self.events: list[Event] = []
        self._standing, self.restarts = Standing("x"), restarts
        self.define(doc, CREATED)

    def standing(self, _name: str = "x") -> Standing:
        if self.restarts:
            self._standing = from_plain(to_plain(self._standing))
        return self._standing

    def routine(self, _name: str = "x"):
        return build("x", self._standing.doc, self._standing.revised_at)

    def __contains__(self, _name: str) -> bool:
        return True

    def record(self, at: datetime, *events: Event) -> None:
        for event in events:
            event.id, event.seq, event.time = f"e{len(self.events)}", len(self.events) + 1, to_iso(at)
            self._standing.fold(event)
            self.events.append(event)

    def define(self, doc: dict, at: datetime) -> None:
        """Put a definition in force, as a scan that finds it does."""
        if self.events:
            self.record(at, *revision(self, SimpleNamespace(id="x", doc=doc, fingerprint=repr(doc)), at))
        else:
            self.record(at, Event("routine.created", "x", {"at": to_iso(at), "definition": doc, "fingerprint": repr(doc)}))

    def settle(self, at: datetime) -> None:
        """Decide and record until there is nothing left to do."""
        for _ in range(10):
            wishes = decision.decide(self.routine(), self.standing(), at)
            for wish in wishes:
                made = claim(wish, self.routine(), self._standing, 0, {}, at) if isinstance(wish, Start) else event_of(wish, at)
                self.record(at, made)
            if not wishes:
                return
        raise AssertionError("it never comes to rest")

    def end_runs(self, at: datetime) -> None:
        for run in list(self._standing.runs.values()):
            outcome = "cancelled" if run.cancel else "succeeded"
            self.record(at, Event("run.ended", "x", {"at": to_iso(at), "run": run.id, "outcome": outcome}))

    def verdict(self) -> str:
        """Return what is on record of the slot, in two words; with a colon and the hold if it waited."""
        said, held = "", ""
        for event in self.events:
            data = event.data
            about = data.get("slot") == to_iso(SLOT) or ("through" in data and data["after"] < to_iso(SLOT) <= data["through"])
            if not about:
                continue
            if event.type == "slot.held":
                held = data["reason"]
            elif event.type == "run.claimed":
                said = f"ran {data['reason']}"
            elif event.type in ("slot.missed", "slot.skipped"):
                said = f"{event.type[5:]} {data['reason']}"
        return said or (f"held {held}" if held else "")


def expected(misfire: str, concurrency: str, trigger: str, late: str, running: bool, meanwhile: str) -> str:
    """Return the slot's verdict when it was looked at once, by the rules."""
    once = trigger == "at"
    gone = {"paused": "", "rescheduled": "missed edited", "disabled": "", "deleted": "missed deleted",
            "disabled and enabled": "missed disabled" if once else "",
            "paused and resumed": None if once else "skipped paused"}.get(meanwhile)  # fmt: skip
    if gone is not None:
        return gone
    on_time = late in ("at its instant", "within the grace")
    if not on_time and misfire == "skip":
        return "missed late"
    if late == "too old":
        return "held review"
    caught_up = misfire == "catch_up" and not on_time
    if running and caught_up:
        return "held catch_up"  # its turn comes when nothing runs, whatever `concurrency` says
    if running and concurrency != "allow":
        return {"forbid": "skipped overlap", "queue_one": "held queue", "replace": "held replace"}[concurrency]
    return f"ran {'on_time' if on_time else 'catch_up' if caught_up else 'late'}"


def finally_expected(verdict: str, meanwhile: str) -> str:
    """Return what becomes of it once the run before it has ended and a person has looked at what waits for one."""
    if meanwhile == "paused":
        return "skipped paused"
    waited = verdict.removeprefix("held ")
    return f"ran {waited}" if waited != verdict else verdict


def tell(story: Story, meanwhile: str, doc: dict, look: datetime) -> None:
    """Have happen what happened between the creation and the look."""
    match meanwhile:
        case "paused" | "paused and resumed":
            story.record(EARLIER, Event("routine.paused", "x", {"at": to_iso(EARLIER)}))
        case "disabled" | "disabled and enabled":
            story.define({**doc, "enabled": False}, EARLIER)
    match meanwhile:
        case "paused and resumed":
            wishes = decision.end_pause(story.routine(), story.standing(), look)
            story.record(look, *(event_of(wish, look) for wish in wishes))
        case "disabled and enabled":
            story.define(doc, look)
        case "rescheduled":
            story.define({**doc, "triggers": [{"cron": "7 23 * * *"}]}, look)
        case "edited":
            story.define({**doc, "timeout": "7m"}, look)
        case "deleted":
            story.record(look, *deletion(story, "x", look))


@pytest.mark.parametrize("trigger", TRIGGERS)
@pytest.mark.parametrize("concurrency", CONCURRENCY)
@pytest.mark.parametrize("misfire", MISFIRE)
def test_one_slot(misfire, concurrency, trigger):
    doc = {
        "name": "x", "timezone": "UTC", "triggers": [TRIGGERS[trigger]], "action": {"command": ["true"]},
        "misfire": {"policy": misfire, "window": "1h"}, "concurrency": {"policy": concurrency, "max": 2 if concurrency == "allow" else 1},
        "jitter": "20m" if "jitter" in trigger else "0s",
    }  # fmt: skip
    offset = build("x", doc, CREATED).offset
    assert bool(offset) == ("jitter" in trigger)
    for late, running, meanwhile, restarts in itertools.product(LATENESS, (False, True), MEANWHILE, (False, True)):
        row = f"{late}, {'a run goes on, ' * running}{meanwhile}{', restarted' * restarts}"
        look = SLOT + offset + timedelta(seconds=LATENESS[late])
        story = Story(doc, restarts=restarts)
        if running:
            story.record(EARLIER, Event("run.requested", "x", {"at": to_iso(EARLIER), "request": "r0"}))
            story.settle(EARLIER)
        tell(story, meanwhile, doc, look)
        if meanwhile != "deleted":
            story.settle(look)
        verdict = expected(misfire, concurrency, trigger, late, running, meanwhile)
        if trigger == "at" and meanwhile == "paused and resumed":
            verdict = expected(misfire, concurrency, trigger, late, running, "nothing")
        assert story.verdict() == verdict, row

        _finish(story, verdict, meanwhile, look)
        if not (trigger == "at" and meanwhile == "paused"):
            assert story.verdict() == finally_expected(verdict, meanwhile), row
        report = audit(story.events, look + timedelta(minutes=10))
        assert (report.findings, report.open) == ((), ()), row


def _finish(story: Story, verdict: str, meanwhile: str, look: datetime) -> None:
    """End what goes on, resume what is paused, release what waits for a person, and end that too."""
    later = look + timedelta(minutes=1)
    if meanwhile == "paused":
        wishes = decision.end_pause(story.routine(), story.standing(), later)
        story.record(later, *(event_of(wish, later) for wish in wishes))
    for slot in [slot for slot, hold in story.standing().holds.items() if hold.reason == "review"] if verdict else ():
        story.record(later, Event("slot.released", "x", {"at": to_iso(later), "slot": to_iso(slot)}))
    for minute in range(3):
        at = later + timedelta(minutes=minute)
        story.end_runs(at)
        if meanwhile != "deleted":
            story.settle(at)
    story.end_runs(later + timedelta(minutes=4))
    for slot in [slot for slot, hold in story.standing().holds.items() if hold.reason == "review"]:
        story.record(later, Event("review.dismissed", "x", {"at": to_iso(later), "slot": to_iso(slot)}))
        story.record(later, Event("slot.missed", "x", {"at": to_iso(later), "slot": to_iso(slot), "reason": "dismissed"}))
