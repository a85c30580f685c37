"""The policies as a person meets them: real serves and commands, from definition to ledger."""

from __future__ import annotations

import json
import re
import subprocess
from datetime import UTC, datetime, timedelta

import pytest
from conftest import until

from routinectl.core import plan
from routinectl.files.layout import Layout
from routinectl.operations import feed, look
from routinectl.operations.overview import Overview
from routinectl.operations.session import Session
from routinectl.operations.timeline import timeline

BY_HAND = "name: {name}\n{more}action:\n  command: {command}\n"
FLAKY = "'test -e ../../again && exit 0; touch ../../again; exit 4'"


def by_hand(workspace, name: str, command: str, more: str = "") -> None:
    workspace.define(name, BY_HAND.format(name=name, command=command, more=more))


class TestRetries:
    def test_a_failed_attempt_is_followed_by_another_under_the_same_run(self, workspace):
        by_hand(workspace, "flaky", FLAKY, "retry: {attempts: 3, delay: 1s}\n")
        with workspace.serving():
            done = workspace.ok("run-now", "flaky", "--wait", "--json").data
        lines = workspace.ok("history", "flaky", "--json").data

        assert done["line"]["outcome"] == "succeeded"
        assert [(line["run"], line["attempt"], line["outcome"], line["exit_code"]) for line in lines] == [
            (done["run"], 1, "failed", 4),
            (done["run"], 2, "succeeded", 0),
        ]
        assert "attempt 2 follows" in lines[0]["detail"]

    def test_a_command_without_a_serve_does_it_too(self, workspace):
        by_hand(workspace, "flaky", FLAKY, "retry: {attempts: 2, delay: 0s}\n")

        assert workspace.run("run-now", "flaky", "--wait").code == 0
        assert workspace.ok("show", "flaky", "--json").data["run_count"] == 1

    def test_a_waiting_retry_is_shown_and_survives_a_restart(self, workspace):
        by_hand(workspace, "flaky", FLAKY, "retry: {attempts: 2, delay: 3s}\n")
        with workspace.serving() as serving:
            workspace.ok("run-now", "flaky")
            serving.wait_for("failed")
            (waiting,) = workspace.ok("status", "--running", "--json").data
        assert waiting["attempt"] == 2
        assert waiting["retry_at"]
        with workspace.serving() as serving:
            serving.wait_for("succeeded")
        assert [event["data"].get("attempt", 1) for event in workspace.events("run.claimed")] == [1, 2]

    def test_the_last_attempt_is_final(self, workspace):
        by_hand(workspace, "bad", "'echo no luck; exit 3'", "retry: {attempts: 2, delay: 0s}\n")

        assert workspace.run("run-now", "bad", "--wait").code == 3
        assert [line["outcome"] for line in workspace.ok("history", "bad", "--json").data] == ["failed", "failed"]
        assert workspace.ok("show", "bad", "--json").data["consecutive_failures"] == 1
        assert "no luck" in workspace.ok("logs", "bad").out

    def test_a_cancelled_wait_ends_it(self, workspace):
        by_hand(workspace, "bad", "'exit 3'", "retry: {attempts: 2, delay: 10m}\n")
        with workspace.serving() as serving:
            workspace.ok("run-now", "bad")
            serving.wait_for("failed")
            workspace.ok("cancel", "bad")
            serving.wait_for("cancelled")
        assert [line["outcome"] for line in workspace.ok("history", "bad", "--json").data] == ["failed", "cancelled"]


