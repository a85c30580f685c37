"""The commands, as a person types them: what they print, what they write, how they refuse."""

from __future__ import annotations

import json
import stat
import time
from datetime import datetime

import pytest
from conftest import ECHO, Workspace, clean_environment, until

DAILY = "triggers: [{daily: '09:00'}]\ntimeout: 5m\naction: {command: [echo, hi]}\n"


def definition(workspace: Workspace, name: str) -> str:
    return (workspace.root / "routines" / name / "ROUTINE.yaml").read_text()


class TestInit:
    def test_it_makes_a_workspace_that_can_be_used_at_once(self, tmp_path):
        fresh = Workspace(tmp_path, clean_environment(tmp_path))
        fresh.ok("init", "w", "--timezone", "Europe/Berlin")
        fresh.ok("-w", "w", "add", "X", "--daily", "09:00", "--", "echo", "hi")

        assert (tmp_path / "w/.git").is_dir()
        assert (tmp_path / "w/.routinectl/.git").is_dir()
        assert stat.S_IMODE((tmp_path / "w/.routinectl").stat().st_mode) == 0o700
        assert stat.S_IMODE((tmp_path / "w/secrets").stat().st_mode) == 0o700
        assert json.loads((tmp_path / "w/.routinectl/routine.schema.json").read_text())["title"]
        assert "timezone: Europe/Berlin" in (tmp_path / "w/routinectl.yaml").read_text()

    def test_twice_changes_nothing(self, workspace):
        workspace.ok("init")
        before = (workspace.root / "routinectl.yaml").read_text(), (workspace.root / ".gitignore").read_text()
        workspace.ok("init")

        assert ((workspace.root / "routinectl.yaml").read_text(), (workspace.root / ".gitignore").read_text()) == before

    def test_outside_a_workspace_commands_say_how_to_make_one(self, tmp_path):
        result = Workspace(tmp_path, clean_environment(tmp_path)).run("list")

        assert (result.code, result.err.splitlines()[-1]) == (78, "Hint: routinectl init")

    def test_an_unknown_zone_is_refused(self, tmp_path):
        result = Workspace(tmp_path, clean_environment(tmp_path)).run("init", "w", "--timezone", "Europe/Berln")

        assert (result.code, "did you mean 'Europe/Berlin'" in result.err) == (78, True)
        assert not (tmp_path / "w").exists()


