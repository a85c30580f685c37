"""Explaining and checking: `why` for every kind of verdict, and `audit` that sees what is wrong in the files."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from routinectl.core.audit import audit
from routinectl.core.event import Event, decode, encode
from routinectl.files.journal import Journal
from routinectl.files.layout import Layout

SLOT = "2026-11-20T09:00:00Z"
NOW = datetime(2026, 11, 21, tzinfo=UTC)
FILE = """\
name: X
triggers: [{daily: "09:00"}]
misfire: {policy: run_once}
cooldown: 2h
max_runs: 5
quiet_hours: {start: "22:00", end: "07:00"}
concurrency: {policy: forbid}
budget: {per_day: {runs: 3}}
action: {command: ["true"]}
"""


def record(workspace, *events: Event) -> None:
    """Append events to a workspace's journal, as its serve would."""
    journal = Journal(Layout(workspace.root))
    with journal.transaction():
        journal.append(events, NOW)
    journal.sync()
    journal.close()


def skipped(reason: str, kind: str = "slot.skipped", **data: object) -> Event:
    return Event(kind, "x", {"at": SLOT, "slot": SLOT, "reason": reason, **data})


def held(reason: str, **data: object) -> Event:
    return skipped(reason, "slot.held", **data)


CLAIM = Event("run.claimed", "x", {"at": SLOT, "run": "20261120T090000Z-ab12", "slot": SLOT, "due": SLOT, "reason": "late", "lease": 0, "attempt": 1,
                                   "timeout": 60.0, "kill_grace": 1.0, "boot": "another"})  # fmt: skip
END = Event("run.ended", "x", {"at": "2026-11-20T09:00:05Z", "run": "20261120T090000Z-ab12", "slot": SLOT, "started_at": SLOT, "reason": "late",
                               "outcome": "failed", "exit_code": 3, "message": "no disk"})  # fmt: skip
WHYS = [
    # name, events, what is said
    ("overlap", [skipped("overlap", rule="concurrency.policy", value="forbid")],
     ["was skipped: the run before it was still going", "The rule: concurrency.policy: forbid (routines/x/ROUTINE.yaml:7:15)", "queue_one} would have it wait"]),
    ("cooldown", [skipped("cooldown", rule="cooldown", value="2h")], ["less than the cooldown ago", "cooldown: 2h (routines/x/ROUTINE.yaml:4:1)", "--force"]),
    ("max_runs", [skipped("max_runs", rule="max_runs", value=5)], ["used up its max_runs", "max_runs: 5 (routines/x/ROUTINE.yaml:5:1)"]),
    ("quiet hours under skip", [skipped("quiet_hours", rule="quiet_hours", value="22:00-07:00")], ["fell into the quiet hours", "ROUTINE.yaml:6:1"]),
    ("daily budget", [skipped("daily_budget", rule="budget.per_day.runs", value=3)], ["what a day may have of it is used up", "ROUTINE.yaml:8:20"]),
    ("fire rate", [skipped("fire_rate", rule="limits.max_fires_per_hour", value=60)], ["limits.max_fires_per_hour: 60", "the next hour"]),
    ("paused", [Event("slot.skipped", "x", {"at": SLOT, "after": "2026-11-18T09:00:00Z", "through": "2026-11-20T10:00:00Z", "count": 2, "reason": "paused"})],
     ["One of 2 slots: the slot", "the routine was paused", "routinectl resume x"]),
    ("missed while down", [skipped("collapsed", "slot.missed")], ["was missed: it was missed, and the policy runs only the newest", "ROUTINE.yaml:3:1"]),
    ("late under skip", [skipped("late", "slot.missed")], ["noticed later than the grace", "run_once} would run it late"]),
    ("edited", [skipped("edited", "slot.missed")], ["the schedule was edited before it was answered"]),
    ("denied", [skipped("denied")], ["a person denied the approval it needs", "routinectl approve x"]),
    ("calendar", [skipped("calendar", rule="calendar", value="Christmas (DE)", excluded=True)], ["the calendar excludes its day", "calendar: Christmas (DE)"]),
    ("draft", [skipped("draft")], ["it is a draft that an agent made", "routinectl approve x"]),
    ("held for review", [held("review")], ["is held: it is older than the window", "routinectl review x --run"]),
    ("held for quiet hours", [held("quiet_hours", until="2026-11-21T07:00:00Z")], ["is held, until 2026-11-21 07:00 UTC", "it is quiet now"]),
    ("held for an approval", [held("approval")], ["a person has to approve it", "routinectl approve x, or routinectl deny x"]),
    ("held for capacity", [held("capacity")], ["it starts when one is free", "max_concurrent_runs"]),
    ("ran late, and failed", [CLAIM, END], ["ran: it was late, and the misfire policy runs the latest missed slot", "failed, exit code 3, in 5.0s", "It said: no disk"]),
]  # fmt: skip