def test_queue_one_and_replace_wait_for_the_run_before(workspace):
    by_hand(workspace, "queue", "'until test -e ../../go; do sleep 0.05; done'", "concurrency: {policy: queue_one}\n")
    by_hand(workspace, "swap", "'sleep 30'", "concurrency: {policy: replace}\nkill_grace: 1s\n")
    with workspace.serving():
        for name in ("queue", "swap"):
            workspace.ok("run-now", name)
        until(lambda: len(workspace.ok("status", "--running", "--json").data) == 2)
        workspace.ok("run-now", "queue")
        until(lambda: [event["data"]["reason"] for event in workspace.events("slot.held", "queue")] == ["queue"])
        (workspace.root / "go").touch()
        until(lambda: [line["outcome"] for line in workspace.ok("history", "queue", "--json").data] == ["succeeded"] * 2)
        second = workspace.ok("run-now", "swap", "--json").data["run"]
        until(lambda: [run["run"] for run in workspace.ok("status", "--running", "--json").data if run["id"] == "swap"] == [second])
        workspace.ok("cancel", "swap")
    first = workspace.ok("history", "swap", "--json").data[0]
    assert (first["outcome"], first["run"] != second) == ("cancelled", True)


def test_failures_in_a_row_pause_a_routine_and_a_resume_forgives_them(workspace):
    by_hand(workspace, "bad", "'exit 1'", "pause_after_failures: 2\n")
    with workspace.serving():
        for _ in range(2):
            workspace.run("run-now", "bad", "--wait")
        until(lambda: workspace.ok("show", "bad", "--json").data["status"] == "paused")
        assert "2 failures in a row" in workspace.ok("show", "bad", "--json").data["reason"]
        workspace.ok("resume", "bad")
        workspace.run("run-now", "bad", "--wait")
        assert workspace.ok("show", "bad", "--json").data["status"] == "active"


def test_a_pool_lets_one_run_at_a_time_and_drops_none(workspace):
    workspace.configure("limits: {pools: {disk: 1}}")
    for name in ("a", "b", "c"):
        by_hand(workspace, name, "'echo in >> ../../trail; sleep 0.3; echo out >> ../../trail'", "pool: disk\n")
    with workspace.serving() as serving:
        for name in ("a", "b", "c"):
            workspace.ok("run-now", name)
        serving.wait_for("succeeded", 3)
    assert (workspace.root / "trail").read_text().split() == ["in", "out"] * 3


def test_limits_refuse_a_run_with_the_figure(workspace):
    by_hand(workspace, "daily", "'true'", "budget: {per_day: {runs: 1}}\n")

    assert workspace.run("run-now", "daily", "--wait").code == 0
    refused = workspace.run("run-now", "daily", "--wait", "--force")
    assert (refused.code, "used up" in refused.err) == (77, True)
    assert workspace.events("slot.skipped")[0]["data"]["value"] == 1


def test_quiet_hours_hold_a_request_and_force_passes(workspace):
    by_hand(workspace, "loud", "'true'", 'quiet_hours: {start: "00:00", end: "23:59"}\n')

    held = workspace.run("run-now", "loud")
    if "it waits" not in held.err:
        pytest.skip("it is the one minute of the day that is not quiet")
    assert "quiet" in held.err
    assert workspace.run("run-now", "loud", "--wait", "--force").code == 0


def test_a_retry_that_finds_no_place_waits_for_one(workspace):
    workspace.configure("limits: {max_concurrent_runs: 1}")
    by_hand(workspace, "flaky", FLAKY, "retry: {attempts: 2, delay: 3s}\n")
    by_hand(workspace, "long", "'until test -e ../../go; do sleep 0.05; done'")
    with workspace.serving() as serving:
        workspace.ok("run-now", "flaky")
        serving.wait_for("failed")
        workspace.ok("run-now", "long")
        until(lambda: [run["id"] for run in workspace.ok("status", "--running", "--json").data if run.get("retry_at") is None] == ["long"])
        due = next(iter(workspace.events("run.retrying")))["data"]["retry_at"]
        assert until(lambda: datetime.now(UTC) > datetime.fromisoformat(due))
        assert len(workspace.events("run.claimed")) == 2, "the retry is due, and there is no place"
        (workspace.root / "go").touch()
        serving.wait_for("succeeded", 2)