class TestAdd:
    @pytest.mark.parametrize(
        ("options", "trigger"),
        [
            (["--cron", "0 9 * * MON-FRI"], {"cron": "0 9 * * MON-FRI"}),
            (["--daily", "09:00"], {"daily": "09:00"}),
            (["--weekly", "mon,wed 18:30"], {"weekly": {"days": ["mon", "wed"], "time": "18:30"}}),
            (["--at", "2999-12-24T18:00"], {"at": "2999-12-24T18:00"}),
            (["--schedule", "every weekday at 9am"], {"cron": "0 9 * * 1-5"}),
        ],
        ids=lambda value: value[0] if isinstance(value, list) else "",
    )
    def test_triggers(self, workspace, options, trigger):
        workspace.ok("add", "My Job", *options, "--", "echo", "hi")
        shown = workspace.ok("show", "my-job", "--json").data

        assert shown["definition"]["triggers"] == [trigger]
        assert shown["definition"]["action"]["command"] == ["echo", "hi"]

    def test_an_interval_counts_from_when_it_was_added(self, workspace):
        workspace.ok("add", "x", "--every", "90m", "--", "true")
        (trigger,) = workspace.ok("show", "x", "--json").data["definition"]["triggers"]

        assert trigger["every"] == "90m"
        assert abs(datetime.fromisoformat(trigger["anchor"]).timestamp() - time.time()) < 60

    def test_everything_common_has_an_option(self, workspace):
        workspace.ok(
            "add", "x", "--daily", "09:00", "--shell", "echo $MODE | wc", "--timezone", "Asia/Tokyo", "--timeout", "3m", "--jitter", "1m", "--misfire", "skip",
            "--allow", "2", "--env", "MODE=brief", "--secret", "T=file:workspace:secrets/t", "--tag", "a", "--tag", "b", "--description", "why",
            "--set", "budget.output=1MiB", "--disabled")  # fmt: skip
        doc = workspace.ok("show", "x", "--json").data["definition"]

        assert (doc["timezone"], doc["timeout"], doc["jitter"], doc["misfire"], doc["concurrency"]) == (
            "Asia/Tokyo", "3m", "1m", {"policy": "skip"}, {"policy": "allow", "max": 2})  # fmt: skip
        assert doc["action"] == {"command": "echo $MODE | wc", "env": {"MODE": "brief"}, "secrets": {"T": {"file": "workspace:secrets/t"}}}
        assert (doc["tags"], doc["description"], doc["budget"], doc["enabled"]) == (["a", "b"], "why", {"output": "1MiB"}, False)

    def test_an_existing_id_is_refused(self, workspace):
        workspace.ok("add", "x", "--daily", "09:00", "--", "true")
        before = definition(workspace, "x")
        result = workspace.run("add", "x", "--daily", "10:00", "--", "true")

        assert (result.code, "exists already" in result.err) == (2, True)
        assert definition(workspace, "x") == before

    def test_from_with_replace_is_an_idempotent_upsert(self, workspace):
        (workspace.root / "x.json").write_text(json.dumps({"name": "X", "triggers": [{"daily": "09:00"}], "action": {"command": ["true"]}}))
        first = workspace.ok("add", "--from", "x.json", "--replace", "--json").data
        events = len(workspace.events())
        second = workspace.ok("add", "--from", "x.json", "--replace", "--json").data
        (workspace.root / "x.json").write_text(json.dumps({"name": "X", "triggers": [{"daily": "10:00"}], "action": {"command": ["true"]}}))
        third = workspace.ok("add", "--from", "x.json", "--replace", "--json").data

        assert [(item["created"], item["changed"]) for item in (first, second, third)] == [(True, True), (False, False), (False, True)]
        assert events == len(workspace.events()) - 1

    def test_from_standard_input(self, workspace):
        workspace.ok("add", "x", "--from", "-", stdin=DAILY)
        assert workspace.ok("list", "--json").data[0]["id"] == "x"

    @pytest.mark.parametrize(
        ("words", "code", "said"),
        [
            (["x", "--cron", "* * * *", "--", "true"], 78, "4 fields"),
            (["x", "--every", "1s", "--misfire", "never", "--", "true"], 78, "allowed are skip"),
            (["x", "--daily", "09:00"], 2, "what shall it run?"),
            (["x", "--", "true"], 2, "when shall it run?"),
            (["???", "--daily", "09:00", "--", "true"], 2, "gives no id"),
            (["x", "--daily", "09:00", "--shell", "a", "--", "b"], 2, "exclude each other"),
            (["x", "--daily", "09:00", "--env", "A", "--", "b"], 2, "NAME=VALUE"),
            (["x", "--daily", "09:00", "--secret", "A=literal", "--", "b"], 2, "secrets are references"),
            (["--daily", "09:00"], 2, "wants a name"),
            (["x", "--dayly", "09:00"], 2, "no such option"),
            (["x", "--from", "nowhere.yaml"], 1, "nowhere.yaml: No such file"),
        ],
        ids=lambda value: "",
    )
    def test_what_is_wrong_is_told_and_nothing_is_written(self, workspace, words, code, said):
        result = workspace.run("add", *words)

        assert (result.code, said in result.err) == (code, True), result.err
        assert "Hint: " in result.err
        assert not list((workspace.root / "routines").iterdir())

    def test_dry_run_shows_what_would_be_written(self, workspace):
        result = workspace.ok("add", "x", "--daily", "09:00", "--dry-run", "--", "true")

        assert 'daily: "09:00"' in result.out
        assert not list((workspace.root / "routines").iterdir())

    def test_it_says_what_was_understood_and_the_next_three_fires(self, workspace):
        said = workspace.ok("add", "x", "--daily", "09:00", "--timezone", "Europe/Berlin", "--", "true").err

        assert "every day at 09:00 (Europe/Berlin)" in said
        assert said.count("next: ") == 3