@pytest.mark.parametrize(("events", "expected"), [pytest.param(*row[1:], id=row[0]) for row in WHYS])
def test_why_says_what_decided_its_values_its_line_and_the_way_out(workspace, events, expected):
    workspace.define("x", FILE)
    workspace.ok("list")
    record(workspace, *events)
    said = workspace.ok("why", "x", "--at", SLOT).out

    for words in expected:
        assert words in said, said


def test_why_without_a_time_tells_the_last_thing_that_did_not_happen(workspace):
    workspace.define("x", FILE)
    workspace.ok("list")
    record(workspace, skipped("overlap"), Event("slot.missed", "x", {**CLAIM.data, "slot": "2026-11-21T09:00:00Z", "reason": "edited"}))
    record(workspace, CLAIM, END)

    assert "edited" in workspace.ok("why", "x").out
    assert workspace.ok("why", "x", "--run", "20261120T09", "--json").data["line"]["exit_code"] == 3
    assert workspace.run("why", "x", "--run", "nothing").code == 3


@pytest.mark.parametrize(
    ("setup", "expected"),
    [
        ([], "As things stand: it starts"),
        (["pause"], "As things stand: skipped: paused"),
        (["disable"], "nothing: it is disabled"),
    ],
)
def test_why_says_of_a_future_slot_what_would_be_decided(workspace, setup, expected):
    workspace.define("x", FILE)
    for verb in setup:
        workspace.ok(verb, "x")

    assert expected in workspace.ok("why", "x", "--at", "2999-01-01T09:00").out


def test_why_foresees_quiet_hours(workspace):
    workspace.define("x", FILE.replace("09:00", "23:00"))

    assert "held: quiet_hours until 2999-01-02T07:00:00Z" in workspace.ok("why", "x", "--at", "2999-01-01T23:00").out


CREATED = Event("routine.created", "x", {"at": "2026-11-18T12:00:00Z", "fingerprint": "f", "definition": {
    "name": "x", "timezone": "UTC", "triggers": [{"daily": "09:00"}], "action": {"command": ["true"]}}})  # fmt: skip


def claimed(day: int, run: str = "", **data: object) -> Event:
    slot = f"2026-11-{day}T09:00:00Z"
    return Event("run.claimed", "x", {**CLAIM.data, "at": slot, "slot": slot, "run": run or f"r{day}", **data})


def ended(day: int) -> Event:
    return Event("run.ended", "x", {"at": f"2026-11-{day}T09:01:00Z", "run": f"r{day}", "outcome": "succeeded"})


GOOD = [CREATED, claimed(19), ended(19), claimed(20), ended(20)]
BOUND = Event("routine.created", "x", {**CREATED.data, "definition": {**CREATED.data["definition"], "approval": "every_run"}})
GRANT = Event("approval.granted", "x", {"at": "2026-11-19T08:00:00Z", "by": "me", "content": "c1"})
AUDITS = [
    # name, events, findings
    ("all is well", GOOD, []),
    ("a slot without a verdict", [CREATED, claimed(20), ended(20)], ["x: 2026-11-19T09:00:00Z has no verdict"]),
    ("two verdicts of one slot", [*GOOD, skipped("overlap")], ["x: 2026-11-20T09:00:00Z has 2 verdicts"]),
    ("two runs of one slot", [*GOOD, claimed(20, "other")], ["x: 2026-11-20T09:00:00Z has 2 verdicts"]),
    ("one run claimed twice", [*GOOD, claimed(20)], ["x: 2026-11-20T09:00:00Z the run r20 was claimed twice", "x: 2026-11-20T09:00:00Z has 2 verdicts"]),
    ("an interval that covers a run", [*GOOD, Event("slot.missed", "x", {"at": SLOT, "after": "2026-11-18T12:00:00Z", "through": SLOT, "count": 2, "reason": "late"})],
     ["x: 2026-11-19T09:00:00Z has 2 verdicts", "x: 2026-11-20T09:00:00Z has 2 verdicts"]),
    ("a later attempt is no second verdict", [*GOOD[:-1], Event("run.retrying", "x", {"at": SLOT, "run": "r20", "attempt": 1, "next_attempt": 2, "outcome": "failed",
     "retry_at": SLOT}), claimed(20, attempt=2, slot=None), ended(20)], []),
    ("a held slot is not lost", [CREATED, claimed(19), ended(19), held("review")], []),
    ("a run without an approval", [BOUND, *GOOD[1:3], skipped("denied")], ["x: 2026-11-19T09:00:00Z the run r19 was started without an approval of its content"]),
    ("a run with one", [BOUND, GRANT, claimed(19, content="c1"), ended(19), skipped("denied")], []),
    ("of another content", [BOUND, GRANT, claimed(19, content="c2"), ended(19), skipped("denied")],
     ["x: 2026-11-19T09:00:00Z the run r19 was started without an approval of its content"]),
    ("used twice", [BOUND, GRANT, claimed(19, content="c1"), ended(19), claimed(20, content="c1"), ended(20)],
     ["x: 2026-11-20T09:00:00Z the run r20 was started without an approval of its content"]),
    ("a draft has no slots", [Event("routine.drafted", "x", {"at": "2026-11-18T11:00:00Z", "by": "agent"}), CREATED], []),
    ("slots in a pause wait for the resume", [*GOOD[:3], Event("routine.paused", "x", {"at": "2026-11-19T10:00:00Z"})], []),
    ("and a resume answers them", [*GOOD[:3], Event("routine.paused", "x", {"at": "2026-11-19T10:00:00Z"}), Event("routine.resumed", "x", {"at": SLOT})],
     ["x: 2026-11-20T09:00:00Z has no verdict"]),
    ("slots of a broken file wait for its mending", [*GOOD[:3], Event("routine.invalid", "x", {"at": "2026-11-19T10:00:00Z", "problems": []})], []),
    ("and no runs", [Event("routine.drafted", "x", {"at": "2026-11-18T11:00:00Z", "by": "agent"}), CREATED, claimed(19), ended(19)],
     ["x: 2026-11-19T09:00:00Z the run r19 was started although the routine was a draft"]),
]  # fmt: skip