class TestApprovals:
    def test_a_run_waits_for_a_person_and_any_changed_byte_asks_again(self, workspace):
        by_hand(workspace, "ship", "[./ship.sh]", "approval: before_first_run\n")
        script = workspace.root / "routines/ship/ship.sh"
        script.write_text("#!/bin/sh\necho shipped\n")
        script.chmod(0o755)
        with workspace.serving() as serving:
            asked = workspace.run("run-now", "ship", "--json").data["run"]
            until(lambda: workspace.ok("approvals", "--json").data)
            (item,) = workspace.ok("approvals", "--json").data
            assert (item["id"], item["what"], item["holds"]) == ("ship", "before_first_run", [asked])
            assert workspace.ok("show", "ship", "--json").data["status"] == "pending_approval"

            workspace.ok("approve", "ship", "--note", "read it")
            serving.wait_for("succeeded")
            assert workspace.run("run-now", "ship", "--wait").code == 0, "the same content needs no second yes"

            script.write_text("#!/bin/sh\necho shipped!\n")
            assert workspace.run("run-now", "ship").code == 0
            until(lambda: workspace.ok("approvals", "--json").data)
            workspace.ok("deny", "ship")
            until(lambda: not workspace.ok("approvals", "--json").data)
        assert len(workspace.events("run.claimed")) == 2
        assert [event["data"]["reason"] for event in workspace.events("slot.skipped")] == ["denied"]
        assert workspace.run("approve", "ship", "--json").data["mode"] == "before_first_run"

    @pytest.mark.parametrize("command", ["[../../shared/ship.sh]", "'../../shared/ship.sh --now'", "[sh, ../../shared/ship.sh]"])
    def test_a_script_elsewhere_that_the_action_names_is_bound_too(self, workspace, command):
        by_hand(workspace, "ship", command, "approval: before_first_run\n")
        script = workspace.root / "shared/ship.sh"
        script.parent.mkdir()
        script.write_text("#!/bin/sh\necho shipped\n")
        script.chmod(0o755)
        workspace.ok("approve", "ship")
        assert workspace.run("run-now", "ship", "--wait").code == 0

        script.write_text("#!/bin/sh\necho shipped!\n")
        assert workspace.run("run-now", "ship").code == 77

    def test_before_enable_asks_at_once(self, workspace):
        by_hand(workspace, "new", "'true'", "approval: before_enable\n")
        with workspace.serving():
            until(lambda: workspace.ok("show", "new", "--json").data["status"] == "pending_approval")
            workspace.ok("approve", "new")
            assert until(lambda: workspace.ok("show", "new", "--json").data["status"] == "active")

    def test_what_did_not_come_through_routinectl_is_asked_about(self, workspace):
        workspace.configure("trust: approve-changes")
        workspace.ok("add", "Mine", "--manual", "--", "true")
        by_hand(workspace, "pulled", "'true'")

        assert workspace.run("run-now", "mine", "--wait").code == 0
        assert workspace.run("run-now", "pulled").code == 77
        (item,) = workspace.ok("approvals", "--json").data
        assert (item["id"], item["what"]) == ("pulled", "before_enable")

    def test_an_agent_makes_drafts_and_approves_nothing(self, workspace, command_line):
        by_hand(workspace, "agent", f"'{command_line} add Spawned --manual -- true; {command_line} approve spawned; echo code $?'")
        with workspace.serving():
            assert workspace.run("run-now", "agent", "--wait").code == 0
            assert workspace.ok("show", "spawned", "--json").data["status"] == "draft"
            assert "code 77" in workspace.ok("logs", "agent").out
            assert workspace.run("run-now", "spawned", "--wait", "--force").code == 77
            workspace.ok("approve", "spawned")
            assert workspace.run("run-now", "spawned", "--wait").code == 0

    def test_a_run_asks_for_no_more_than_it_has(self, workspace, command_line):
        wider = f"{command_line} add Wider --manual -- true; echo code $?"
        narrow = f"printf 'budget: {{cpu: 30s}}\\naction: {{command: [id]}}\\n' | {command_line} add --from - --id narrow; echo code $?"
        by_hand(workspace, "agent", json.dumps(f"{wider}; {narrow}"), "budget: {cpu: 60s}\n")
        assert workspace.run("run-now", "agent", "--wait").code == 0

        said = workspace.ok("logs", "agent").out
        assert "agent has budget.cpu: 1m" in said
        assert re.findall(r"code \d+", said) == ["code 77", "code 0"]
        assert [item["id"] for item in workspace.ok("list", "--json").data] == ["agent", "narrow"]

    @pytest.mark.parametrize("verb", ["approve", "deny"])
    def test_where_nothing_waits_that_is_said(self, workspace, verb):
        by_hand(workspace, "plain", "'true'")

        assert workspace.run(verb, "plain").code == 3