class TestEdit:
    TEXT = """\
# my notes
name: "X"      # the name
triggers:
    - daily: '09:00'   # mornings
timeout:   5m

action:
    command: [ "echo",  hi ]
"""

    def test_only_the_asked_key_changes(self, workspace):
        workspace.define("x", self.TEXT)
        workspace.ok("edit", "x", "--set", "timeout=10m")

        assert definition(workspace, "x") == self.TEXT.replace("timeout:   5m", "timeout:   10m")

    def test_comments_stay_when_the_schedule_changes(self, workspace):
        workspace.define("x", self.TEXT)
        workspace.ok("edit", "x", "--cron", "30 9 * * *", "--set", "misfire.policy=skip", "--unset", "timeout")
        text = definition(workspace, "x")

        assert "# my notes" in text
        assert "# the name" in text
        assert "30 9 * * *" in text
        assert "policy: skip" in text
        assert "timeout" not in text

    def test_a_bad_change_is_refused_and_the_file_stays(self, workspace):
        workspace.define("x", self.TEXT)
        result = workspace.run("edit", "x", "--set", "timeout=soon")

        assert (result.code, "not a duration" in result.err) == (78, True)
        assert definition(workspace, "x") == self.TEXT

    @pytest.mark.parametrize(
        "words", [["--set", "a b=1"], ["--set", "timeout"], ["--set", "name.x.y=1"], ["--set", "triggers[7].daily=1"]], ids=str
    )
    def test_keys_that_make_no_sense_are_refused(self, workspace, words):
        workspace.define("x", self.TEXT)
        assert workspace.run("edit", "x", *words).code == 2
        assert definition(workspace, "x") == self.TEXT

    def test_the_editor_may_go_back_when_there_are_faults(self, workspace, tmp_path):
        workspace.define("x", self.TEXT)
        editor = tmp_path / "editor"
        editor.write_text(
            "#!/bin/sh\nif grep -q 'timeout:   5m' \"$1\"; then sed -i 's/timeout:   5m/timeout: soon/' \"$1\"; else sed -i 's/soon/7m/' \"$1\"; fi\n"
        )
        editor.chmod(0o755)
        result = workspace.ok("edit", "x", stdin="e\n", env={"EDITOR": str(editor)})

        assert "not a duration" in result.err
        assert "timeout: 7m" in definition(workspace, "x")

    def test_giving_up_changes_nothing(self, workspace, tmp_path):
        workspace.define("x", self.TEXT)
        editor = tmp_path / "editor"
        editor.write_text('#!/bin/sh\necho broken: [ > "$1"\n')
        editor.chmod(0o755)
        result = workspace.run("edit", "x", stdin="q\n", env={"EDITOR": str(editor)})

        assert (result.code, "nothing was changed" in result.err) == (1, True)
        assert definition(workspace, "x") == self.TEXT

    def test_enable_and_disable_edit_the_file(self, workspace):
        workspace.define("x", self.TEXT)
        workspace.ok("disable", "x")
        assert "enabled: false" in definition(workspace, "x")
        assert workspace.ok("list", "--json").data[0]["status"] == "disabled"
        workspace.ok("enable", "x")

        assert definition(workspace, "x") == self.TEXT + "enabled: true\n"
        assert [event["type"] for event in workspace.events()] == ["routine.created", "routine.disabled", "routine.enabled"]


class TestRm:
    def test_it_asks_first(self, workspace):
        workspace.define("x", DAILY)
        result = workspace.run("rm", "x")

        assert (result.code, result.err.splitlines()[-1]) == (2, "Hint: routinectl rm x --yes")
        assert definition(workspace, "x") == DAILY

    def test_it_removes_the_folder_and_keeps_the_events(self, workspace):
        workspace.define("x", DAILY)
        workspace.ok("rm", "x", "--yes")

        assert not (workspace.root / "routines/x").exists()
        assert [event["type"] for event in workspace.events()] == ["routine.created", "routine.deleted"]
        assert workspace.run("show", "x").code == 3

    def test_keep_history_moves_the_folder_aside(self, workspace):
        workspace.define("x", DAILY)
        workspace.ok("run-now", "x", "--wait")
        workspace.ok("rm", "x", "--yes", "--keep-history")
        (kept,) = (workspace.root / "removed").iterdir()

        assert (kept / "ROUTINE.yaml").read_text() == DAILY

    def test_a_running_routine_is_not_removed_unless_cancelled(self, workspace):
        workspace.define("x", "timeout: 1m\naction: {command: [sleep, '30']}\n")
        workspace.ok("run-now", "x")
        assert workspace.run("rm", "x", "--yes").code == 75
        workspace.ok("rm", "x", "--yes", "--cancel")

        assert not (workspace.root / "routines/x").exists()
        assert [event["data"]["outcome"] for event in workspace.events("run.ended")] == ["cancelled"]


