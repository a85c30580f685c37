"""Triggers that are no time: another routine's end."""

from __future__ import annotations

import json

import pytest
from conftest import until

from routinectl.core import reaction

QUICK = "timeout: 1m\naction: {command: [echo, done]}\n"
FOLLOWS = "triggers: [{after: {routine: backup}}]\ntimeout: 1m\naction: {command: 'cat $ROUTINE_PAYLOAD; echo; echo $ROUTINE_TRIGGER'}\n"


def requests(workspace, name):
    return workspace.events("run.requested", name)


def test_a_routine_follows_the_end_of_another_one_once(workspace):
    workspace.define("backup", QUICK)
    workspace.define("report", FOLLOWS)
    with workspace.serving() as serving:
        run = workspace.ok("run-now", "backup", "--wait", "--json").data["run"]
        serving.wait_for("report  succeeded")

    (asked,) = requests(workspace, "report")
    assert asked["data"]["chain"] == {"origin": f"backup/{run}", "depth": 1}
    payload = asked["data"]["payload"]["after"]
    assert (payload["routine"], payload["run"], payload["outcome"], payload["message"]) == ("backup", run, "succeeded", "done")
    with open(payload["output"]) as file:
        assert file.read() == "done\n"
    (line,) = workspace.ok("history", "report", "--json").data
    assert (line["trigger"], line["reason"], line["message"]) == ("after backup", "triggered", "after")
    ended, requested = workspace.events("run.ended", "backup")[0], asked
    assert requested["seq"] == ended["seq"] + 1, "both are one write: a crash leaves both or none"


@pytest.mark.parametrize(
    ("outcome", "command", "follows"),
    [("succeeded", "exit 0", True), ("succeeded", "exit 1", False), ("failed", "exit 1", True), ("failed", "exit 0", False)],
)
def test_only_the_outcomes_that_are_named_count(workspace, outcome, command, follows):
    workspace.define("backup", f"timeout: 1m\naction: {{command: '{command}'}}\n")
    workspace.define("report", FOLLOWS.replace("backup}", f"backup, outcome: [{outcome}]}}"))
    workspace.run("run-now", "backup", "--wait")

    assert bool(requests(workspace, "report")) == follows


@pytest.mark.parametrize(
    ("before", "verdict"),
    [
        (["pause", "report"], "paused"),
        (["edit", "report", "--set", "start=2999-01-01"], "out_of_bounds"),
        (["edit", "report", "--set", "end=2000-01-01"], "out_of_bounds"),
        (["edit", "report", "--set", "max_runs=1"], "max_runs"),
    ],
)
def test_what_is_refused_is_on_record(workspace, before, verdict):
    workspace.define("backup", QUICK)
    workspace.define("report", FOLLOWS)
    if verdict == "max_runs":
        workspace.ok("run-now", "report", "--wait")
    workspace.ok(*before)
    workspace.ok("run-now", "backup", "--wait")

    (skipped,) = [event for event in workspace.events("slot.skipped", "report") if "request" in event["data"]]
    assert skipped["data"]["reason"] == verdict
    assert skipped["data"]["request"] == requests(workspace, "report")[-1]["data"]["request"]
    assert workspace.ok("why", "report").out.startswith(f"The request {skipped['data']['request']} was skipped")


@pytest.mark.parametrize("before", [["disable", "report"], ["rm", "report", "--yes"]])
def test_a_routine_that_is_switched_off_does_not_listen(workspace, before):
    workspace.define("backup", QUICK)
    workspace.define("report", FOLLOWS)
    workspace.ok(*before)
    workspace.ok("run-now", "backup", "--wait")

    assert requests(workspace, "report") == []


def test_a_test_run_or_a_replay_is_followed_by_nobody(workspace):
    workspace.define("backup", QUICK)
    workspace.define("report", FOLLOWS)
    workspace.ok("test-run", "backup")
    workspace.ok("run-now", "backup", "--wait")

    assert len(requests(workspace, "report")) == 1