def test_a_broken_promise_is_told_once_and_so_is_its_end(workspace):
    by_hand(workspace, "fresh", "'true'", "sla: {success_within: 1s}\n")
    with workspace.serving():
        until(lambda: workspace.ok("show", "fresh", "--json").data["overdue"])
        assert workspace.ok("show", "fresh", "--json").data["badges"] == ["OVERDUE"]
        workspace.ok("run-now", "fresh", "--wait")
        until(lambda: len(workspace.events("sla.recovered")) == 1)
    assert json.dumps(workspace.events("sla.breached")[0]["data"]).count("success_within") == 1


EXPECTATIONS = [
    # name, command, expectation, outcome, message
    ("a code that is called good", "'exit 24'", "exit_codes: [0, 24]", "succeeded", ""),
    ("a code that is not", "'exit 1'", "exit_codes: [0, 24]", "failed", "exit code 1, expected 0 or 24"),
    (
        "a backup of zero bytes",
        "': > b.tar'",
        "file: {path: b.tar, min_size: 1B}",
        "failed",
        "the file b.tar has 0 bytes, expected are at least 1",
    ),
    ("a file that was not made", "'true'", "file: {path: b.tar}", "failed", "the file b.tar is not there"),
    ("a file of before", "'touch -d 2020-01-01 b.tar'", "file: {path: b.tar, newer_than: start}", "failed", "before the start"),
    ("a file that is new", "'echo x > b.tar'", "file: {path: b.tar, newer_than: slot, min_size: 2B}", "succeeded", ""),
    ("a word that must come", "'echo half'", "output: /complete$/", "failed", "nothing in the output matches /complete$/"),
    ("a word that comes", "'echo complete; echo bye'", "output: /complete$/", "succeeded", "bye"),
    ("a word that must not come", "'echo a WARNING b'", "output_not: 'WARN\\w+'", "failed", "the output has 'WARNING'"),
    ("a run that took too long", "'sleep 0.3'", "duration: '< 0s'", "failed", "expected is < 0s"),
    ("a judge that says no", "'true'", "command: 'echo too thin; exit 9'", "failed", "exited with 9: too thin"),
    ("a judge that says yes", "'echo fine'", "command: [test, -d, /]", "succeeded", "fine"),
    ("a judge that hangs", "'true'", "command: {run: 'exec sleep 60', timeout: 1s}", "failed", "ended by signal 9"),
    ("a judge is not asked after a failure", "'exit 2'", "command: 'touch ../../asked'", "failed", "exit code 2, expected 0"),
    (
        "a pattern that takes for ever",
        "'printf aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaX'",
        "output: '(a+)+$'",
        "failed",
        "took longer than",
    ),
]


@pytest.mark.parametrize(("command", "expectation", "outcome", "message"), [pytest.param(*row[1:], id=row[0]) for row in EXPECTATIONS])
def test_expectations_judge_more_than_the_exit_code(workspace, command, expectation, outcome, message):
    by_hand(workspace, "x", command, f"expect: {{{expectation}}}\n")
    line = workspace.run("run-now", "x", "--wait", "--json").data["line"]

    assert (line["outcome"], line["detail"]) == (outcome, "expectation" if outcome == "failed" else None)
    assert message in (line["message"] or "")
    assert not (workspace.root / "asked").exists()