class TestRunNow:
    def test_without_a_serve_it_runs_here(self, workspace):
        workspace.define("x", "timeout: 1m\naction: {command: 'echo one; echo two; exit 3'}\n")
        result = workspace.run("run-now", "x", "--wait")

        assert result.code == 3
        assert "failed exit 3" in result.err
        assert workspace.ok("logs", "x").out == "one\ntwo\n"

    def test_with_a_serve_it_asks(self, workspace):
        workspace.define("x", "timeout: 1m\naction: {command: [echo, hi]}\n")
        with workspace.serving():
            result = workspace.ok("run-now", "x", "--wait", "--json")

        assert result.data["line"]["outcome"] == "succeeded"
        assert result.data["line"]["reason"] == "requested"

    def test_follow_shows_what_it_prints(self, workspace):
        workspace.define("x", "timeout: 1m\naction: {command: 'echo a; sleep 0.3; echo b'}\n")
        assert workspace.ok("run-now", "x", "--follow").out == "a\nb\n"

    def test_payload_is_merged_over_the_static_one_and_handed_over(self, workspace):
        workspace.define("x", "timeout: 1m\naction: {command: [cat], stdin: payload, payload: {a: 1, b: 2}}\n")
        workspace.ok("run-now", "x", "--wait", "--payload", '{"b": 3}')

        assert json.loads(workspace.ok("logs", "x").out) == {"a": 1, "b": 3}

    def test_a_broken_payload_is_refused(self, workspace):
        workspace.define("x", "action: {command: [cat]}\n")
        assert workspace.run("run-now", "x", "--payload", "[1]").code == 2
        assert workspace.run("run-now", "x", "--payload", "{").code == 2

    def test_own_exit_code(self, workspace):
        workspace.define("x", "timeout: 1m\naction: {command: 'exit 42'}\n")
        assert workspace.run("run-now", "x", "--wait", "--exit-code", "own").code == 1

    def test_a_timeout_exits_with_124(self, workspace):
        workspace.define("x", "timeout: 1s\nkill_grace: 1s\naction: {command: [sleep, '30']}\n")
        assert workspace.run("run-now", "x", "--wait").code == 124

    def test_waiting_too_long_exits_with_124_and_the_run_goes_on(self, workspace):
        workspace.define("x", "timeout: 1m\naction: {command: 'sleep 2; echo end'}\n")
        assert workspace.run("run-now", "x", "--wait", "--for", "1s").code == 124
        until(lambda: workspace.ok("history", "x", "--json").data)

        assert workspace.ok("history", "x", "--json").data[0]["message"] == "end"

    def test_it_says_why_it_is_refused(self, workspace):
        workspace.define("x", "timeout: 1m\naction: {command: [sleep, '5']}\n")
        workspace.ok("run-now", "x")
        result = workspace.run("run-now", "x")
        workspace.ok("cancel", "x", "--wait")

        assert (result.code, "the run before it was still going" in result.err) == (75, True)

    def test_it_passes_a_pause_and_says_so(self, workspace):
        workspace.define("x", DAILY)
        workspace.ok("pause", "x")
        result = workspace.ok("run-now", "x", "--wait")

        assert "x is paused; it runs because you ask" in result.err

    @pytest.mark.parametrize(
        ("action", "said"),
        [("{command: [no-such-program]}", "command not found"), ("{command: [./x.sh]}", "no such program"), ("{command: [id], workdir: nowhere}", "is no folder"),
         ("{command: [id], secrets: {T: {env: NOT_SET}}}", "NOT_SET is not set")],
    )  # fmt: skip
    def test_what_cannot_start_says_why(self, workspace, action, said):
        workspace.define("x", f"timeout: 1m\naction: {action}\n")
        result = workspace.run("run-now", "x", "--wait")

        assert (result.code, "not_started" in result.err, said in result.err) == (1, True, True), result.err

    def test_a_python_entrypoint(self, workspace):
        workspace.define("x", "timeout: 1m\naction: {python: {entrypoint: 'job:main', args: {n: 3}}}\n")
        (workspace.root / "routines/x/job.py").write_text("def main(n):\n    print('working')\n    return f'did {n}'\n")
        workspace.ok("run-now", "x", "--wait")

        assert workspace.ok("history", "x", "--json").data[0]["message"] == "did 3"
        assert workspace.ok("logs", "x").out == "working\n"

    def test_secrets_are_given_and_never_written(self, workspace):
        (workspace.root / "secrets").mkdir()
        (workspace.root / "secrets/t").write_text("canary-8d1f\n")
        workspace.define(
            "x",
            "timeout: 1m\naction: {command: 'echo \"<$T>\"; echo $T | base64; echo $T > $ROUTINE_RESULT', secrets: {T: {file: 'workspace:secrets/t'}}}\n",
        )
        workspace.ok("run-now", "x", "--wait")
        workspace.ok("env", "x")

        assert workspace.ok("logs", "x").out.startswith("<***>\n***")
        assert workspace.ok("history", "x", "--json").data[0]["message"] == "***"
        found = [path for path in workspace.root.rglob("*") if path.is_file() and b"canary" in path.read_bytes()]
        assert sorted(path.name for path in found) == ["result", "t"]  # the run's own file is the run's own doing


