"""Playing definitions forward gives what serve would do: the same decisions, in an assumed world."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from routinectl.core import simulate
from routinectl.core.routine import build
from routinectl.core.simulate import Assumed, Outage

START = datetime(2026, 3, 2, tzinfo=UTC)  # a Monday
DAILY = {"name": "x", "timezone": "UTC", "triggers": [{"daily": "09:00"}], "action": {"command": ["true"]}}
HOURLY = {**DAILY, "triggers": [{"cron": "0 * * * *"}]}


def day(number: int, hour: int = 0) -> datetime:
    return START + timedelta(days=number, hours=hour)


PLAYS = [
    # name, definition, runtime in seconds, outages, counts
    ("every day of a week", DAILY, 60, [], {"ran": 7}),
    ("a day down costs one, run late", DAILY, 60, [(day(1), day(2))], {"ran": 7}),
    ("three days down collapse into one", DAILY, 60, [(day(1), day(4))], {"ran": 5, "missed": 2}),
    ("skip lets them pass", {**DAILY, "misfire": {"policy": "skip"}}, 60, [(day(1), day(4))], {"ran": 4, "missed": 3}),
    ("catch_up makes up for two", {**DAILY, "misfire": {"policy": "catch_up", "max": 2, "window": "10d"}}, 60, [(day(1), day(4))], {"ran": 6, "missed": 1}),
    ("older than the window waits for review", {**DAILY, "misfire": {"window": "1h"}}, 60, [(day(1), day(2, 8)), (day(6), day(6, 20))],
     {"ran": 5, "held": 1, "missed": 1}),
    ("runs that take longer than the interval", HOURLY, 5400, [], {"ran": 84, "skipped": 84}),
    ("quiet hours", {**DAILY, "quiet_hours": {"start": "08:00", "end": "10:00"}}, 60, [], {"ran": 7}),
    ("max_runs", {**DAILY, "max_runs": 3}, 60, [], {"ran": 3}),
    ("weekends off", {**DAILY, "calendar": {"exclude": [{"weekends": True}]}}, 60, [], {"ran": 5, "skipped": 2}),
    ("weekends moved to Monday meet its slot", {**DAILY, "calendar": {"exclude": [{"weekends": True}], "on_excluded": "next_day"}}, 60, [],
     {"ran": 5, "missed": 1, "held": 1}),
    ("nobody approves", {**DAILY, "approval": "every_run"}, 60, [], {"missed": 6, "held": 1}),
    ("disabled", {**DAILY, "enabled": False}, 60, [], {}),
]  # fmt: skip


@pytest.mark.parametrize(("doc", "runtime", "outages", "expected"), [pytest.param(*row[1:], id=row[0]) for row in PLAYS])
def test_a_week(doc, runtime, outages, expected):
    assumed = Assumed(START, day(7), {}, tuple(Outage(*item) for item in outages), runtime)

    assert simulate.counts(simulate.play("x", doc, assumed)) == {"ran": 0, "skipped": 0, "missed": 0, "held": 0, **expected}


def test_a_plain_routine_is_played_as_one_that_is_not():
    assumed = Assumed(START, day(30), {}, (Outage(day(3, 5), day(9, 2)), Outage(day(12), day(12, 1))), 60)
    plain = simulate.play("x", HOURLY, assumed)
    step_by_step = simulate.play("x", {**HOURLY, "cooldown": "1s"}, assumed)

    assert [(mark.slot, mark.verdict, mark.count) for mark in plain] == [(mark.slot, mark.verdict, mark.count) for mark in step_by_step]


def test_what_meets_is_counted():
    assumed = Assumed(START, day(1), {"a": 3600.0, "b": 60.0}, ())
    marks = {name: simulate.play(name, DAILY, assumed) for name in ("a", "b")}

    assert simulate.peak(marks, assumed) == (2, day(0, 9))
    assert simulate.collisions(marks) == [(day(0, 9), ["a", "b"])]


def test_the_command_draws_a_night_in_which_the_clock_goes_back_and_serve_is_down(workspace):
    workspace.define("night", "timezone: Europe/Berlin\ntriggers: [{cron: '30 2 * * *'}]\naction: {command: ['true']}\n")
    span = ["--from", "2026-10-24", "--to", "2026-10-27"]
    found = workspace.ok("simulate", *span, "--outage", "2026-10-25T00:00..2026-10-25T09:00", "--json").data
    assert found["routines"]["night"] == {"ran": 3, "skipped": 0, "missed": 0, "held": 0, "reasons": {"ran: on_time": 2, "ran: late": 1}}

    drawn = workspace.ok("simulate", *span, "--outage", "2026-10-25T00:00..2026-10-25T09:00")
    rows = {line.split()[0]: line for line in drawn.out.splitlines() if line.strip()}
    assert "░" in rows["down"]
    assert rows["night"].count("●") in (0, 3)
    assert "take 1m" in drawn.err
    assert workspace.events("run.claimed") == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--assume", "luck=good"], "is no assumption"),
        (["--outage", "2026-10-25"], "is no span of time"),
        (["--outage", "2026-10-25..2026-10-24"], "ends before it begins"),
        (["--clock-jump", "2026-10-25"], "is no jump"),
        (["--from", "2026-10-25", "--to", "2026-10-24"], "not after"),
    ],
)
def test_a_wrong_option_is_said(workspace, options, said):
    result = workspace.run("simulate", *options)

    assert (result.code, said in result.err) == (2, True)


CASE = """\
name: a week with a free Friday
from: "2026-12-21"
to: "2026-12-28"
outages: ["2026-12-22T08:00..2026-12-22T10:00"]
expect:
  ran: 6
  skipped: 1
  slots: {"2026-12-22T09:00": "ran: late", "2026-12-25T09:00": "skipped: calendar", "2026-12-26T09:00": ran}