ICS = """BEGIN:VCALENDAR
VERSION:2.0
PRODID:-//tests//EN
BEGIN:VEVENT
UID:1
DTSTART;VALUE=DATE:20260601
DTEND;VALUE=DATE:20260603
SUMMARY:Works outing
END:VEVENT
BEGIN:VEVENT
UID:2
DTSTART;VALUE=DATE:20200704
RRULE:FREQ=YEARLY
SUMMARY:Founders' day
END:VEVENT
BEGIN:VEVENT
UID:3
DTSTART:20260810T220000Z
DTEND:20260811T020000Z
SUMMARY:Night shift
END:VEVENT
END:VCALENDAR
"""


class TestCalendars:
    def test_holidays_and_events_are_resolved_and_previewed(self, workspace):
        pytest.importorskip("holidays")
        (workspace.root / "calendars").mkdir()
        (workspace.root / "calendars/company.ics").write_text(ICS)
        workspace.define(
            "report", "timezone: Europe/Berlin\ntriggers: [{daily: '09:00'}]\naction: {command: ['true']}\n"
            "calendar: {exclude: [{holidays: DE-BE}, {ics: calendars/company.ics}], on_excluded: next_day}\n")  # fmt: skip
        doc = workspace.ok("show", "report", "--json").data["definition"]
        days = doc["calendar"]["resolved"]["exclude"]

        assert "DE-BE" in days["2027-03-08"], "women's day is a holiday in Berlin only"
        assert days["2026-06-01"] == days["2026-06-02"] == "Works outing (calendars/company.ics)"
        assert {"2027-07-04", "2026-08-10", "2026-08-11"} <= days.keys()
        assert "2026-06-03" not in days
        found = workspace.ok("preview", "report", "--after", "2027-03-07T12:00", "--count", "2", "--json").data
        assert found["next"][0] == "2027-03-09T09:00:00+01:00"
        assert found["moved"][0] == {"slot": "2027-03-08T08:00:00Z", "to": "2027-03-09T08:00:00Z", "why": days["2027-03-08"]}

    def test_a_changed_calendar_is_a_changed_schedule(self, workspace):
        pytest.importorskip("icalendar")
        workspace.define("x", "triggers: [{daily: '09:00'}]\naction: {command: ['true']}\ncalendar: {exclude: [{ics: days.ics}]}\n")
        path = workspace.root / "routines/x/days.ics"
        path.write_text(ICS)
        before = workspace.ok("show", "x", "--json").data["fingerprint"]
        path.write_text(ICS.replace("20260601", "20260501"))

        after = workspace.ok("show", "x", "--json").data
        assert after["fingerprint"] != before
        assert "2026-05-01" in after["definition"]["calendar"]["resolved"]["exclude"]

    def test_a_write_tells_moved_fires_too(self, workspace):
        calendar = '{"exclude": [{"weekends": true}], "on_excluded": "previous_day"}'
        made = workspace.ok("add", "Payday", "--cron", "0 9 * * SUN", "--set", f"calendar={calendar}", "--json", "--", "true").data

        assert [datetime.fromisoformat(text).weekday() for text in made["next"]] == [4, 4, 4]

    def test_what_is_no_calendar_is_said(self, workspace):
        pytest.importorskip("icalendar")
        path = workspace.define("x", "triggers: [{daily: '09:00'}]\naction: {command: ['true']}\ncalendar: {exclude: [{ics: days.ics}]}\n")
        (path.parent / "days.ics").write_text("BEGIN:VCALENDAR\nnonsense\n")

        assert "no calendar that can be read" in workspace.run("validate").out + workspace.run("validate").err