class TestLooking:
    def test_list_and_status_of_an_empty_workspace(self, workspace):
        assert "no routines" in workspace.ok("list").err
        assert "no serve is alive" in workspace.ok("status").out

    def test_a_unique_prefix_is_enough_and_an_ambiguous_one_is_not(self, workspace):
        workspace.define("backup-a", DAILY)
        workspace.define("backup-b", DAILY)
        assert workspace.ok("show", "backup-a").out.startswith("backup-a  active")
        result = workspace.run("show", "back")

        assert (result.code, "backup-a, backup-b" in result.err) == (2, True)
        assert workspace.run("show", "bakup-a").err.splitlines()[-1] == "Hint: did you mean 'backup-a'?"

    def test_why_says_the_verdict_and_the_future(self, workspace):
        workspace.define("x", DAILY)
        workspace.ok("run-now", "x", "--wait")

        assert "somebody asked for it by hand" in workspace.ok("why", "x").out
        assert "still to come" in workspace.ok("why", "x", "--at", "2999-01-01T09:00").out
        assert workspace.run("why", "x", "--at", "2999-01-01T09:01").code == 1

    def test_history_filters(self, workspace):
        workspace.define("x", "timeout: 1m\naction: {command: 'exit 1'}\n")
        workspace.define("y", "timeout: 1m\naction: {command: 'exit 0'}\n")
        workspace.run("run-now", "x", "--wait")
        workspace.run("run-now", "y", "--wait")

        assert [line["id"] for line in workspace.ok("history", "--json").data] == ["x", "y"]
        assert [line["id"] for line in workspace.ok("history", "--outcome", "failed", "--json").data] == ["x"]
        assert workspace.ok("history", "--since", "1h", "-n", "1", "--json").data[0]["id"] == "y"

    def test_a_deleted_ledger_is_rebuilt(self, workspace):
        workspace.define("x", "timeout: 1m\naction: {command: [echo, hi]}\n")
        workspace.ok("run-now", "x", "--wait")
        before = (workspace.root / "routines/x/history.jsonl").read_text()
        (workspace.root / "routines/x/history.jsonl").unlink()
        (workspace.root / "routines/x/state.json").write_text("damaged")

        assert len(workspace.ok("history", "x", "--json").data) == 1
        assert (workspace.root / "routines/x/history.jsonl").read_text() == before

    def test_state_and_ledger_satisfy_their_schemas(self, workspace):
        from routinectl.core.schema import faults
        from routinectl.files import schemas

        workspace.define("x", "triggers: [{daily: '09:00'}]\ntimeout: 1m\naction: {command: [echo, hi]}\n")
        workspace.ok("run-now", "x", "--wait")
        workspace.ok("pause", "x", "--for", "1h")
        state = json.loads((workspace.root / "routines/x/state.json").read_text())
        lines = [json.loads(line) for line in (workspace.root / "routines/x/history.jsonl").read_text().splitlines()]

        assert faults(schemas.load("state"), state) == []
        assert [problem for line in lines for problem in faults(schemas.load("history"), line)] == []
        assert [problem for event in workspace.events() for problem in faults(schemas.load("event"), event)] == []

    def test_events_are_one_json_object_a_line(self, workspace):
        workspace.define("x", DAILY)
        workspace.ok("pause", "x")
        lines = [json.loads(line) for line in workspace.ok("events", "--json").out.splitlines()]

        assert [line["type"] for line in lines] == ["routine.created", "routine.paused"]
        assert lines[0]["specversion"] == "1.0"

    def test_env_is_small_and_the_same_for_everybody(self, workspace):
        workspace.define("x", DAILY)
        env = workspace.ok("env", "x", "--json", env={"FOO": "bar"}).data

        assert "FOO" not in env
        assert {name for name in env if not name.startswith("ROUTINE_")} == {"PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG"}
        assert "FOO" in workspace.ok("env", "x", "--diff", env={"FOO": "bar"}).out

    def test_doctor_is_well_in_a_new_workspace_and_says_what_is_not(self, workspace):
        workspace.ok("init")
        assert workspace.ok("doctor").code == 0
        workspace.define("x", "nothing: good\n")
        (workspace.root / ".routinectl").chmod(0o755)
        result = workspace.run("doctor", "--json")

        assert result.code == 1
        assert [item["name"] for item in result.data if not item["well"]] == ["private folder", "definitions"]

    def test_doctor_and_status_tell_of_a_damaged_journal(self, workspace):
        workspace.define("x", DAILY)
        workspace.ok("pause", "x")
        workspace.ok("resume", "x")
        (path,) = (workspace.root / ".routinectl/journal").glob("*.jsonl")
        lines = path.read_bytes().splitlines(keepends=True)
        path.write_bytes(lines[0] + lines[1][:-20] + b"damaged\n" + lines[2])
        (workspace.root / ".routinectl/checkpoint").unlink(missing_ok=True)
        workspace.ok("list")

        assert [
            event["data"]["missing"] for event in [json.loads(line) for line in path.read_text().splitlines() if "journal.damaged" in line]
        ] == [1]
        assert workspace.run("doctor").code == 1

    def test_a_closed_pipe_is_no_error(self, workspace):
        import subprocess
        import sys

        for number in range(50):
            workspace.define(f"x{number}", DAILY)
        done = subprocess.run(
            f"{sys.executable} -m routinectl list | head -1", shell=True, cwd=workspace.root, env=workspace.env, capture_output=True, text=True, check=False)  # fmt: skip

        assert done.stderr == ""

    @pytest.mark.parametrize("closed", ["0<&-", "1>&-", "2>&-", "0<&- 1>&- 2>&-"])
    def test_a_descriptor_that_is_closed_is_no_error(self, workspace, closed):
        import subprocess
        import sys

        words = f"{sys.executable} -m routinectl add x --cron '0 9 * * *' -- true {closed}; {sys.executable} -m routinectl run-now x --wait {closed}"
        subprocess.run(words, shell=True, cwd=workspace.root, env=workspace.env, capture_output=True, check=False)

        assert [event["data"]["outcome"] for event in workspace.events("run.ended")] == ["succeeded"]
        assert workspace.run("doctor").code == 0

    def test_control_characters_of_a_run_do_not_reach_the_terminal(self, workspace):
        workspace.define("x", "timeout: 1m\naction: {command: [printf, '\\033[31mred\\a']}\n")
        workspace.ok("run-now", "x", "--wait")

        assert "\x1b" not in workspace.ok("history", "x").out


