"""The policy, as tables of named rows: where a routine stands, what time it is, what is decided."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from routinectl.core import decision
from routinectl.core.admit import admit
from routinectl.core.decision import Hold, Resume, Skip, Start, decide, next_wake
from routinectl.core.event import Event
from routinectl.core.routine import build
from routinectl.core.standing import Standing, from_plain, to_plain
from routinectl.core.units import to_iso

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
            what = f"{wish.slot:%H:%M}" if wish.slot else wish.request.id
            found.append(f"start {what} {wish.reason}{many}")
        elif isinstance(wish, Skip):
            verdict = "missed" if wish.missed else "skipped"
            if wish.interval:
                found.append(f"{verdict} {wish.interval.count} until {wish.interval.through:%H:%M} {wish.reason}")
            else:
                found.append(f"{verdict} {f'{wish.slot:%H:%M}' if wish.slot else wish.request} {wish.reason}")
        elif isinstance(wish, Hold):
            found.append(f"hold {f'{wish.slot:%H:%M}' if wish.slot else wish.request} {wish.reason}")
        else:
            assert isinstance(wish, Resume)
            found.append(f"resume {wish.at:%H:%M}")
    return found


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
     [RUNNING, ("09:01:00", "run.ended", {"run": "r1", "outcome": "succeeded"})], "10:00:00", ["skipped 10:00 max_runs"]),
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
    doc = {**HOURLY, **changes}
    standing = stand(doc, created, *events)

    assert said(decide(build("x", doc, at(created)), standing, at(now))) == expected


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

    assert said(decision.without_place(start, standing, routine)) == ["hold 09:00 capacity"]
    standing.fold(Event("slot.held", "x", {"slot": f"{DAY}08:00:00Z", "reason": "capacity"}, time=to_iso(at("09:00:00"))))
    assert said(decision.without_place(start, standing, routine)) == ["skipped 09:00 overlap"]


def test_places_go_to_those_due_first():
    starts = [Start(name, at(due), "on_time", slot=at(due)) for name, due in (("b", "09:00:00"), ("a", "09:00:00"), ("c", "08:00:00"))]
    admitted, waiting = admit(starts, 2)

    assert [start.id for start in admitted] == ["c", "a"]
    assert [start.id for start in waiting] == ["b"]
    assert admit(starts, -1)[0] == []


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


def test_verdicts_outlive_a_deletion():
    standing = stand(
        HOURLY, "08:30:00", RUNNING, ("09:10:00", "run.ended", {"run": "r1", "outcome": "failed"}), ("09:20:00", "routine.deleted", {})
    )
    standing.fold(Event("routine.created", "x", {"at": "2026-03-02T08:00:00Z", "definition": HOURLY, "fingerprint": "f"}, id="9"))

    assert standing.mark == at("09:20:00")
    assert (standing.run_count, standing.failures) == (0, 0)