class TestAgain:
    def test_a_backfill_makes_up_for_each_slot_once_and_never_for_one_that_ran(self, workspace):
        workspace.define("report", "triggers: [{daily: '00:00'}]\naction: {command: 'echo $ROUTINE_SLOT >> ../../slots'}\n")
        span = ["--from", "2026-11-01", "--to", "2026-11-04T12:00"]
        assert len(workspace.ok("backfill", "report", *span, "--dry-run", "--json").data["slots"]) == 4
        with workspace.serving() as serving:
            workspace.ok("backfill", "report", *span, "--limit", "3")
            serving.wait_for("succeeded", 3)
            assert workspace.ok("backfill", "report", *span, "--json").data["slots"] == ["2026-11-04T00:00:00Z"]
            serving.wait_for("succeeded", 4)
            assert workspace.ok("backfill", "report", *span, "--json").data["slots"] == []
        assert (workspace.root / "slots").read_text().split() == [f"2026-11-0{day}T00:00:00Z" for day in (1, 2, 3, 4)]
        assert {line["mode"] for line in workspace.ok("history", "report", "--json").data} == {"backfill"}
        assert workspace.run("audit").code == 0
        assert workspace.run("backfill", "report", "--from", "2999-01-01").code == 2

    def test_a_replay_has_the_payload_of_the_run(self, workspace):
        by_hand(workspace, "x", "'cat $ROUTINE_PAYLOAD'")
        first = workspace.run("run-now", "x", "--wait", "--payload", '{"day": 7}', "--json").data["run"]
        again = workspace.ok("replay", first, "--json").data["run"]
        until(lambda: any(line["run"] == again for line in workspace.ok("history", "x", "--json").data))

        assert '"day": 7' in workspace.ok("logs", "x", again).out
        line = workspace.ok("history", "x", "--json").data[-1]
        assert (line["mode"], line["outcome"]) == ("replay", "succeeded")
        assert workspace.run("replay", "nothing").code == 3

    def test_a_replay_at_its_commit_has_the_files_of_then(self, workspace):
        def git(*words: str) -> None:
            subprocess.run(
                ["git", "-c", "user.name=t", "-c", "user.email=t@t.invalid", *words], cwd=workspace.root, check=True, capture_output=True
            )

        by_hand(workspace, "x", "[./say.sh]")
        script = workspace.root / "routines/x/say.sh"
        script.write_text("#!/bin/sh\necho as it was\n")
        script.chmod(0o755)
        (workspace.root / ".gitignore").write_text(".routinectl/\n")
        git("init", "-q")
        git("add", "-A")
        git("commit", "-qm", "one")
        first = workspace.run("run-now", "x", "--wait", "--json").data["run"]
        script.write_text("#!/bin/sh\necho as it is\n")
        with workspace.serving() as serving:
            again = workspace.ok("replay", first, "--at-commit", "--json").data["run"]
            serving.wait_for("succeeded")
            assert workspace.ok("logs", "x", again).out == "as it was\n"
            workspace.ok("run-now", "x", "--wait")
        assert workspace.ok("logs", "x").out == "as it is\n"

    def test_a_test_run_counts_for_nothing(self, workspace):
        by_hand(workspace, "bad", "'echo oh; exit 5'", "pause_after_failures: 1\n")
        tried = workspace.run("test-run", "bad")

        assert (tried.code, "oh" in tried.out) == (5, True)
        shown = workspace.ok("show", "bad", "--json").data
        assert (shown["run_count"], shown["consecutive_failures"], shown["status"]) == (0, 0, "active")