class TestPreview:
    def test_a_routine_a_text_and_a_batch(self, workspace):
        workspace.define("x", DAILY)
        assert workspace.ok("preview", "x", "--json").data["describe"] == "every day at 09:00"
        assert workspace.ok("preview", "every 90m", "--json").data["seconds"] == 5400
        lines = '{"schedule": "0 9 * * *", "count": 1, "after": "2026-01-01T00:00:00Z"}\nnonsense\n{"schedule": "every 1s"}\n'
        answers = [json.loads(line) for line in workspace.ok("preview", "--batch", stdin=lines).out.splitlines()]

        assert answers[0] == {
            "kind": "cron",
            "cron": "0 9 * * *",
            "timezone": "UTC",
            "describe": "every day at 09:00",
            "next": ["2026-01-01T09:00:00+00:00"],
        }
        assert set(answers[1]["error"]) == {"message", "hint"}
        assert answers[2]["seconds"] == 1  # the workspace allows it, so the preview does

    def test_what_it_accepts_is_what_a_definition_accepts(self, workspace):
        for text in (
            "0 9 * * *",
            "@daily",
            "every 90m",
            "2999-01-01T09:00",
            "every monday at 9am",
            "* * * *",
            "every 0s",
            "in a blue moon",
            "2001-01-01T09:00",
        ):
            preview = workspace.run("preview", text).code
            added = workspace.run("add", "x", "--schedule", text, "--dry-run", "--", "true").code
            assert preview == added, text


