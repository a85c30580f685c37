"""The policy, as tables of named rows: where a routine stands, what time it is, what is decided."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from routinectl.core import decision
from routinectl.core.admit import admit
from routinectl.core.decision import decide, next_wake
from routinectl.core.event import Event
from routinectl.core.gates import Facts, payload_key
from routinectl.core.projection import next_fire
from routinectl.core.record import claim as claim_of
from routinectl.core.record import event_of
from routinectl.core.routine import build
from routinectl.core.standing import Standing, from_plain, to_plain
from routinectl.core.units import to_iso
from routinectl.core.upcoming import fires
from routinectl.core.wish import Abandon, Ask, Breach, Expire, Hold, Pause, Recover, Resume, Skip, Start, Stop

HOURLY = {"name": "x", "timezone": "UTC", "triggers": [{"cron": "0 * * * *"}], "action": {"command": ["true"]}}
DAY = "2026-03-02T"


def at(clock: str) -> datetime:
    return datetime.fromisoformat(f"{DAY}{clock}+00:00")


def stand(doc: dict, created: str, *events: tuple[str, str, dict]) -> Standing:
    """Return the standing of a routine that was created at a time of day, after some more events."""
    standing = Standing("x")
    standing.fold(
        Event("routine.created", "x", {"at": to_iso(at(created)), "definition": doc, "fingerprint": "f"}, id="1", time=to_iso(at(created)))
    )
    for clock, kind, data in events:
        standing.fold(Event(kind, "x", {"at": to_iso(at(clock)), **data}, id="2", time=to_iso(at(clock))))
    return standing


def claim(slot: str, run: str = "r1") -> dict:
    return {
        "run": run,
        "slot": to_iso(at(slot)),
        "due": to_iso(at(slot)),
        "reason": "on_time",
        "lease": 0,
        "timeout": 60.0,
        "kill_grace": 1.0,
    }


def said(wishes) -> list[str]:
    """Return wishes as short sentences."""
    found = []
    for wish in wishes:
        if isinstance(wish, Start):
            many = f" for {wish.collapsed.count + 1}" if wish.collapsed else ""
            many += f" with {', '.join(payload['of'] for payload in wish.payloads)}" if wish.payloads else ""
            what = wish.retry.key if wish.retry else f"{wish.slot:%H:%M}" if wish.slot else wish.request.id
            found.append(f"start {what} {wish.reason}{many}")
        elif isinstance(wish, Skip):
            verdict = "missed" if wish.missed else "skipped"
            if wish.interval:
                found.append(f"{verdict} {wish.interval.count} until {wish.interval.through:%H:%M} {wish.reason}")
            else:
                found.append(f"{verdict} {f'{wish.slot:%H:%M}' if wish.slot else wish.request} {wish.reason}")
        elif isinstance(wish, Hold):
            until = f" until {wish.until:%H:%M}" if wish.until else ""
            found.append(f"hold {f'{wish.slot:%H:%M}' if wish.slot else wish.request} {wish.reason}{until}")
        else:
            found.append(said_of(wish))
    return found


def said_of(wish) -> str:
    match wish:
        case Resume():
            return f"resume {wish.at:%H:%M}"
        case Pause():
            return f"pause: {wish.reason}"
        case Stop():
            return f"stop {wish.run}"
        case Abandon():
            return f"abandon {wish.run.key}: {wish.why}"
        case Ask():
            return f"ask about {wish.content}"
        case Expire():
            return "expire"
        case Breach():
            return f"breach {wish.promise} since {wish.since:%H:%M}"
    assert isinstance(wish, Recover)
    return f"recover {' '.join(wish.promises)}"


RUNNING = ("09:00:00", "run.claimed", claim("09:00:00"))
TABLE = [
    # name, changes of the definition, created, events, now, decision
    ("nothing is due", {}, "08:30:00", [], "08:59:59", []),
    ("a slot is due at its instant", {}, "08:30:00", [], "09:00:00", ["start 09:00 on_time"]),
    ("a slot within the grace is on time", {}, "08:30:00", [], "09:00:59", ["start 09:00 on_time"]),
    ("later it is late and still runs", {}, "08:30:00", [], "09:02:00", ["start 09:00 late"]),
    ("a slot at the instant of creation is not fired", {}, "09:00:00", [], "09:00:00", []),
    ("run_once answers many with the newest", {}, "05:30:00", [], "09:30:00", ["start 09:00 late for 4"]),
    ("run_once with the newest on time", {}, "05:30:00", [], "09:00:10", ["start 09:00 on_time for 4"]),
    ("skip lets the late ones pass", {"misfire": {"policy": "skip"}}, "05:30:00", [], "09:30:00", ["missed 4 until 09:00 late"]),
    ("skip runs the newest if it is on time", {"misfire": {"policy": "skip"}}, "05:30:00", [], "09:00:10",
     ["missed 3 until 08:00 late", "start 09:00 on_time"]),
    ("catch_up keeps the last max", {"misfire": {"policy": "catch_up", "max": 2}}, "05:30:00", [], "09:30:00",
     ["missed 2 until 07:00 catch_up_limit", "hold 08:00 catch_up", "hold 09:00 catch_up"]),
    ("catch_up on time is a plain start", {"misfire": {"policy": "catch_up"}}, "08:30:00", [], "09:00:00", ["start 09:00 on_time"]),
    ("older than the window is held for review", {"misfire": {"window": "10m"}}, "05:30:00", [], "09:30:00",
     ["missed 3 until 08:00 collapsed", "hold 09:00 review"]),
    ("catch_up reviews what is too old", {"misfire": {"policy": "catch_up", "window": "1h"}}, "06:30:00", [], "09:30:00",
     ["hold 07:00 review", "hold 08:00 review", "hold 09:00 catch_up"]),
    ("forbid skips while a run goes on", {}, "08:30:00", [RUNNING], "10:00:00", ["skipped 10:00 overlap"]),
    ("allow starts beside it", {"concurrency": {"policy": "allow", "max": 2}}, "08:30:00", [RUNNING], "10:00:00", ["start 10:00 on_time"]),
    ("allow waits when its places are taken", {"concurrency": {"policy": "allow", "max": 2}}, "08:30:00",
     [RUNNING, ("09:00:01", "run.claimed", claim("09:00:00", "r2"))], "10:00:00", ["hold 10:00 capacity"]),
    ("a held catch-up starts when nothing runs", {"misfire": {"policy": "catch_up"}}, "08:30:00",
     [("09:30:00", "slot.held", {"slot": f"{DAY}09:00:00Z", "reason": "catch_up"})], "09:30:01", ["start 09:00 catch_up"]),
    ("and waits while something does", {"misfire": {"policy": "catch_up"}}, "07:30:00",
     [("08:00:00", "run.claimed", claim("08:00:00")), ("09:30:00", "slot.held", {"slot": f"{DAY}09:00:00Z", "reason": "catch_up"})], "09:30:01", []),
    ("catch-up starts the oldest first", {"misfire": {"policy": "catch_up"}}, "07:30:00",
     [("09:30:00", "slot.held", {"slot": f"{DAY}09:00:00Z", "reason": "catch_up"}),
      ("09:30:00", "slot.held", {"slot": f"{DAY}08:00:00Z", "reason": "catch_up"})], "09:30:01", ["start 08:00 catch_up"]),
    ("a newer start supersedes what waits for review", {}, "08:30:00",
     [("09:30:00", "slot.held", {"slot": f"{DAY}09:00:00Z", "reason": "review"})], "10:00:00", ["missed 09:00 superseded", "start 10:00 on_time"]),
    ("a slot held for capacity starts with its reason", {}, "08:30:00",
     [("09:00:00", "slot.held", {"slot": f"{DAY}09:00:00Z", "reason": "capacity"})], "09:10:00", ["start 09:00 capacity"]),
    ("while one waits, the next is an overlap", {}, "08:30:00",
     [("09:00:00", "slot.held", {"slot": f"{DAY}09:00:00Z", "reason": "capacity"}), ("09:00:00", "run.claimed", claim("08:00:00"))], "10:00:00",
     ["skipped 10:00 overlap"]),
    ("the cooldown skips", {"cooldown": "2h"}, "08:30:00",
     [RUNNING, ("09:01:00", "run.ended", {"run": "r1", "outcome": "succeeded"})], "10:00:00", ["skipped 10:00 cooldown"]),
    ("the cooldown is over", {"cooldown": "30m"}, "08:30:00",
     [RUNNING, ("09:01:00", "run.ended", {"run": "r1", "outcome": "succeeded"})], "10:00:00", ["start 10:00 on_time"]),
    ("max_runs is used up", {"max_runs": 1}, "08:30:00",
     [RUNNING, ("09:01:00", "run.ended", {"run": "r1", "outcome": "succeeded"})], "10:00:00", []),
    ("used up, it has no slots while the last run goes on", {"max_runs": 1}, "08:30:00", [RUNNING], "12:00:00", []),
    ("used up, what is held is answered at once", {"max_runs": 1, "misfire": {"policy": "catch_up"}}, "05:30:00",
     [("09:30:00", "slot.held", {"slot": f"{DAY}08:00:00Z", "reason": "catch_up"}),
      ("09:30:00", "slot.held", {"slot": f"{DAY}09:00:00Z", "reason": "quiet_hours", "until": f"{DAY}12:00:00Z"}),
      ("09:30:00", "run.claimed", claim("07:00:00"))], "09:30:01", ["skipped 08:00 max_runs", "skipped 09:00 max_runs"]),
    ("slots before it was used up have their verdict, later ones are none", {"max_runs": 1}, "08:30:00",
     [("08:40:00", "routine.paused", {"until": f"{DAY}14:30:00Z"}), ("10:20:00", "run.claimed", {**claim("10:20:00"), "slot": None, "request": "q"})],
     "15:00:00", ["skipped 2 until 10:20 paused", "resume 14:30"]),
    ("a smaller max_runs answers what is due and ends it", {"max_runs": 9}, "08:30:00",
     [RUNNING, ("12:10:00", "routine.updated", {"definition": {**HOURLY, "max_runs": 1}, "fingerprint": "g"})], "15:00:00",
     ["skipped 3 until 12:10 max_runs"]),
    ("a larger max_runs goes on from the edit", {"max_runs": 1}, "08:30:00",
     [RUNNING, ("09:01:00", "run.ended", {"run": "r1", "outcome": "succeeded"}),
      ("12:10:00", "routine.updated", {"definition": {**HOURLY, "max_runs": 2}, "fingerprint": "g"})], "13:00:00", ["start 13:00 on_time"]),
    ("a completed routine promises nothing", {"max_runs": 1, "sla": {"success_within": "1h"}}, "08:30:00",
     [RUNNING, ("09:01:00", "run.ended", {"run": "r1", "outcome": "succeeded"})], "15:00:00", []),
    *[(f"{name} counts what starts in the same decision", {**cap, "concurrency": {"policy": "allow", "max": 2}}, "08:30:00",
       [("09:00:00", "run.requested", {"request": "q1"})], "09:00:00", ["start q1 requested", f"skipped 09:00 {reason}"])
      for name, cap, reason in (("max_runs", {"max_runs": 1}, "max_runs"), ("the budget of a day", {"budget": {"per_day": {"runs": 1}}}, "daily_budget"),
                                ("the cooldown", {"cooldown": "5m"}, "cooldown"))],
    ("a replay is not counted", {"max_runs": 1, "concurrency": {"policy": "allow", "max": 2}}, "08:30:00",
     [("09:00:00", "run.requested", {"request": "q1", "mode": "replay"})], "09:00:00", ["start q1 requested", "start 09:00 on_time"]),
    ("dedup sees what starts in the same decision", {"dedup_window": "1h", "concurrency": {"policy": "allow", "max": 2}}, "08:30:00",
     [("08:50:00", "run.requested", {"request": "q1", "payload": {"a": 1}}), ("08:50:00", "run.requested", {"request": "q2", "payload": {"a": 1}})],
     "08:50:00", ["start q1 requested", "skipped q2 dedup"]),
    ("paused decides nothing", {}, "08:30:00", [("08:40:00", "routine.paused", {})], "10:00:00", []),
    ("a pause that is over answers its slots at once", {}, "08:30:00",
     [("08:40:00", "routine.paused", {"until": f"{DAY}11:30:00Z"})], "12:00:00", ["skipped 3 until 11:30 paused", "resume 11:30"]),
    ("invalid decides nothing", {}, "08:30:00", [("08:40:00", "routine.invalid", {"problems": []})], "10:00:00", []),
    ("disabled has no slots", {"enabled": False}, "08:30:00", [], "10:00:00", []),
    ("deleted has no slots", {}, "08:30:00", [("08:40:00", "routine.deleted", {})], "10:00:00", []),
    ("a request starts", {}, "08:30:00", [("08:50:00", "run.requested", {"request": "q1"})], "08:50:00", ["start q1 requested"]),
    ("a request passes a pause", {}, "08:30:00",
     [("08:40:00", "routine.paused", {}), ("08:50:00", "run.requested", {"request": "q1"})], "08:50:00", ["start q1 requested"]),
    ("a request does not pass a run that goes on", {}, "08:30:00",
     [RUNNING, ("09:10:00", "run.requested", {"request": "q1"})], "09:10:00", ["skipped q1 overlap"]),
    ("a request does not pass the cooldown", {"cooldown": "2h"}, "08:30:00",
     [RUNNING, ("09:01:00", "run.ended", {"run": "r1", "outcome": "failed"}), ("09:10:00", "run.requested", {"request": "q1"})], "09:10:00",
     ["skipped q1 cooldown"]),
    ("a forced one does", {"cooldown": "2h"}, "08:30:00",
     [RUNNING, ("09:01:00", "run.ended", {"run": "r1", "outcome": "failed"}), ("09:10:00", "run.requested", {"request": "q1", "force": True})],
     "09:10:00", ["start q1 requested"]),
    ("a request does not use up a slot, but the slot meets its run", {}, "08:30:00",
     [("08:50:00", "run.requested", {"request": "q1"})], "09:00:00", ["start q1 requested", "skipped 09:00 overlap"]),
    ("a request that nobody read in time waits for review", {"misfire": {"window": "10m"}}, "08:30:00",
     [("08:31:00", "run.requested", {"request": "q1"})], "08:50:00", ["hold q1 review"]),
    ("once held, a person decides about it", {"misfire": {"window": "10m"}}, "08:30:00",
     [("08:31:00", "run.requested", {"request": "q1"}), ("08:50:00", "slot.held", {"request": "q1", "reason": "review"})], "08:51:00", []),
    ("and released it runs, however old", {"misfire": {"window": "10m"}}, "08:30:00",
     [("08:31:00", "run.requested", {"request": "q1"}), ("08:50:00", "slot.held", {"request": "q1", "reason": "review"}),
      ("08:51:00", "slot.released", {"request": "q1"})], "08:52:00", ["start q1 requested"]),
    ("a clock set back runs nothing again", {}, "08:30:00",
     [RUNNING, ("09:01:00", "run.ended", {"run": "r1", "outcome": "succeeded"})], "08:59:00", []),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "created", "events", "now", "expected"), [pytest.param(*row[1:], id=row[0]) for row in TABLE])
def test_decide(changes, created, events, now, expected):
    standing = stand({**HOURLY, **changes}, created, *events)

    assert said(decide(build("x", standing.doc, at(created)), standing, at(now))) == expected


def ended(clock: str, outcome: str = "failed", run: str = "r1") -> tuple[str, str, dict]:
    return (clock, "run.ended", {"run": run, "outcome": outcome})


def held(clock: str, slot: str, reason: str, **more: str) -> tuple[str, str, dict]:
    return (clock, "slot.held", {"slot": f"{DAY}{slot}Z", "reason": reason, **more})


def requested(clock: str, request: str = "q1", **more: object) -> tuple[str, str, dict]:
    return (clock, "run.requested", {"request": request, **more})


def retrying(clock: str, again: str, attempt: int = 2) -> tuple[str, str, dict]:
    return (
        clock,
        "run.retrying",
        {"run": "r1", "outcome": "failed", "attempt": attempt - 1, "next_attempt": attempt, "retry_at": f"{DAY}{again}Z"},
    )


QUEUE, REPLACE = {"concurrency": {"policy": "queue_one"}}, {"concurrency": {"policy": "replace"}}
QUIET = {"quiet_hours": {"start": "08:45", "end": "11:30"}}
QUIET_TO_NOON = {"quiet_hours": {"start": "08:45", "end": "12:00"}}
HELD_TWICE = [held(f"{hour}:00:00", f"{hour}:00:00", "quiet_hours", until=f"{DAY}12:00:00Z") for hour in (10, 11)]
CATCH_UP = {"misfire": {"policy": "catch_up", "max": 2}}
TRIES = {"retry": {"attempts": 3, "delay": "5m"}}
ASKED = ("09:00:00", "approval.requested", {"content": "c1", "mode": "every_run", "expires": f"{DAY}15:00:00Z", "slot": f"{DAY}09:00:00Z"})
GRANTED = ("09:20:00", "approval.granted", {"content": "c1", "by": "me"})
DENIED = ("09:20:00", "approval.denied", {"by": "me"})
EVERY, FIRST, BEFORE = ({"approval": mode} for mode in ("every_run", "before_first_run", "before_enable"))
POLICIES = [
    # name, changes of the definition, created, events, now, decision
    ("queue_one: the first waits for the run before it", QUEUE, "08:30:00", [RUNNING], "10:00:00", ["hold 10:00 queue"]),
    ("queue_one: the next collapses into it", QUEUE, "08:30:00", [RUNNING, held("10:00:00", "10:00:00", "queue")], "11:00:00", ["skipped 11:00 collapsed"]),
    ("queue_one: it starts when the run has ended", QUEUE, "08:30:00", [RUNNING, held("10:00:00", "10:00:00", "queue"), ended("10:20:00")], "10:20:00",
     ["start 10:00 queue"]),
    ("queue_one: a request waits too", QUEUE, "08:30:00", [RUNNING, requested("09:10:00")], "09:10:00", ["hold q1 queue"]),
    ("queue_one: a request that waits is not told twice", QUEUE, "08:30:00",
     [RUNNING, requested("09:10:00"), ("09:10:00", "slot.held", {"request": "q1", "reason": "queue"})], "09:20:00", []),
    ("replace: the old run is stopped and the new one waits for that", REPLACE, "08:30:00", [RUNNING], "10:00:00", ["stop r1", "hold 10:00 replace"]),
    ("approval: an expired slot has its verdict, whatever else is asked at the same time", EVERY, "08:30:00",
     [held("09:00:00", "09:00:00", "approval"), ASKED], "16:00:00",
     ["expire", "skipped 09:00 approval_expired", "missed 6 until 15:00 collapsed", "ask about c1", "hold 16:00 approval"]),
    ("replace: a run is stopped once", REPLACE, "08:30:00",
     [RUNNING, ("10:00:00", "run.cancel_requested", {"run": "r1", "by": "replace"}), held("10:00:00", "10:00:00", "replace")], "11:00:00",
     ["missed 10:00 superseded", "hold 11:00 replace"]),
    ("replace: then it starts", REPLACE, "08:30:00", [RUNNING, held("10:00:00", "10:00:00", "replace"), ended("10:00:05", "cancelled")], "10:00:06",
     ["start 10:00 replace"]),
    ("quiet: a slot is held until the end", QUIET, "08:30:00", [], "09:00:00", ["hold 09:00 quiet_hours until 11:30"]),
    ("quiet: the newest stays", QUIET, "08:30:00", [held("09:00:00", "09:00:00", "quiet_hours", until=f"{DAY}11:30:00Z")], "10:00:00",
     ["missed 09:00 collapsed", "hold 10:00 quiet_hours until 11:30"]),
    ("quiet: nothing happens before the end", QUIET, "08:30:00",
     [held("09:00:00", "09:00:00", "quiet_hours", until=f"{DAY}11:30:00Z"), ("11:00:01", "slot.skipped", {"slot": f"{DAY}11:00:00Z", "reason": "collapsed"})],
     "11:29:59", []),
    ("quiet: the end is not in the window", QUIET, "08:30:00",
     [held("11:00:00", "11:00:00", "quiet_hours", until=f"{DAY}11:30:00Z")], "11:30:00", ["start 11:00 quiet_hours"]),
    ("quiet: what waited for a place collapses into it", QUIET, "08:30:00", [held("08:40:00", "08:00:00", "capacity")], "09:00:00",
     ["hold 08:00 quiet_hours until 11:30", "missed 08:00 collapsed", "hold 09:00 quiet_hours until 11:30"]),
    ("quiet: catch_up runs the oldest at the end, and a slot of the schedule is judged by concurrency", {**QUIET_TO_NOON, **CATCH_UP}, "08:30:00",
     HELD_TWICE, "12:00:00", ["start 10:00 quiet_hours", "skipped 12:00 overlap"]),
    ("quiet: beside it where that is allowed", {**QUIET_TO_NOON, **CATCH_UP, "concurrency": {"policy": "allow", "max": 2}}, "08:30:00",
     HELD_TWICE, "12:00:00", ["start 10:00 quiet_hours", "start 12:00 on_time"]),
    ("quiet: the next of them waits for the run before it", {**QUIET_TO_NOON, **CATCH_UP, "concurrency": {"policy": "allow", "max": 2}}, "08:30:00",
     [*HELD_TWICE, ("12:00:00", "run.claimed", claim("10:00:00")), ("12:00:00", "run.claimed", claim("12:00:00", "r2"))], "12:00:01", []),
    ("quiet: and follows it", {**QUIET_TO_NOON, **CATCH_UP}, "08:30:00", [*HELD_TWICE, ("12:00:00", "run.claimed", claim("10:00:00")),
     ("12:00:00", "slot.skipped", {"slot": f"{DAY}12:00:00Z", "reason": "overlap"}), ended("12:00:30")], "12:00:31", ["start 11:00 quiet_hours"]),
    ("quiet: run_once collapses into the slot at the end", QUIET_TO_NOON, "08:30:00", HELD_TWICE[1:], "12:00:00",
     ["missed 11:00 collapsed", "start 12:00 on_time"]),
    ("quiet: at the end it collapses into a slot that is due within the grace", {"quiet_hours": {"start": "08:45", "end": "09:59"}}, "08:30:00",
     [held("09:00:00", "09:00:00", "quiet_hours", until=f"{DAY}09:59:00Z")], "09:59:00", ["missed 09:00 collapsed"]),
    ("quiet: skip records", {**QUIET, "misfire": {"policy": "skip"}}, "08:30:00", [], "09:00:00", ["skipped 09:00 quiet_hours"]),
    ("quiet: catch_up keeps as many as it may", {**QUIET, **CATCH_UP}, "08:30:00", [held("09:00:00", "09:00:00", "quiet_hours", until=f"{DAY}11:30:00Z")],
     "10:00:00", ["hold 10:00 quiet_hours until 11:30"]),
    ("quiet: and lets the oldest go beyond that", {**QUIET, **CATCH_UP}, "08:30:00",
     [held("09:00:00", "09:00:00", "quiet_hours", until=f"{DAY}11:30:00Z"), held("10:00:00", "10:00:00", "quiet_hours", until=f"{DAY}11:30:00Z")],
     "11:00:00", ["missed 09:00 catch_up_limit", "hold 11:00 quiet_hours until 11:30"]),
    ("quiet: a request waits", QUIET, "08:30:00", [requested("08:50:00")], "08:50:00", ["hold q1 quiet_hours until 11:30"]),
    ("quiet: a forced one does not", QUIET, "08:30:00", [requested("08:50:00", force=True)], "08:50:00", ["start q1 requested"]),
    ("quiet: requests that waited run once, together", {**QUIET, "triggers": []}, "08:30:00",
     [requested("08:50:00"), requested("08:51:00", "q2"), *(("08:52:00", "slot.held", {"request": name, "reason": "quiet_hours"}) for name in ("q1", "q2"))],
     "11:30:00", ["skipped q1 collapsed", "start q2 requested"]),
    ("quiet: all payloads are given as a list", {**QUIET, "triggers": []}, "08:30:00",
     [*(requested("08:50:00", name, payload={"of": name}) for name in ("q1", "q2", "q3")),
      *(("08:52:00", "slot.held", {"request": name, "reason": "quiet_hours"}) for name in ("q1", "q2", "q3"))],
     "11:30:00", ["skipped q1 collapsed", "skipped q2 collapsed", "start q3 requested with q1, q2, q3"]),
    ("cooldown comes before quiet hours", {**QUIET, "cooldown": "2h"}, "07:30:00",
     [("08:00:00", "run.claimed", claim("08:00:00")), ended("08:01:00")], "09:00:00", ["skipped 09:00 cooldown"]),
    ("retry: nothing before its instant", TRIES, "08:30:00", [RUNNING, retrying("09:01:00", "09:06:00")], "09:05:59", []),
    ("retry: then the next attempt", TRIES, "08:30:00", [RUNNING, retrying("09:01:00", "09:06:00")], "09:06:00", ["start r1.2 retry"]),
    ("retry: a waiting retry counts as running", TRIES, "08:30:00", [RUNNING, retrying("09:01:00", "10:30:00")], "10:00:00", ["skipped 10:00 overlap"]),
    ("retry: a pause ends it", TRIES, "08:30:00", [RUNNING, retrying("09:01:00", "09:06:00"), ("09:02:00", "routine.paused", {})], "09:02:00",
     ["abandon r1.2: paused"]),
    ("retry: a deletion ends it", TRIES, "08:30:00", [RUNNING, retrying("09:01:00", "09:06:00"), ("09:02:00", "routine.deleted", {})], "09:02:00",
     ["abandon r1.2: deleted"]),
    ("retry: a new schedule ends it", TRIES, "08:30:00",
     [RUNNING, retrying("09:01:00", "09:06:00"),
      ("09:02:00", "routine.updated", {"definition": {**HOURLY, "triggers": [{"cron": "5 * * * *"}]}, "fingerprint": "g"})], "09:02:00",
     ["abandon r1.2: its schedule was changed"]),
    ("retry: a person cancels it", TRIES, "08:30:00",
     [RUNNING, retrying("09:01:00", "09:06:00"), ("09:02:00", "run.cancel_requested", {"run": "r1", "by": "me"})], "09:02:00", ["abandon r1.2: cancelled"]),
    ("pause_after_failures", {"pause_after_failures": 2}, "07:30:00",
     [("08:00:00", "run.claimed", claim("08:00:00")), ended("08:01:00"), RUNNING, ended("09:01:00")], "09:01:00", ["pause: 2 failures in a row"]),
    ("pause_after_failures counts from the resume", {"pause_after_failures": 2}, "07:30:00",
     [("08:00:00", "run.claimed", claim("08:00:00")), ended("08:01:00"), RUNNING, ended("09:01:00"), ("09:01:00", "routine.paused", {}),
      ("09:30:00", "routine.resumed", {})], "09:31:00", []),
    ("the runs of a day are used up", {"budget": {"per_day": {"runs": 1}}}, "08:30:00",
     [("09:00:00", "run.claimed", {**claim("09:00:00"), "day": "2026-03-02"}), ended("09:01:00", "succeeded")], "10:00:00", ["skipped 10:00 daily_budget"]),
    ("the day before does not count", {"budget": {"per_day": {"runs": 1}}}, "08:30:00",
     [("09:00:00", "run.claimed", {**claim("09:00:00"), "day": "2026-03-01"}), ended("09:01:00", "succeeded")], "10:00:00", ["start 10:00 on_time"]),
    ("dedup: the same payload within the window", {"dedup_window": "1h", "triggers": []}, "08:30:00",
     [("09:00:00", "run.claimed", {**claim("09:00:00"), "dedup": [payload_key({"a": 1}), 3600]}), ended("09:01:00"), requested("09:30:00", payload={"a": 1})],
     "09:30:00", ["skipped q1 dedup"]),
    ("dedup: another payload", {"dedup_window": "1h", "triggers": []}, "08:30:00",
     [("09:00:00", "run.claimed", {**claim("09:00:00"), "dedup": [payload_key({"a": 1}), 3600]}), ended("09:01:00"), requested("09:30:00", payload={"a": 2})],
     "09:30:00", ["start q1 requested"]),
    ("dedup: after the window", {"dedup_window": "1h", "triggers": []}, "08:30:00",
     [("09:00:00", "run.claimed", {**claim("09:00:00"), "dedup": [payload_key({"a": 1}), 3600]}), ended("09:01:00"), requested("10:00:00", payload={"a": 1})],
     "10:00:00", ["start q1 requested"]),
    ("approval: the first slot asks and waits", FIRST, "08:30:00", [], "09:00:00", ["ask about c1", "hold 09:00 approval"]),
    ("approval: the newest waits", EVERY, "08:30:00", [ASKED, held("09:00:00", "09:00:00", "approval")], "10:00:00",
     ["missed 09:00 superseded", "hold 10:00 approval"]),
    ("approval: granted, it starts", EVERY, "08:30:00", [ASKED, held("09:00:00", "09:00:00", "approval"), GRANTED], "09:20:00", ["start 09:00 approval"]),
    ("approval: granted late under skip, it is missed", {**EVERY, "misfire": {"policy": "skip"}}, "08:30:00",
     [ASKED, held("09:00:00", "09:00:00", "approval"), GRANTED], "09:20:00", ["missed 09:00 late"]),
    ("approval: every_run asks again after a run", EVERY, "08:30:00",
     [ASKED, held("09:00:00", "09:00:00", "approval"), GRANTED, ("09:20:01", "run.claimed", claim("09:00:00")), ended("09:21:00", "succeeded")], "10:00:00",
     ["ask about c1", "hold 10:00 approval"]),
    ("approval: before_first_run does not", FIRST, "08:30:00",
     [("09:00:00", "approval.requested", {**ASKED[2], "mode": "before_first_run"}), held("09:00:00", "09:00:00", "approval"), GRANTED,
      ("09:20:01", "run.claimed", claim("09:00:00")), ended("09:21:00", "succeeded")], "10:00:00", ["start 10:00 on_time"]),
    ("approval: another content asks again", FIRST, "08:30:00",
     [("08:40:00", "approval.granted", {"content": "c0", "by": "me", "mode": "before_first_run"})], "09:00:00", ["ask about c1", "hold 09:00 approval"]),
    ("approval: a grant for a while ends", FIRST, "08:30:00",
     [("08:40:00", "approval.granted", {"content": "c1", "by": "me", "until": f"{DAY}08:59:00Z"})], "09:00:00", ["ask about c1", "hold 09:00 approval"]),
    ("approval: denied", EVERY, "08:30:00", [ASKED, held("09:00:00", "09:00:00", "approval"), DENIED], "09:20:00", ["skipped 09:00 denied"]),
    ("approval: after a denial the next slot asks again", EVERY, "08:30:00",
     [ASKED, held("09:00:00", "09:00:00", "approval"), DENIED, ("09:20:00", "slot.skipped", {"slot": f"{DAY}09:00:00Z", "reason": "denied"})], "10:00:00",
     ["ask about c1", "hold 10:00 approval"]),
    ("approval: nobody answered", {**EVERY, "triggers": []}, "08:30:00",
     [requested("08:59:00"), ("09:00:00", "slot.held", {"request": "q1", "reason": "approval"}), ASKED], "15:00:00", ["expire", "skipped q1 approval_expired"]),
    ("approval: before_enable asks at once", BEFORE, "08:30:00", [], "08:31:00", ["ask about c1"]),
    ("approval: a forced request does not pass", EVERY, "08:30:00", [requested("08:40:00", force=True)], "08:40:00", ["ask about c1", "hold q1 approval"]),
    ("approval comes before the cooldown", {**EVERY, "cooldown": "2h"}, "08:30:00", [RUNNING, ended("09:01:00")], "10:00:00",
     ["ask about c1", "hold 10:00 approval"]),
    ("a draft has no slots", {}, "08:30:00", [("08:30:00", "routine.drafted", {"by": "agent"})], "10:00:00", []),
    ("a draft refuses requests, forced ones too", {}, "08:30:00", [("08:30:00", "routine.drafted", {"by": "agent"}), requested("08:40:00", force=True)],
     "08:40:00", ["skipped q1 draft"]),
    ("sla: no success in time", {"sla": {"success_within": "1h"}, "triggers": []}, "08:30:00", [], "09:30:00", ["breach success_within since 09:30"]),
    ("sla: a breach is told once", {"sla": {"success_within": "1h"}, "triggers": []}, "08:30:00",
     [("09:30:00", "sla.breached", {"promise": "success_within", "since": f"{DAY}09:30:00Z"})], "11:30:00", []),
    ("sla: the next success recovers", {"sla": {"success_within": "1h"}, "triggers": []}, "08:30:00",
     [("09:30:00", "sla.breached", {"promise": "success_within", "since": f"{DAY}09:30:00Z"}), ("09:40:00", "run.claimed", claim("09:40:00")),
      ended("09:41:00", "succeeded")], "09:41:00", ["recover success_within"]),
    ("sla: a start that waits too long", {"sla": {"start_within": "5m"}, **QUEUE}, "08:30:00", [RUNNING, held("10:00:00", "10:00:00", "queue")], "10:05:00",
     ["breach start_within since 10:05"]),
    ("sla: a run that takes too long", {"sla": {"run_within": "20m"}}, "08:30:00", [RUNNING], "09:20:00", ["breach run_within since 09:20"]),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "created", "events", "now", "expected"), [pytest.param(*row[1:], id=row[0]) for row in POLICIES])
def test_policies(changes, created, events, now, expected):
    doc = {**HOURLY, **changes}
    standing = stand(doc, created, *events)

    assert said(decide(build("x", doc, at(created)), standing, at(now), Facts(content="c1"))) == expected
    assert from_plain(to_plain(standing)) == standing, "it survives a checkpoint"


@pytest.mark.parametrize(("changes", "created", "events", "now"), [pytest.param(*row[1:5], id=row[0]) for row in [*TABLE, *POLICIES]])
def test_what_was_decided_is_not_woken_for_again_at_once(changes, created, events, now):
    """A wake that is not after `now` would have serve turn without a break."""
    doc = {**HOURLY, **changes}
    standing, routine, moment = stand(doc, created, *events), build("x", doc, at(created)), at(now)
    for _ in range(5):
        for wish in decide(routine, standing, moment, Facts(content="c1")):
            made = claim_of(wish, routine, standing, 0, {}, moment) if isinstance(wish, Start) else event_of(wish, moment)
            made.time = to_iso(moment)
            standing.fold(made)

    wake = next_wake(routine, standing, moment)
    assert decide(routine, standing, moment, Facts(content="c1")) == []
    assert wake is None or wake > moment


def test_a_slot_that_nobody_was_there_for_is_woken_for_at_once():
    """A command may leave a checkpoint after it: the wake in it must not be that of the slot after the next."""
    routine, standing = build("x", HOURLY, at("08:30:00")), stand(HOURLY, "08:30:00")

    assert next_wake(routine, standing, at("09:30:00")) == at("09:00:00")


def test_a_retry_without_a_place_is_not_woken_for_by_time():
    doc = {**HOURLY, **TRIES}
    standing = stand(doc, "08:30:00", RUNNING, retrying("09:01:00", "09:06:00"))

    assert next_wake(build("x", doc, at("08:30:00")), standing, at("09:06:00")) == at("10:00:00")


def test_a_catch_up_in_quiet_hours_is_woken_at_their_end():
    doc = {**HOURLY, **CATCH_UP, **QUIET}
    standing = stand(doc, "07:30:00", held("09:00:00", "08:00:00", "catch_up"), held("09:00:00", "09:00:00", "catch_up"))
    routine = build("x", doc, at("07:30:00"))

    assert decide(routine, standing, at("09:00:00")) == []
    standing.answer(at("11:00:00"), excluded=False)
    assert next_wake(routine, standing, at("11:00:00")) == at("11:30:00")


def test_the_next_fire_of_a_moved_slot_keeps_its_nominal_instant():
    doc = {**HOURLY, "triggers": [{"cron": "0 9 1 * *"}], "calendar": {**WEEKENDS, "on_excluded": "previous_day"}}
    standing, routine = Standing("x"), build("x", doc, instant("2026-07-10T00"))
    standing.fold(
        Event("routine.created", "x", {"at": "2026-07-10T00:00:00Z", "definition": doc, "fingerprint": "f"}, time="2026-07-10T00:00:00Z")
    )
    found = next_fire(routine, standing, instant("2026-07-10T00"))

    assert (found["nominal"], found["due"]) == ("2026-08-01T09:00:00Z", "2026-07-31T09:00:00Z")
    assert fires(routine, instant("2026-07-10T00"), 1)[0][0].slot == instant("2026-08-01T09:00")


def test_the_fire_rate_is_counted_by_the_hour():
    standing = stand(HOURLY, "08:30:00", RUNNING, ended("09:01:00"), requested("09:30:00"), requested("09:31:00", "q2"))
    routine = build("x", HOURLY, at("08:30:00"))

    assert said(decide(routine, standing, at("09:31:00"), Facts(fires_per_hour=1))) == ["skipped q1 fire_rate", "skipped q2 fire_rate"]
    assert said(decide(routine, standing, at("09:31:00"), Facts(fires_per_hour=2)))[0] == "start q1 requested"


def test_pools_are_shared_and_priorities_go_first_but_not_for_ever():
    def asking(name: str, due: str, **more: str) -> tuple[Start, object]:
        return Start(name, at(due), "on_time", slot=at(due)), build(name, {**HOURLY, **more}, at("08:00:00"))

    asked = [asking("a", "09:00:00", pool="w"), asking("b", "09:00:00", pool="w", priority="high"), asking("c", "09:00:00")]
    admitted, late = admit(asked, 10, {"w": 1})
    assert [start.id for start in admitted] == ["b", "c"]
    assert [(item.start.id, item.reason) for item in late] == [("a", "pool")]

    line = [asking("old-low", "07:00:00", priority="low"), asking("new-high", "09:00:01", priority="high")]
    assert [start.id for start in admit(line, 1, {})[0]] == ["old-low"], "nothing is overtaken by what is due two hours later"


DAILY = {**HOURLY, "triggers": [{"cron": "0 9 * * *"}]}  # 2026-03-02 is a Monday
FREE_MONDAY = {"exclude": [{"dates": []}], "resolved": {"exclude": {"2026-03-02": "A holiday"}}}
WEEKENDS = {"exclude": [{"weekends": True}]}
CALENDARS = [
    # name, calendar, since, events, now, decision
    ("a slot on an excluded day is skipped", FREE_MONDAY, "2026-03-01T12", [], "2026-03-02T09:00", ["skipped 09:00 calendar"]),
    ("the day after it is not", FREE_MONDAY, "2026-03-02T12", [], "2026-03-03T09:00", ["start 09:00 on_time"]),
    ("several are one line", {**WEEKENDS}, "2026-03-06T12", [], "2026-03-08T09:00", ["skipped 2 until 09:00 calendar"]),
    ("only: all other days are excluded", {"only": [{"dates": []}], "resolved": {"only": {"2026-03-03": "x"}}}, "2026-03-01T12", [], "2026-03-02T09:00",
     ["skipped 09:00 calendar"]),
    ("next_day holds it until then", {**FREE_MONDAY, "on_excluded": "next_day"}, "2026-03-01T12", [], "2026-03-02T09:00",
     ["hold 09:00 calendar until 09:00"]),
    ("next_day: where the next slot comes, one run does for both", {**FREE_MONDAY, "on_excluded": "next_day"}, "2026-03-01T12",
     [("2026-03-02T09:00", "slot.held", {"slot": "2026-03-02T09:00:00Z", "reason": "calendar", "until": "2026-03-03T09:00:00Z", "excluded": True})],
     "2026-03-03T09:00", ["missed 09:00 collapsed", "start 09:00 on_time"]),
    ("previous_day holds it before its time, and runs it then", {**WEEKENDS, "on_excluded": "previous_day"}, "2026-03-05T12", [], "2026-03-06T09:00",
     ["missed 1 until 09:00 collapsed", "hold 09:00 calendar until 09:00", "start 09:00 on_time"]),
]  # fmt: skip


def instant(text: str) -> datetime:
    return datetime.fromisoformat(f"{text}:00+00:00" if text.count(":") else f"{text}:00:00+00:00")


@pytest.mark.parametrize(("calendar", "since", "events", "now", "expected"), [pytest.param(*row[1:], id=row[0]) for row in CALENDARS])
def test_calendars(calendar, since, events, now, expected):
    doc = {**DAILY, "calendar": calendar}
    standing = Standing("x")
    made = [(since, "routine.created", {"definition": doc, "fingerprint": "f"}), *events]
    for clock, kind, data in made:
        standing.fold(Event(kind, "x", {"at": to_iso(instant(clock)), **data}, id="1", time=to_iso(instant(clock))))

    assert said(decide(build("x", doc, instant(since)), standing, instant(now))) == expected


def test_a_monthly_slot_that_is_moved_forwards_runs_once_and_answers_no_other():
    doc = {
        **HOURLY,
        "triggers": [{"cron": "0 9 1 * *"}],
        "calendar": {**WEEKENDS, "on_excluded": "previous_day"},
    }  # 2026-08-01 is a Saturday
    standing, routine = Standing("x"), build("x", doc, instant("2026-07-10T00"))
    standing.fold(
        Event("routine.created", "x", {"at": "2026-07-10T00:00:00Z", "definition": doc, "fingerprint": "f"}, time="2026-07-10T00:00:00Z")
    )

    assert next_wake(routine, standing, instant("2026-07-10T00")) == instant("2026-07-31T09:00")
    (hold,) = decide(routine, standing, instant("2026-07-31T09:00"))
    assert said([hold]) == ["hold 09:00 calendar until 09:00"]
    standing.fold(Event("slot.held", "x", {"at": "2026-07-31T09:00:00Z", "slot": to_iso(hold.slot), "reason": "calendar", "until": to_iso(hold.until),
                                           "excluded": True}, time="2026-07-31T09:00:00Z"))  # fmt: skip
    dropped = from_plain(to_plain(standing))
    dropped.fold(Event("slot.missed", "x", {"at": "2026-07-31T09:00:00Z", "slot": to_iso(hold.slot), "reason": "superseded"}))
    assert (dropped.mark, dropped.holds) == (instant("2026-07-10T00"), {}), "its verdict answers no slot before it"
    (start,) = decide(routine, standing, instant("2026-07-31T09:00"))
    assert (start.slot, start.reason) == (instant("2026-08-01T09:00"), "calendar")
    assert standing.mark == instant("2026-07-10T00")
    standing.fold(Event("run.claimed", "x", {**claim("09:00:00"), "at": "2026-07-31T09:00:00Z", "slot": "2026-08-01T09:00:00Z"}))
    assert decide(routine, standing, instant("2026-08-01T09:00")) == []
    assert next_wake(routine, standing, instant("2026-08-01T09:00")) == instant("2026-09-01T09:00")


@pytest.mark.parametrize("after", ["2026-01-01T00", "2026-03-05T10", "2026-03-07T09", "2027-06-01T00"])
def test_a_calendar_halves_a_schedule_and_loses_nothing(after):
    doc = {**HOURLY, "timezone": "Europe/Berlin", "triggers": [{"cron": "30 */5 * * *"}], "calendar": WEEKENDS}
    routine, since = build("x", doc, instant(after)), instant(after)
    whole = build("x", {**doc, "calendar": {"exclude": [{"dates": []}]}}, since).schedule
    through = since + timedelta(days=40)
    halves = [list(half.walk(since, through)) for half in (routine.schedule, routine.excluded)]

    assert sorted(halves[0] + halves[1]) == list(whole.walk(since, through))
    for half, slots in zip((routine.schedule, routine.excluded), halves, strict=True):
        assert half.count(since, through) == len(slots)
        assert half.upcoming(since, 5) == slots[:5]
        assert half.last_n(since, through, 5) == slots[-5:]


@pytest.mark.parametrize(
    ("now", "until"),
    [
        ("2026-03-02T21:59:59+01:00", None),
        ("2026-03-02T22:00:00+01:00", "2026-03-03T06:00:00Z"),
        ("2026-03-03T06:59:59+01:00", "2026-03-03T06:00:00Z"),
        ("2026-03-03T07:00:00+01:00", None),
        ("2026-03-29T01:30:00+01:00", "2026-03-29T05:00:00Z"),  # the night in which the clock goes forward
        ("2026-10-25T02:30:00+01:00", "2026-10-25T06:00:00Z"),  # and back
    ],
)
def test_quiet_hours_reach_over_midnight_and_changes_of_the_clock(now, until):
    doc = {**HOURLY, "timezone": "Europe/Berlin", "quiet_hours": {"start": "22:00", "end": "07:00"}}
    routine = build("x", doc, at("08:30:00"))
    found = routine.quiet_hours.until(datetime.fromisoformat(now), routine.zone)

    assert (to_iso(found) if found else None) == until


def test_the_days_of_quiet_hours_are_those_on_which_a_window_begins():
    doc = {**HOURLY, "quiet_hours": {"start": "22:00", "end": "07:00", "days": ["sun", "fri"]}}
    routine = build("x", doc, at("08:30:00"))

    assert routine.quiet_hours.until(datetime.fromisoformat("2026-03-02T06:00:00Z"), routine.zone) is not None, "Monday, from Sunday night"
    assert routine.quiet_hours.until(datetime.fromisoformat("2026-03-02T23:00:00Z"), routine.zone) is None, "Monday night"


def test_waits_between_attempts_grow_up_to_a_limit():
    doc = {**HOURLY, "retry": {"attempts": 9, "delay": "30s", "backoff": 2, "max_delay": "3m"}}

    assert [build("x", doc, at("08:30:00")).retry.wait(attempt).total_seconds() for attempt in range(1, 6)] == [30, 60, 120, 180, 180]


def test_a_one_shot_that_passed_in_a_pause_runs_on_resume():
    doc = {**HOURLY, "triggers": [{"at": f"{DAY}09:00:00Z"}]}
    standing = stand(doc, "08:30:00", ("08:40:00", "routine.paused", {}))
    routine = build("x", doc, at("08:30:00"))

    assert said(decision.end_pause(routine, standing, at("10:00:00"))) == ["resume 10:00"]
    standing.fold(Event("routine.resumed", "x", {"at": to_iso(at("10:00:00"))}))
    assert said(decide(routine, standing, at("10:00:00"))) == ["start 09:00 late"]


def test_a_one_shot_that_passed_while_disabled_is_missed():
    doc = {**HOURLY, "triggers": [{"at": f"{DAY}09:00:00Z"}], "enabled": False}
    routine, standing = build("x", doc, at("08:30:00")), stand(doc, "08:30:00")

    assert said(decision.close_disabled(routine, standing, at("10:00:00"))) == ["missed 1 until 10:00 disabled"]


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("edited", ["missed 09:00 edited", "missed 2 until 11:30 edited"]),
        ("deleted", ["missed 09:00 deleted", "missed 2 until 11:30 deleted"]),
    ],
)
def test_the_end_of_a_schedule_answers_everything_open(reason, expected):
    standing = stand(HOURLY, "08:30:00", ("09:30:00", "slot.held", {"slot": f"{DAY}09:00:00Z", "reason": "review"}))

    assert said(decision.close(build("x", HOURLY, at("08:30:00")), standing, at("11:30:00"), reason)) == expected


def test_a_start_without_a_place_waits_and_never_more_than_one():
    routine, standing = build("x", HOURLY, at("08:30:00")), stand(HOURLY, "08:30:00")
    (start,) = decide(routine, standing, at("09:00:00"))

    assert said(decision.without_place(start, "capacity", standing, routine)) == ["hold 09:00 capacity"]
    standing.fold(Event("slot.held", "x", {"slot": f"{DAY}08:00:00Z", "reason": "capacity"}, time=to_iso(at("09:00:00"))))
    assert said(decision.without_place(start, "capacity", standing, routine)) == ["skipped 09:00 overlap"]


def test_places_go_to_those_due_first():
    starts = [Start(name, at(due), "on_time", slot=at(due)) for name, due in (("b", "09:00:00"), ("a", "09:00:00"), ("c", "08:00:00"))]
    asking = [(start, build(start.id, HOURLY, at("08:00:00"))) for start in starts]
    admitted, waiting = admit(asking, 2, {})

    assert [start.id for start in admitted] == ["c", "a"]
    assert [(late.start.id, late.reason) for late in waiting] == [("b", "capacity")]
    assert admit(asking, -1, {})[0] == []


def test_the_next_wake_is_the_next_slot_with_its_jitter():
    doc = {**HOURLY, "jitter": "10m"}
    routine, standing = build("x", doc, at("08:30:00")), stand(doc, "08:30:00")
    offset = routine.offset

    assert timedelta() < offset < timedelta(minutes=10)
    assert next_wake(routine, standing, at("08:30:00")) == at("09:00:00") + offset
    assert decide(routine, standing, at("09:00:00")) == []
    assert said(decide(routine, standing, at("09:00:00") + offset)) == ["start 09:00 on_time"]


def test_a_standing_survives_being_written_and_read():
    standing = stand(
        HOURLY, "08:30:00", RUNNING, ("09:00:01", "run.started", {"run": "r1", "pid": 5, "start_time": 7, "boot": "b"}),
        ("09:10:00", "run.requested", {"request": "q1", "by": "me", "payload": {"a": 1}}), ("09:20:00", "routine.paused", {"reason": "lunch"}),
        ("09:30:00", "slot.held", {"slot": f"{DAY}08:00:00Z", "reason": "review"}), ("09:31:00", "routine.invalid", {"problems": []}),
    )  # fmt: skip

    assert from_plain(to_plain(standing)) == standing


def test_an_edit_of_the_schedule_moves_the_mark_and_another_edit_does_not():
    standing = stand(HOURLY, "08:30:00")
    update = {"definition": {**HOURLY, "timeout": "5m"}, "fingerprint": "g"}
    standing.fold(Event("routine.updated", "x", {"at": to_iso(at("09:30:00")), **update}, id="3"))
    assert standing.mark == at("08:30:00")

    update["definition"] = {**HOURLY, "triggers": [{"cron": "30 * * * *"}]}
    standing.fold(Event("routine.updated", "x", {"at": to_iso(at("09:40:00")), **update}, id="4"))
    assert standing.mark == at("09:40:00")


@pytest.mark.parametrize(("on_excluded", "mark"), [("skip", "2026-03-07T09:00"), ("previous_day", "2026-03-06T00:00")])
def test_an_edit_under_a_clock_set_back_frees_no_slot_again(on_excluded, mark):
    """The slot of Saturday was excluded and answered; with `previous_day` it is answered ahead of time, and says nothing of others."""
    doc = {**DAILY, "calendar": {**WEEKENDS, "on_excluded": on_excluded}}
    standing = Standing("x")
    answered = {"slot": "2026-03-07T09:00:00Z", "reason": "calendar", "excluded": True}
    for clock, kind, data in (
        ("2026-03-05T12:00", "routine.created", {"definition": doc, "fingerprint": "f"}),
        ("2026-03-07T09:00", "slot.skipped", answered),
        ("2026-03-06T00:00", "routine.updated", {"definition": {**HOURLY, "triggers": [{"cron": "30 * * * *"}]}, "fingerprint": "g"}),
    ):
        standing.fold(Event(kind, "x", {"at": to_iso(instant(clock)), **data}, id=clock, time=to_iso(instant(clock))))

    assert standing.mark == instant(mark)


def test_verdicts_outlive_a_deletion():
    standing = stand(
        HOURLY, "08:30:00", RUNNING, ("09:10:00", "run.ended", {"run": "r1", "outcome": "failed"}), ("09:20:00", "routine.deleted", {})
    )
    standing.fold(Event("routine.created", "x", {"at": "2026-03-02T08:00:00Z", "definition": HOURLY, "fingerprint": "f"}, id="9"))

    assert standing.mark == at("09:20:00")
    assert (standing.run_count, standing.failures) == (0, 0)