class TestTemplates:
    def test_a_template_becomes_a_routine_that_is_disabled_for_review(self, workspace):
        listed = workspace.ok("templates", "list", "--json").data
        assert len(listed) >= 8
        assert all(row["description"] for row in listed)
        workspace.ok(
            "add",
            "Repository copy",
            "--template",
            "backup-git",
            "--set",
            "REPOSITORY=/srv/app.git",
            "--set",
            "timeout=5m",
            "--daily",
            "04:00",
        )

        doc = workspace.ok("show", "repository-copy", "--json").data["definition"]
        assert (doc["enabled"], doc["timeout"], doc["triggers"]) == (False, "5m", [{"daily": "04:00"}])
        assert doc["action"]["env"]["REPOSITORY"] == "/srv/app.git"
        assert (workspace.root / "routines/repository-copy/backup.sh").stat().st_mode & 0o100
        assert "# read from the routine's folder" in (workspace.root / "routines/repository-copy/ROUTINE.yaml").read_text()

    def test_every_template_can_be_made_and_shown(self, workspace):
        workspace.configure("models: {default: {provider: openai, model: tiny}}")
        for row in workspace.ok("templates", "list", "--json").data:
            workspace.ok("add", "--template", row["template"])
            assert "action:" in workspace.ok("templates", "show", row["template"]).out
        assert workspace.ok("validate").code == 0

    def test_the_workspace_has_its_own(self, workspace):
        folder = workspace.root / "templates/mine"
        folder.mkdir(parents=True)
        (folder / "ROUTINE.yaml").write_text("name: Mine\ndescription: ours\naction: {command: ['true'], env: {A: b}}\n")
        workspace.ok("add", "--template", "mine", "--set", "A=c")

        assert workspace.ok("show", "mine", "--json").data["definition"]["action"]["env"] == {"A": "c"}

    def test_what_cannot_be_is_said_and_nothing_is_left(self, workspace):
        assert workspace.run("add", "--template", "nothing").code == 3
        assert workspace.run("add", "--template", "backup-git", "--set", "nonsense=1").code == 78
        assert list((workspace.root / "routines").iterdir()) == []


def test_policies_by_option(workspace):
    workspace.ok("add", "A", "--daily", "09:00", "--quiet-hours", "night", "--ask-first", "--", "true")
    doc = workspace.ok("show", "a", "--json").data["definition"]

    assert (doc["quiet_hours"], doc["approval"]) == ({"start": "22:00", "end": "07:00"}, "before_first_run")
    assert workspace.run("add", "B", "--daily", "09:00", "--quiet-hours", "late", "--", "true").code == 2
    assert workspace.run("add", "B", "--daily", "09:00", "--approval", "often", "--", "true").code == 78


def test_status_names_what_needs_a_person_with_the_command(workspace):
    by_hand(workspace, "ask", "'true'", "approval: every_run\n")
    workspace.define("bad", "nonsense: 1\n")
    workspace.run("run-now", "ask")

    assert {item["kind"]: item["command"] for item in workspace.ok("status", "--json").data["health"]} == {
        "approval": "routinectl approvals", "broken": "routinectl validate",
    }  # fmt: skip
    assert "1 routines wait for an approval: routinectl approvals" in workspace.ok("status").out


def test_maintenance_is_done_beside_the_loop_and_told(workspace, monkeypatch):
    from routinectl.core.settings import Maintenance
    from routinectl.engine import maintain
    from routinectl.files.layout import Layout

    by_hand(workspace, "x", "'head -c 9000 /dev/zero > $ROUTINE_MEMORY/m'")
    workspace.configure("maintenance: {memory: 4KiB, audit: daily}")
    workspace.run("run-now", "x", "--wait")
    monkeypatch.setattr(maintain, "_FIRST", 0.0)
    maintainer = maintain.Maintainer(Layout(workspace.root))
    wanted = Maintenance(memory=4096)

    maintainer.consider(wanted, 1.0)
    assert maintainer.helper is None, "something is due soon"
    maintainer.consider(wanted, 60.0)
    event = until(lambda: maintainer.finish(datetime.now(UTC)))
    assert (event.type, event.data["audit"], event.data["retention"], list(event.data["memory"])) == ("maintenance.done", [], 0, ["x"])
    maintainer.consider(wanted, 60.0)
    assert maintainer.helper is None, "once a day"