class TestLint:
    @pytest.mark.parametrize(
        ("code", "text"),
        [
            ("day-or-weekday", "triggers: [{cron: '0 9 13 * FRI'}]"),
            ("dst-gap", "timezone: Europe/Berlin\ntriggers: [{daily: '02:30'}]"),
            ("dst-fold", "timezone: Europe/Berlin\ntriggers: [{cron: '*/30 2 * * *'}]"),
            ("uneven-step", "triggers: [{cron: '*/7 * * * *'}]"),
            ("secret-in-env", "triggers: [{daily: '09:00'}]"),
            ("no-triggers", "triggers: []"),
            ("dense-triggers", "triggers: [{every: 1m}, {every: 1m, anchor: '1970-01-01T00:00:05Z'}]"),
        ],
    )
    def test_findings(self, workspace, code, text):
        (workspace.root / "routinectl.yaml").write_text("timezone: UTC\n")
        env = "{API_TOKEN: abc}" if code == "secret-in-env" else "{}"
        workspace.define("x", f"{text}\ntimeout: 1m\naction: {{command: [id], env: {env}}}\n")
        result = workspace.run("lint", "--json")

        assert result.code == 1
        assert code in [item["code"] for item in result.data], result.data

    def test_a_clock_change_is_told_with_its_real_date(self, workspace):
        workspace.define("x", "timezone: Europe/Berlin\ntimeout: 1m\ntriggers: [{daily: '02:30'}]\naction: {command: [id]}\n")
        said = workspace.run("lint").out

        assert "routines/x/ROUTINE.yaml:3:" in said
        assert "-03-" in said
        assert "02:30 does not exist in Europe/Berlin" in said

    def test_two_routines_with_the_same_action(self, workspace):
        for name in ("x", "y"):
            workspace.define(name, "timeout: 1m\ntriggers: [{daily: '09:00'}]\naction: {command: [/usr/bin/id]}\n")
        assert [(item["routine"], item["code"]) for item in workspace.run("lint", "--json").data] == [("y", "same-action")]

    def test_nothing_suspicious(self, workspace):
        workspace.define("x", DAILY)
        assert workspace.ok("lint").err == "Nothing suspicious\n"