"""
FREE = "triggers: [{daily: '09:00'}]\naction: {command: ['true']}\ncalendar: {exclude: [{dates: ['2026-12-25']}]}\n"


def test_cases_test_a_definition(workspace):
    folder = workspace.define("x", FREE).parent / "cases"
    folder.mkdir()
    (folder / "week.yaml").write_text(CASE)
    assert workspace.ok("test").err.strip() == "1 cases, 0 failed"

    (folder / "wrong.yaml").write_text(CASE.replace("ran: 6", "ran: 7").replace("skipped: calendar", "ran"))
    found = workspace.run("test", "x")
    assert found.code == 1
    assert "ran: expected 7, found 6" in found.out
    assert "2026-12-25T09:00:00Z: expected ran, found skipped: calendar" in found.out
    assert "2 cases, 1 failed" in found.err


@pytest.mark.parametrize(
    ("text", "said"),
    [("[]", "a case has from, to and expect"), (CASE.replace("outages", "outtages"), "unknown key 'outtages'"),
     (CASE.replace('"2026-12-28"', "soon"), "soon"), ("a: [", "not YAML")],
)  # fmt: skip
def test_a_case_that_is_none_is_said(workspace, text, said):
    folder = workspace.define("x", FREE).parent / "cases"
    folder.mkdir()
    (folder / "bad.yaml").write_text(text)

    found = workspace.run("test")
    assert (found.code, said in found.out) == (1, True), found.out


CLOCK = st.integers(0, 47).map(lambda half: f"{half // 2:02d}:{half % 2 * 30:02d}")
QUIET_CRONS = st.sampled_from(
    ["0 * * * *", "30 * * * *", "15 */2 * * *", "*/20 * * * *", "*/7 * * * *", "0 7 * * *", "0 3 * * *", "59 6,7 * * *", "0 0,7,12 * * *"]
)
POLICY = st.one_of(
    st.just({"policy": "run_once"}), st.just({"policy": "skip"}), st.integers(1, 5).map(lambda most: {"policy": "catch_up", "max": most})
)
CONCURRENCY = st.sampled_from([{"policy": "forbid"}, {"policy": "allow", "max": 2}])


@settings(max_examples=150, deadline=None)
@given(QUIET_CRONS, CLOCK, CLOCK, POLICY, CONCURRENCY, st.sampled_from(["UTC", "Europe/Berlin", "America/New_York"]))
@example("0 * * * *", "22:00", "07:00", {"policy": "catch_up", "max": 9}, {"policy": "forbid"}, "UTC")
@example("30 * * * *", "22:00", "07:00", {"policy": "run_once"}, {"policy": "forbid"}, "UTC")
def test_what_runs_at_the_end_of_the_quiet_hours_is_what_the_policy_says(cron, start, end, misfire, concurrency, zone):
    assume(start != end)
    doc = {
        **DAILY,
        "timezone": zone,
        "triggers": [{"cron": cron}],
        "quiet_hours": {"start": start, "end": end},
        "misfire": misfire,
        "concurrency": concurrency,
    }
    first, last = datetime(2026, 3, 27, tzinfo=UTC), datetime(2026, 3, 31, tzinfo=UTC)  # the clocks change in Berlin
    routine = build("x", doc, first)
    marks = simulate.play("x", doc, Assumed(first, last, {}, (), 1.0))
    ran = {mark.slot: mark.at for mark in marks if mark.verdict == "ran"}
    windows: dict[datetime, list[datetime]] = {}
    for slot in routine.schedule.walk(first, last - timedelta(hours=1)):
        until = routine.quiet_hours.until(slot, routine.zone)
        if until is None:
            continue
        windows.setdefault(until, []).append(slot)
    for until, held in windows.items():
        if until >= last - timedelta(hours=1):
            continue
        follows = list(routine.schedule.walk(until - timedelta(seconds=1), until + routine.misfire.grace))
        wanted = {"skip": [], "run_once": [] if follows else held[-1:], "catch_up": held[-routine.misfire.max :]}[misfire["policy"]]

        assert {slot: ran.get(slot) for slot in held} == {
            slot: until + timedelta(seconds=wanted.index(slot)) if slot in wanted else None for slot in held
        }
        finals = [mark.slot for mark in marks if mark.verdict != "held" and mark.slot in held]
        assert sorted(finals) == held, "each has one final verdict"
        for slot in follows[:1]:
            beside = misfire["policy"] != "catch_up" or concurrency["policy"] == "allow" or slot >= until + timedelta(seconds=len(wanted))
            assert (slot in ran) == beside, "a slot of the schedule is judged by concurrency"