def test_two_routines_of_one_name_and_owner_are_refused_by_name(workspace):
    workspace.ok("add", "Backup", "--manual", "--", "true")
    again = workspace.run("add", "Backup", "--id", "other", "--manual", "--", "true")

    assert (again.code, "named 'Backup' already: backup" in again.err) == (2, True)
    assert workspace.run("add", "Events", "--manual", "--", "true").code == 2


class TestMaxRuns:
    def test_used_up_it_is_completed_on_every_face_and_an_edit_that_allows_more_makes_it_active(self, workspace):
        workspace.define("twice", "triggers: [{every: 1s}]\nmax_runs: 2\ntimeout: 1m\naction: {command: 'true'}\n")
        with workspace.serving() as serving:
            serving.wait_for("succeeded", 2)
            until(lambda: fires(workspace)["status"] == "completed")
            since = datetime.now(UTC)
            until(lambda: datetime.now(UTC) - since > timedelta(seconds=2.5))  # slots that are none any more
            state = until(lambda: projected(workspace, "completed"))
            shown = fires(workspace)
        refused = [line for line in workspace.ok("history", "twice", "--json").data if line["reason"] == "max_runs"]

        assert shown == {"status": "completed", "show": [], "next": [], "timeline": 0, "feed": 0, "plan": 0, "overview": None}
        assert state["next_fire_at"] is None
        assert "max_runs" in state["reason"]
        assert refused == []
        assert workspace.ok("list", "--status", "completed", "--json").data[0]["next_fire_at"] is None
        assert workspace.ok("audit").code == 0
        why = workspace.run("why", "twice", "--at", "2035-01-01T00:00:00Z")
        assert (why.code, "max_runs" in why.err, "--set max_runs=3" in why.err) == (1, True, True)

        assert "completed" in workspace.ok("edit", "twice", "--set", "timeout=2m").err
        said = workspace.ok("edit", "twice", "--set", "max_runs=3")
        assert said.err.count("next: ") == 1
        with workspace.serving() as serving:
            serving.wait_for("succeeded", 1)
        missed = [line for line in workspace.ok("history", "twice", "--json").data if line["verdict"] == "missed"]

        assert fires(workspace)["status"] == "completed"
        assert workspace.ok("show", "twice", "--json").data["run_count"] == 3
        assert all(line["count"] is None or line["count"] < 5 for line in missed), "nothing is missed of when it was completed"
        assert workspace.ok("audit").code == 0

    def test_an_event_completes_it_too(self, workspace):
        workspace.define("hook", "triggers: [{message: {channel: c, pattern: x}}]\nmax_runs: 1\ntimeout: 1m\naction: {command: 'true'}\n")
        workspace.ok("run-now", "hook", "--wait")

        assert [row["status"] for row in workspace.ok("list", "--json").data] == ["completed"]
        assert workspace.run("run-now", "hook").code == 77


def projected(workspace, status: str):
    state = json.loads((workspace.root / "routines/twice/state.json").read_text())
    return state if state["status"] == status else None


def fires(workspace) -> dict:
    """Return what every list of next fires says of the routine `twice`."""
    with Session(Layout(workspace.root)) as session:
        now = session.now
        found = timeline(session, ["twice"], now, now + timedelta(hours=1), 10)
        (row,) = Overview(session).rows()
        doc = session.standing("twice").doc
        return {
            "status": row["status"], "overview": row["next_fire_at"], "show": look.show(session, "twice")["next"],
            "next": look.status(session)["next"], "feed": feed.calendar(session, ["twice"], 1).count(b"BEGIN:VEVENT"),
            "timeline": sum(kind == "planned" for _, kind, _ in found["rows"][0]["marks"]),
            "plan": plan.plan({}, {"twice": doc}, now, {"twice": session.standing("twice").run_count})[0].fires_after,
        }  # fmt: skip
