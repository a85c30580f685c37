"""What a definition names may be anything: a FIFO, a device without end, a folder, a name that is no text. It costs its own routine alone."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys

import pytest
from conftest import ECHO, PATIENCE, keepers_of, stop_keepers, until

from routinectl.files import regular

EVERY = "triggers: [{every: 1s}]\ntimeout: 20s\nmisfire: {policy: skip}\n"
OTHER = ECHO.format(every="1s")


def _socket_at(path) -> None:
    here = os.getcwd()
    os.chdir(path.parent)  # the name of a socket has at most 107 bytes
    try:
        socket.socket(socket.AF_UNIX).bind(path.name)
    finally:
        os.chdir(here)


# What stands in place of a file, by name; each makes it at a path.
ODD = {
    "a FIFO": os.mkfifo,
    "a link to a FIFO": lambda path: (os.mkfifo(f"{path}.fifo"), os.symlink(f"{path}.fifo", path)),
    "a device without end": lambda path: os.symlink("/dev/zero", path),
    "a folder": os.mkdir,
    "a socket": _socket_at,
    "nothing": lambda path: None,
}


# Where a definition names a file, or a run may leave one: the definition, and where the odd thing stands.
PLACES = {
    "secret": ("action: {command: 'true', secrets: {TOKEN: {file: odd}}}", "odd"),
    "calendar": ("action: {command: 'true'}\ncalendar: {exclude: [{ics: odd}]}", "odd"),
    "history": ("action: {command: 'true'}", "history.jsonl"),
    "state": ("action: {command: 'true'}", "state.json"),
    "expected-file": ("action: {command: 'true'}\nexpect: {file: {path: odd, min_size: 1B}}", "odd"),
    "output": ("action: {command: echo hi, output: odd, overwrite: true}", "odd"),
    "memory": ("action: {command: 'true'}", "memory"),
    "workdir": ("action: {command: 'true', workdir: odd}", "odd"),
    "program": ("action: {command: [./odd]}", "odd"),
    "interpreter": ("action: {python: {entrypoint: 'x:y', interpreter: ./odd}}", "odd"),
    "approved": ("approval: before_first_run\naction: {command: ./odd}", "odd"),
    "read": ("action: {command: 'true'}\npermissions: {level: read_only, read: [odd]}", "odd"),
    "own-output": (
        "action: {command: 'rm ../../.routinectl/runs/$ROUTINE_ID/$ROUTINE_RUN_ID/out; mkfifo ../../.routinectl/runs/$ROUTINE_ID/$ROUTINE_RUN_ID/out'}",
        "",
    ),
    "own-result": ("action: {command: 'rm -f $ROUTINE_RESULT; mkfifo $ROUTINE_RESULT'}", ""),
    "watched": ("action: {command: 'true'}\ntriggers: [{every: 1s}, {file: {paths: ['odd*']}}]", "odd"),
}


def test_nothing_that_a_definition_names_stops_the_others_or_keeps_serve_from_ending(workspace):
    workspace.define("other", OTHER)
    for place, (text, name) in PLACES.items():
        for number, (_, make) in enumerate(ODD.items()):
            path = (
                workspace.define(f"{place}-{number}", (EVERY if "triggers:" not in text else "timeout: 20s\n") + text + "\n").parent / name
            )
            if name:
                make(path)
    with workspace.serving() as serving:
        for place in PLACES:
            until(lambda place=place: [item for item in workspace.events() if item["subject"].startswith(place)])
        ran = len(workspace.events("run.ended", "other"))
        until(lambda: len(workspace.events("run.ended", "other")) >= ran + 3)
        assert "cannot be written" not in serving.text
        serving.process.send_signal(signal.SIGTERM)
        assert serving.process.wait(timeout=PATIENCE) == 0
    checked = workspace.run("validate", "--json")
    assert checked.code == 78
    assert {item["name"] for item in checked.data if not item["valid"]} == {f"calendar-{number}" for number in range(len(ODD))}


# What keeps one routine from starting, and what its slot is answered with then.
TROUBLE = {
    "program": ("action: {command: [/usr/bin/no-such-program]}", None, "not_started"),
    "workdir": ("action: {command: 'true', workdir: nowhere}", None, "not_started"),
    "secret": ("action: {command: 'true', secrets: {T: {file: nowhere}}}", None, "not_started"),
    "environment": ("action: {command: 'true', secrets: {T: {env: NO_SUCH_VARIABLE}}}", None, "not_started"),
    "memory": ("action: {command: 'true'}", lambda root, name: (root / f"routines/{name}/memory").write_text(""), "not_started"),
    "runs": ("action: {command: 'true'}", lambda root, name: (root / f".routinectl/runs/{name}").write_text(""), "not_started"),
    "lease": ("action: {command: 'true'}", lambda root, name: (root / f".routinectl/locks/{name}.0.lock").mkdir(), "cannot_start"),
    "lease-fifo": (
        "action: {command: 'true'}",
        lambda root, name: os.symlink("nowhere/x", root / f".routinectl/locks/{name}.0.lock"),
        "cannot_start",
    ),
    "approval": ("approval: before_first_run\naction: {command: 'true'}", None, "approval"),
    "budget": ("action: {command: 'true'}\nbudget: {per_day: {cpu: 60s}}", None, "succeeded"),
}


def test_what_one_routine_lacks_is_its_own_verdict_and_nobody_elses(workspace):
    workspace.define("other", OTHER)
    workspace.ok("status")
    for name, (text, spoil, _) in TROUBLE.items():
        workspace.define(name, f"triggers: [{{every: 3s}}]\ntimeout: 20s\n{text}\n")
        if spoil is not None:
            (workspace.root / ".routinectl/runs").mkdir(parents=True, exist_ok=True)
            (workspace.root / ".routinectl/locks").mkdir(parents=True, exist_ok=True)
            spoil(workspace.root, name)

    def answers(name):
        found = [*workspace.events("run.ended", name), *workspace.events("slot.skipped", name), *workspace.events("slot.held", name)]
        return {item["data"].get("outcome") or item["data"]["reason"] for item in found}

    with workspace.serving() as serving:
        for name, (_, _, wanted) in TROUBLE.items():
            until(lambda name=name, wanted=wanted: wanted in answers(name))
        ran = len(workspace.events("run.ended", "other"))
        until(lambda: len(workspace.events("run.ended", "other")) >= ran + 3)
        assert "nothing starts" not in serving.text
    assert "Not a directory" in workspace.ok("why", "runs").out
    assert "Is a directory" in workspace.ok("history", "lease").out + workspace.ok("why", "lease").out


def test_a_folder_whose_name_is_no_text_is_named_and_ends_nothing(workspace):
    workspace.define("other", OTHER)
    for name in (b"caf\xe9", b"\xff\xfe"):
        folder = os.path.join(os.fsencode(workspace.root), b"routines", name)
        os.mkdir(folder)
        with open(os.path.join(folder, b"ROUTINE.yaml"), "w") as file:
            file.write(OTHER)
    with workspace.serving() as serving:
        serving.wait_for("routines/caf\\xe9: the folder's name is not UTF-8")
        late = os.path.join(os.fsencode(workspace.root), b"routines", b"sp\xe4ter")
        os.mkdir(late)
        with open(os.path.join(late, b"ROUTINE.yaml"), "w") as file:
            file.write(OTHER)
        ran = len(workspace.events("run.ended", "other"))
        until(lambda: len(workspace.events("run.ended", "other")) >= ran + 2)
        assert [row["id"] for row in workspace.ok("list", "--json").data] == ["other"]
    checked = workspace.run("validate")
    assert checked.code == 78
    assert "mv routines/$'caf\\xe9' routines/another-name" in checked.err
    found = next(row for row in workspace.run("doctor", "--json").data if row["name"] == "definitions")
    assert not found["well"], found


def test_a_file_whose_name_is_no_text_is_offered_and_can_be_opened_by_the_run(workspace):
    script = "import json, os; print(open(json.load(open(os.environ['ROUTINE_PAYLOAD']))['files'][0]['path']).read())"
    path = workspace.define("watch", f"""timeout: 20s