@pytest.mark.parametrize(("events", "expected"), [pytest.param(*row[1:], id=row[0]) for row in AUDITS])
def test_the_audit_reads_events_alone(events, expected):
    numbered = [Event(event.type, event.subject, event.data, f"e{seq}", "2026-11-21T00:00:00Z", seq) for seq, event in enumerate(events, 1)]
    report = audit(numbered, NOW)

    assert [str(finding) for finding in report.findings] == expected


def test_without_a_serve_the_newest_slots_are_open_and_older_ones_are_not():
    numbered = [
        Event(event.type, event.subject, event.data, "e", SLOT, seq) for seq, event in enumerate([CREATED, claimed(19), ended(19)], 1)
    ]
    gap = [Event(event.type, event.subject, event.data, "e", SLOT, seq) for seq, event in enumerate([CREATED, claimed(20), ended(20)], 1)]

    assert audit(numbered, NOW, decided=False).findings == ()
    assert [str(item) for item in audit(numbered, NOW).findings] == ["x: 2026-11-20T09:00:00Z has no verdict"]
    assert [str(item) for item in audit(gap, NOW, decided=False).findings] == ["x: 2026-11-19T09:00:00Z has no verdict"]


def test_a_claim_without_an_end_is_told():
    events = [
        Event(event.type, event.subject, event.data, "e", SLOT, seq)
        for seq, event in enumerate([CREATED, claimed(19), ended(19), claimed(20)], 1)
    ]

    assert audit(events, NOW).open == (("x", "r20"),)


def test_a_removed_line_is_found_and_the_command_says_so(workspace):
    workspace.define("x", FILE)
    workspace.run("run-now", "x", "--wait", "--force")
    assert workspace.ok("audit").out == ""
    (path,) = (workspace.root / ".routinectl/journal").glob("*.jsonl")
    lines = path.read_bytes().splitlines(keepends=True)
    index = next(number for number, line in enumerate(lines) if decode(line).type == "run.claimed")
    path.write_bytes(b"".join(lines[:index] + lines[index + 1 :]))

    found = workspace.run("audit", "--json")
    assert found.code == 1
    assert "1 events are missing" in json.loads(found.out)["data"]["findings"][0]["message"]


def test_the_audit_begins_where_dropped_segments_ended(workspace):
    workspace.define("x", FILE)
    workspace.run("run-now", "x", "--wait", "--force")
    layout = Layout(workspace.root)
    from routinectl.engine.world import World

    world = World(layout)
    world.load()
    world.save(base=True)
    (layout.journal / "000001.jsonl").rename(layout.journal / "old")
    event = Event("serve.started", "", {"at": "2026-11-21T00:00:00Z"}, "e", "2026-11-21T00:00:00Z", world.journal.seq + 1)
    (layout.journal / "000002.jsonl").write_bytes(encode(event))

    assert workspace.run("audit", "x").code == 0
    assert workspace.run("audit", "nothing").code == 3
