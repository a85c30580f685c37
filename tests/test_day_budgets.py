"""P11 for what any run uses: CPU time, time and output of a day, reserved before a run and settled after it."""

from __future__ import annotations

import json

import pytest
from conftest import until

from routinectl.core import budget
from routinectl.core.event import Event
from routinectl.core.standing import Standing


def routine(workspace, command: str, caps: str, more: str = "") -> None:
    workspace.define("x", f"kill_grace: 0s\n{more}budget: {{{caps}}}\naction: {{command: {json.dumps(command)}}}\n")


def ends(workspace) -> list[tuple[str, str]]:
    return [(event["data"]["outcome"], event["data"].get("detail", "")) for event in workspace.events("run.ended")]


ROWS = [
    # name, command, caps, how the runs end that may begin
    ("time", "sleep 3", "per_day: {wall: 5s}", [("succeeded", ""), ("over_budget", "budget.per_day.wall")]),
    ("CPU time", "while :; do :; done", "per_day: {cpu: 1s, approximate: true}", [("over_budget", "budget.per_day.cpu")]),
    (
        "CPU time, where a run's own cap is less",
        "while :; do :; done",
        "cpu: 1s, per_day: {cpu: 1s, approximate: true}",
        [("over_budget", "budget.cpu")],
    ),
    ("output", "head -c 9000 /dev/zero", "per_day: {output: 1KiB}", [("succeeded", "")]),
]


@pytest.mark.parametrize(("command", "caps", "wanted"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_a_day_is_used_up_and_no_more(workspace, command, caps, wanted):
    routine(workspace, command, caps)
    for _ in wanted:
        workspace.run("run-now", "x", "--wait")
    refused = workspace.run("run-now", "x", "--wait")

    assert ends(workspace) == wanted
    assert refused.code == 77
    assert "used up (budget.per_day)" in refused.err
    why = workspace.ok("why", "x").out
    assert "budget.per_day." in why
    assert "ROUTINE.yaml:" in why


def test_runs_that_race_share_what_is_left(workspace):
    routine(workspace, "sleep 3", "per_day: {wall: 20s}", "timeout: 8s\nconcurrency: {policy: allow, max: 8}\n")
    with workspace.serving():
        for _ in range(3):
            workspace.ok("run-now", "x")
        until(lambda: len(workspace.events("run.claimed")) == 3)
        rows = workspace.ok("budget", "--json").data
        refused = workspace.run("run-now", "x", "--wait")
        until(lambda: len(workspace.events("run.ended")) == 3)
    after = workspace.ok("budget", "--json").data

    assert [event["data"]["reserved"] for event in workspace.events("run.claimed")] == [{"wall": 8.0}, {"wall": 8.0}, {"wall": 4.0}]
    assert [(row["what"], row["reserved"], row["words"]["cap"]) for row in rows] == [("wall", 20.0, "20s")]
    assert refused.code == 77
    assert after[0]["reserved"] == 0
    assert 9 <= after[0]["used"] <= 12
    assert "[" in workspace.ok("budget").out


def test_notices_have_a_row_too(workspace):
    routine(workspace, "true", "per_day: {notices: 3, runs: 2}")
    workspace.run("run-now", "x", "--wait")

    assert [(row["what"], row["words"]["used"], row["cap"]) for row in workspace.ok("budget", "--json").data] == [
        ("runs", "1", 2),
        ("notices", "0", 3),
    ]


def test_a_wrong_cap_is_told_with_its_place(workspace):
    routine(workspace, "true", "per_day: {cpu: 5, wall: 0s, output: many}")
    found = workspace.run("validate", "x")

    assert found.code != 0
    assert "ROUTINE.yaml:2:" in found.err + found.out


@pytest.mark.parametrize(("data", "used"), [
    ({"outcome": "succeeded", "started_at": "2026-03-02T10:00:01Z", "cpu_seconds": 0.25, "output_bytes": 4096}, {"wall": 9.0, "cpu": 0.25, "output": 4096.0}),
    ({"outcome": "not_started"}, {"wall": 0.0, "cpu": 0.0, "output": 0.0}),
    ({"outcome": "interrupted"}, {"wall": 60.0, "cpu": 5.0, "output": 8192.0}),
], ids=["as it was", "nothing of it ran", "nobody knows: all it had reserved"])  # fmt: skip
def test_what_an_end_settles(data, used):
    standing = Standing("x")
    claim = {"run": "r1", "at": "2026-03-02T10:00:00Z", "due": "2026-03-02T10:00:00Z", "lease": 0, "reason": "on_time", "timeout": 60, "kill_grace": 1,
             "day": "2026-03-02", "reserved": {"wall": 60.0, "cpu": 5.0, "output": 8192.0}}  # fmt: skip
    standing.fold(Event("run.claimed", "x", claim))
    assert standing.worked_on("2026-03-02") == claim["reserved"]
    standing.fold(Event("run.ended", "x", {"run": "r1", "at": "2026-03-02T10:00:10Z", **data}))

    assert standing.worked_on("2026-03-02") == used
    assert standing.reserved_by("r1") == {}


def test_what_is_reserved_is_never_more_than_is_left():
    assert budget.reservation({"cpu": 10.0}, {}, {}) == {"cpu": 10.0}
    assert budget.reservation({"cpu": 10.0}, {"cpu": 3.0}, {"cpu": 8.0}) == {"cpu": 2.0}
    assert budget.reservation({"cpu": 10.0}, {"cpu": 3.0}, {"cpu": 11.0}) == {"cpu": 0.0}


@pytest.mark.parametrize(("what", "amount", "text"), [
    ("cpu", 0.04, "0.0s"), ("wall", 95, "1m35s"), ("output", 1536, "1.5 KiB"), ("output", 0, "0 B"), ("tokens", 12345.6, "12,346"),
    ("cost_usd", 0.12345, "0.1235"), ("cost_usd", 2, "2"), ("runs", 3, "3"),
])  # fmt: skip
def test_amounts_in_words(what, amount, text):
    assert budget.words(what, amount) == text