triggers: [{{file: {{paths: ['in/*'], settle: 1s}}}}]
action: {{command: [{sys.executable}, -c, "{script}"]}}
""")  # fmt: skip
    folder = os.path.join(os.fsencode(path.parent), b"in")
    os.mkdir(folder)
    with workspace.serving():
        until((workspace.root / ".routinectl/files/watch.json").exists)  # what is there when a trigger is new is no change
        with open(os.path.join(folder, b"caf\xe9.txt"), "w") as file:
            file.write("it was read\n")
        ended = until(lambda: workspace.events("run.ended", "watch"))
    assert (ended[0]["data"]["outcome"], ended[0]["data"]["message"]) == ("succeeded", "it was read")
    for line in (path.parent / "history.jsonl").read_bytes().splitlines():
        json.loads(line.decode("utf-8"))


def test_a_file_whose_name_is_no_text_can_be_approved(workspace):
    path = workspace.define("bound", "triggers: []\ntimeout: 20s\napproval: before_first_run\naction: {command: ./go}\n")
    (path.parent / "go").write_text("#!/bin/sh\necho went\n")
    (path.parent / "go").chmod(0o755)
    with open(os.path.join(os.fsencode(path.parent), b"caf\xe9"), "w") as file:
        file.write("content")
    workspace.ok("approve", "bound")
    assert "went" in workspace.ok("run-now", "bound", "--wait", "--follow").out


ICS = "BEGIN:VCALENDAR\nBEGIN:VEVENT\nDTSTART:{start}\nRRULE:FREQ={often}\nSUMMARY:x\nEND:VEVENT\nEND:VCALENDAR\n"


class TestCalendarFiles:
    """A calendar is a file of the workspace, nothing private, bounded, and no error quotes it."""

    @pytest.fixture
    def check(self, workspace):
        pytest.importorskip("icalendar")
        (workspace.root / "secrets").mkdir()
        (workspace.root / "secrets/key").write_text("CANARY\n")
        outside = workspace.root.parent / "outside.ics"
        outside.write_text("CANARY\n")

        def look(text: str):
            workspace.define(
                "x",
                f"triggers: [{{daily: '09:00'}}]\ntimeout: 1m\naction: {{command: 'true'}}\ncalendar: {{exclude: [{{ics: '{text}'}}]}}\n",
            )
            found = workspace.run("validate", "x")
            assert found.code == 78
            assert "CANARY" not in found.out + found.err
            return found.err

        return look

    @pytest.mark.parametrize("text", [
        "workspace:secrets/key", "../../secrets/key", "secrets/key", "/etc/shadow", "/etc/no-such-file", "../../../outside.ics", "workspace:../outside.ics",
        "workspace:.routinectl/tokens.json", "workspace:.git/config", "workspace:routines/other/memory/notes", "/proc/self/environ", "workspace:inbox/a/b",
    ])  # fmt: skip
    def test_outside_or_private_says_the_same_whether_it_is_there_or_not(self, check, text):
        assert "lies outside of the workspace, or is private there" in check(text)

    def test_a_link_that_leads_out_is_found_whatever_it_leads_to(self, check, workspace):
        (workspace.root / "calendars").mkdir()
        for name, target in {"a": "/etc/hostname", "b": "../../outside.ics", "c": "../secrets/key"}.items():
            (workspace.root / f"calendars/{name}.ics").symlink_to(target)
            assert "lies outside of the workspace, or is private there" in check(f"calendars/{name}.ics")

    def test_what_a_parser_cannot_read_is_not_quoted(self, check, workspace):
        path = workspace.root / "routines/x/days.ics"
        path.parent.mkdir(exist_ok=True)
        for text in (
            "CANARY\n",
            "BEGIN:VCALENDAR\nCANARY",
            ICS.format(start="CANARY", often="DAILY"),
            ICS.format(start="20260101", often="CANARY"),
        ):
            path.write_text(text)
            assert "no calendar that can be read" in check("days.ics")

    @pytest.mark.parametrize("often", ["SECONDLY", "MINUTELY", "HOURLY"])
    def test_an_event_without_rest_has_an_end(self, check, workspace, often):
        path = workspace.root / "routines/x/days.ics"
        path.parent.mkdir(exist_ok=True)
        path.write_text(ICS.format(start="19700101T000000Z", often=often))
        assert "more than once a day" in check("days.ics")

    def test_an_event_that_lasts_for_ever_has_an_end(self, check, workspace):
        path = workspace.root / "routines/x/days.ics"
        path.parent.mkdir(exist_ok=True)
        path.write_text(
            "BEGIN:VCALENDAR\nBEGIN:VEVENT\nDTSTART;VALUE=DATE:00010101\nDTEND;VALUE=DATE:99990101\nEND:VEVENT\nEND:VCALENDAR\n"
        )
        assert "names over 50000 days" in check("days.ics")


class TestReading:
    def test_a_file_up_to_the_bound_is_read_whole_and_one_more_byte_is_refused(self, tmp_path):
        path = tmp_path / "file"
        path.write_bytes(b"x" * 1024)
        assert regular.read(path, 1024) == b"x" * 1024
        path.write_bytes(b"x" * 1025)
        with pytest.raises(OSError, match="it is larger than 1 KiB"):
            regular.read(path, 1024)

    def test_a_part_counts_from_the_beginning_or_the_end(self, tmp_path):
        path = tmp_path / "file"
        path.write_bytes(b"0123456789")
        assert [regular.part(path, 2, 3), regular.part(path, -4, 10), regular.part(path, -40, 4), regular.part(path, 20, 4)] == [
            b"234", b"6789", b"0123", b""]  # fmt: skip

    def test_a_link_is_followed_only_where_that_is_wanted(self, tmp_path):
        (tmp_path / "file").write_text("text")
        (tmp_path / "link").symlink_to("file")
        assert regular.read(tmp_path / "link", 10) == b"text"
        with pytest.raises(OSError):
            regular.read(tmp_path / "link", 10, links=False)


class TestAuditOfAHealthyWorkspace:
    def test_a_retry_that_waits_is_no_finding(self, workspace):
        workspace.define("again", "triggers: []\ntimeout: 1m\nretry: {attempts: 3, delay: 10m}\naction: {command: exit 1}\n")
        with workspace.serving():
            workspace.run("run-now", "again")
            until(lambda: workspace.events("run.retrying", "again"))
            assert workspace.ok("audit").err.strip().endswith("nothing found")
        assert workspace.ok("audit").err.strip().endswith("nothing found")

    def test_an_end_that_waits_in_the_keepers_log_is_no_finding(self, workspace):
        path = workspace.define("slow", "triggers: []\ntimeout: 1m\naction: {command: 'until test -e go; do sleep 0.05; done'}\n")
        with workspace.serving() as serving:
            workspace.run("run-now", "slow")
            until(lambda: workspace.events("run.started", "slow"))
            serving.kill()
        (path.parent / "go").touch()
        log = workspace.root / ".routinectl/run/keeper.jsonl"
        until(lambda: b'"ended"' in log.read_bytes())
        assert not workspace.events("run.ended", "slow")
        assert workspace.ok("audit").err.strip().endswith("nothing found")

    def test_a_claim_that_nobody_minds_is_one(self, workspace):
        workspace.define("slow", "triggers: []\ntimeout: 1m\naction: {command: sleep 30}\n")
        with workspace.serving() as serving:
            workspace.run("run-now", "slow")
            until(lambda: workspace.events("run.started", "slow"))
            serving.kill()
        for keeper in keepers_of(workspace.root):  # before the run, whose end it would record
            os.kill(keeper, signal.SIGKILL)
        stop_keepers(workspace.root)
        found = until(lambda: (result := workspace.run("audit")).code == 1 and result)
        assert "has no end" in found.out

    def test_a_serve_that_is_told_to_stop_hears_first_what_it_has_just_started(self, workspace):
        for number in range(20):
            workspace.define(f"r{number:02}", ECHO.format(every="1s"))
        with workspace.serving() as serving:
            until(lambda: len(workspace.events("run.claimed")) >= 20)
            serving.process.send_signal(signal.SIGTERM)
            serving.process.wait(timeout=PATIENCE)
        claimed = {event["data"]["run"] for event in workspace.events("run.claimed")}
        started = {event["data"]["run"] for event in workspace.events("run.started") + workspace.events("run.ended")}
        assert claimed == started
        assert workspace.ok("audit").err.strip().endswith("nothing found")


def test_commands_that_read_end_in_time_whatever_stands_in_place_of_a_ledger(workspace):
    workspace.define("x", ECHO.format(every="1h"))
    workspace.ok("run-now", "x", "--wait")
    for name in ("history.jsonl", "state.json"):
        path = workspace.root / "routines/x" / name
        path.unlink(missing_ok=True)
        os.mkfifo(path)
    for words in (["history", "x"], ["why", "x"], ["show", "x"], ["list"], ["status"], ["validate"], ["audit"]):
        done = subprocess.run(
            [sys.executable, "-m", "routinectl", *words],
            cwd=workspace.root,
            env=workspace.env,
            capture_output=True,
            timeout=PATIENCE,
            check=False,
        )
        assert b"Traceback" not in done.stderr, words


class TestTheWorkspacesOwnFiles:
    """Its settings and what git reads of it: whatever stands in their place is said, and nothing waits for it."""

    @pytest.mark.parametrize("odd", ["a FIFO", "a device without end", "a folder", "a socket"])
    def test_settings_that_are_no_file_leave_those_before_in_force(self, workspace, odd):
        workspace.define("other", OTHER)
        path = workspace.root / "routinectl.yaml"
        with workspace.serving() as serving:
            until(lambda: workspace.events("run.ended", "other"))
            path.unlink()
            ODD[odd](path)
            serving.process.send_signal(signal.SIGHUP)
            serving.wait_for("the settings before stay in force")
            ran = len(workspace.events("run.ended", "other"))
            until(lambda: len(workspace.events("run.ended", "other")) >= ran + 2)
            done = workspace.run("list")
            assert done.code == 78
            assert "cannot be read: it is" in done.err
            serving.process.send_signal(signal.SIGTERM)
            assert serving.process.wait(timeout=PATIENCE) == 0

    @pytest.mark.parametrize(
        "name", [".gitattributes", ".gitignore", "routines/.gitattributes", "routines/x/.gitignore", ".git/config", ".git/index"]
    )
    def test_what_git_would_wait_for_is_named_at_once(self, workspace, name):
        workspace.configure("git: {commit: true}")
        workspace.define("x", ECHO.format(every="1h"))
        subprocess.run(["git", "init", "-q", workspace.root], check=True)
        path = workspace.root / name
        path.unlink(missing_ok=True)
        os.mkfifo(path)
        done = workspace.run("disable", "x")
        assert done.code == 1
        assert f"{name}: it is no file, and git would wait for it" in done.err
        assert "enabled: false" in (workspace.root / "routines/x/ROUTINE.yaml").read_text()

    def test_init_says_what_stands_in_place_of_gitignore(self, workspace):
        os.mkfifo(workspace.root / ".gitignore")
        done = workspace.run("init", str(workspace.root))
        assert done.code != 0
        assert "it is a FIFO, not a file" in done.err