def test_a_person_may_start_it_by_hand_while_it_is_paused(workspace):
    workspace.define("report", FOLLOWS)
    workspace.ok("pause", "report")
    workspace.ok("run-now", "report", "--wait")

    assert workspace.events("run.claimed", "report")[0]["data"]["trigger"] == "manual"


def test_a_loop_is_refused_with_its_links_and_its_place(workspace):
    workspace.define("b", FOLLOWS.replace("backup", "a"))
    workspace.define("c", FOLLOWS.replace("backup", "b"))
    workspace.define("a", FOLLOWS.replace("backup", "c"))
    result = workspace.run("validate", "a")

    assert result.code == 78
    assert "it would follow itself: a -> b -> c -> a (routines/a/ROUTINE.yaml:1:21)" in result.err + result.out
    assert workspace.run("edit", "b", "--set", 'triggers=[{"after":{"routine":"b"}}]').code == 78


def test_a_loop_is_mended_at_either_end(workspace):
    workspace.define("a", FOLLOWS.replace("backup", "b"))
    with workspace.serving():
        path = workspace.define("b", FOLLOWS.replace("backup", "a"))
        until(lambda: workspace.events("routine.invalid", "b"))
        workspace.define("a", QUICK)
        until(lambda: workspace.events("routine.created", "b"))
    assert path.read_text() == FOLLOWS.replace("backup", "a")


def test_a_chain_that_is_too_long_ends(workspace):
    workspace.define("r00", QUICK)
    for number in range(1, 13):
        workspace.define(f"r{number:02d}", FOLLOWS.replace("backup", f"r{number - 1:02d}"))
    with workspace.serving():
        workspace.ok("run-now", "r00")
        until(lambda: workspace.events("slot.skipped", "r11"))

    skipped = workspace.events("slot.skipped", "r11")[0]["data"]
    assert (skipped["reason"], skipped["origin"].partition("/")[0]) == ("chain", "r00")
    assert requests(workspace, "r10")[0]["data"]["chain"]["depth"] == 10
    assert requests(workspace, "r12") == []


def test_followers_are_found_after_a_checkpoint_too(workspace):
    workspace.define("backup", QUICK)
    workspace.define("report", FOLLOWS)
    with workspace.serving():
        workspace.ok("run-now", "backup", "--wait")
        until(lambda: len(workspace.events("run.ended", "report")) == 1)
    assert (workspace.root / ".routinectl/checkpoint").exists()
    workspace.ok("run-now", "backup", "--wait")

    assert len(requests(workspace, "report")) == 2


def test_the_words_of_a_list_and_of_show(workspace):
    workspace.define("report", FOLLOWS.replace("[{", "[{daily: '09:00'}, {"))

    assert workspace.ok("list", "--json").data[0]["schedule"] == "daily 09:00; after backup"
    assert workspace.ok("show", "report", "--json").data["words"].endswith("; and after backup succeeded")
    assert json.loads(workspace.ok("show", "report", "--json").out)["data"]["status"] == "active"


@pytest.mark.parametrize(
    ("edges", "start", "chain"),
    [
        ({"a": ["b"], "b": []}, "a", []),
        ({"a": ["a"]}, "a", ["a", "a"]),
        ({"a": ["b"], "b": ["a"]}, "a", ["a", "b", "a"]),
        ({"a": ["x", "b"], "b": ["y", "c"], "c": ["a"]}, "a", ["a", "c", "b", "a"]),
        ({"a": ["b"], "b": ["c"], "c": ["b"]}, "a", []),  # a loop of others is theirs
    ],
)
def test_loops(edges, start, chain):
    docs = {name: {"triggers": [{"after": {"routine": item}} for item in before]} for name, before in edges.items()}

    assert reaction.loop(start, docs[start], docs.get) == chain