def test_git_commits_exactly_the_touched_file(workspace):
    import subprocess

    (workspace.root / "routinectl.yaml").write_text("timezone: UTC\ngit: {commit: true}\n")
    workspace.ok("init")
    for key, value in (("user.name", "t"), ("user.email", "t@t")):
        subprocess.run(["git", "config", key, value], cwd=workspace.root, check=True)
    workspace.ok("add", "x", "--daily", "09:00", "--", "true")
    workspace.ok("edit", "x", "--set", "timeout=1m")
    log = subprocess.run(
        ["git", "log", "--format=%s", "--name-only"], cwd=workspace.root, capture_output=True, text=True, check=True
    ).stdout.split("\n")

    assert [line for line in log if line] == ["routine x: edit", "routines/x/ROUTINE.yaml", "routine x: add", "routines/x/ROUTINE.yaml"]


def test_a_definition_that_is_committed_as_it_is_needs_no_commit_whatever_git_says_of_other_files(workspace):
    import subprocess

    (workspace.root / "routinectl.yaml").write_text("timezone: UTC\ngit: {commit: true}\n")
    workspace.ok("init")
    for key, value in (("user.name", "t"), ("user.email", "t@t")):
        subprocess.run(["git", "config", key, value], cwd=workspace.root, check=True)
    workspace.ok("add", "x", "--daily", "09:00", "--timeout", "1m", "--", "true")
    definition = workspace.root / "routines/x/ROUTINE.yaml"
    definition.write_text(definition.read_text().replace("1m", "5m"))  # by hand, and not committed
    (workspace.root / "notes.txt").write_text("untracked\n")

    workspace.ok("edit", "x", "--set", "timeout=1m")
    assert subprocess.run(["git", "diff", "--quiet", "HEAD"], cwd=workspace.root, check=False).returncode == 0


DEEP = "[" * 5000 + "]" * 5000


TOO_DEEP = {
    "a payload": (["run-now", "x", "--payload", f'{{"a": {DEEP}}}'], ""),
    "a message": (["emit", "chat", "--json-payload", f'{{"a": {DEEP}}}'], ""),
    "a value": (["edit", "x", "--set", f"action.payload={DEEP}"], ""),
    "a bundle": (["import", "bundle", "-"], DEEP),
    "routines of others": (["import", "ironclaw", "-"], DEEP),
}


@pytest.mark.parametrize("name", TOO_DEEP)
def test_json_nested_without_end_is_refused_by_a_limit_of_ours(workspace, name):
    words, stdin = TOO_DEEP[name]
    workspace.define("x", DAILY)
    result = workspace.run(*words, stdin=stdin)

    assert (result.code in (2, 78), "nested more than" in result.err, "Hint:" in result.err) == (True, True, True), result.err


def test_a_broken_routinectl_yaml_is_told_with_its_place(workspace):
    (workspace.root / "routinectl.yaml").write_text("timezone: UTC\nlimits: {max_concurrent: 3}\n")
    result = workspace.run("list")

    assert (result.code, "routinectl.yaml:2:10" in result.err, "did you mean 'max_concurrent_runs'" in result.err) == (78, True, True)


def test_ticks_are_not_lost_between_two_once(workspace):
    workspace.define("x", ECHO.format(every="1s"))
    workspace.ok("serve", "--once")
    workspace.ok("serve", "--once")

    assert len({event["data"]["slot"] for event in workspace.events("run.claimed")}) == len(workspace.events("run.claimed"))


def test_a_fire_after_the_clocks_change_says_so(workspace):
    """Berlin, 2026-10-25: the clocks go back in the night before the fourth fire."""
    from datetime import UTC, datetime

    from routinectl.files.layout import Layout
    from routinectl.operations import look
    from routinectl.operations.session import Session

    workspace.define(
        "early", "name: Early\ntimezone: Europe/Berlin\ntriggers: [{daily: '04:00'}]\ntimeout: 1m\naction: {command: 'true'}\n"
    )
    with Session(Layout(workspace.root), now=datetime(2026, 10, 21, 12, tzinfo=UTC)) as session:
        fires = look.show(session, "early")["next"]
    assert [fire["local"][5:19] for fire in fires] == [
        "10-22T04:00:00",
        "10-23T04:00:00",
        "10-24T04:00:00",
        "10-25T04:00:00",
        "10-26T04:00:00",
    ]
    assert [fire.get("note", "") for fire in fires] == ["", "", "", "the clocks change before it, to UTC+01:00", ""]
