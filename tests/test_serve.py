"""serve, as a process: it fires, it records, it survives, and it shares the workspace with commands."""

from __future__ import annotations

import fcntl
import io
import json
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta

from conftest import ECHO, until

from routinectl.cli.speaker import Speaker

SLEEPER = "triggers: []\ntimeout: 2m\naction: {command: 'sleep 3; echo done; exit 7'}\n"


def ledger(workspace, name):
    return workspace.ok("history", name, "--limit", "0", "--json").data


def test_a_routine_fires_at_its_instants_and_every_slot_has_one_verdict(workspace):
    workspace.define("tick", ECHO.format(every="1s"))
    with workspace.serving() as serving:
        serving.wait_for("succeeded", 3)

    slots = [event["data"]["slot"] for event in workspace.events("run.claimed")]
    assert len(slots) == len(set(slots)) >= 3
    lines = ledger(workspace, "tick")
    assert {line["outcome"] for line in lines} == {"succeeded"}
    assert lines[0]["message"] == "hello"


def test_it_fires_on_while_nobody_reads_what_it_says(workspace):
    workspace.define("tick", ECHO.format(every="1s"))
    with workspace.serving("--log-format", "json", "--log-level", "debug") as serving:
        fcntl.fcntl(serving.process.stderr, fcntl.F_SETPIPE_SZ, 4096)
        until(lambda: len(workspace.events("run.ended")) >= 6)
        assert sum(map(len, map(json.dumps, workspace.events()))) > 2 * 4096
        serving.wait_for('"type": "run.ended"', 6)  # what was not taken at once comes later


def test_it_fires_on_when_the_reader_is_gone(workspace):
    workspace.define("tick", ECHO.format(every="1s"))
    with workspace.serving() as serving:
        reader, serving.process.stderr = serving.process.stderr, io.BytesIO()
        reader.close()
        before = len(workspace.events("run.ended"))
        until(lambda: len(workspace.events("run.ended")) >= before + 2)


def test_what_nobody_takes_is_dropped_and_counted():
    reader, writer = os.pipe()
    speaker = Speaker(writer, "{} lost".format)
    line = "x" * 1023
    for _ in range(1200):
        speaker.say(line)
    os.set_blocking(reader, False)
    said = b""
    while (chunk := _read(reader)) or said.count(b"\n") < 1000:
        said += chunk
        speaker.flush()
    lines = said.decode().splitlines()
    os.close(reader)
    os.close(writer)

    shown = lines.count(line)
    assert lines[shown:] == [f"{1200 - shown} lost"]


def _read(fd: int) -> bytes:
    try:
        return os.read(fd, 65536)
    except BlockingIOError:
        return b""


def test_a_second_serve_exits_with_75(workspace):
    with workspace.serving():
        second = workspace.run("serve")

    assert second.code == 75
    assert "Hint: routinectl status" in second.err


def test_a_standby_takes_over_when_the_first_serve_dies(workspace):
    workspace.define("tick", ECHO.format(every="1s"))
    with workspace.serving() as first:
        standby = subprocess.Popen(
            [sys.executable, "-m", "routinectl", "serve", "--standby"], cwd=workspace.root, env=workspace.env, stderr=subprocess.PIPE)  # fmt: skip
        first.wait_for("succeeded")
        first.kill()
        try:
            until(lambda: len(workspace.events("serve.started")) == 2)
        finally:
            standby.terminate()
            standby.communicate(timeout=30)

    assert len(workspace.events("serve.started")) == 2


def test_a_run_goes_on_when_serve_is_killed_and_the_next_records_its_true_exit_code(workspace):
    workspace.define("sleeper", SLEEPER)
    with workspace.serving() as serving:
        workspace.ok("run-now", "sleeper")
        until(lambda: workspace.events("run.started"))
        serving.kill()
    with workspace.serving() as serving:
        serving.wait_for("failed")

    (line,) = ledger(workspace, "sleeper")
    assert (line["outcome"], line["exit_code"], line["message"]) == ("failed", 7, "done")


def test_a_run_that_ends_while_no_serve_lives_is_recorded_by_the_next_command(workspace):
    workspace.define("sleeper", SLEEPER)
    with workspace.serving() as serving:
        workspace.ok("run-now", "sleeper")
        until(lambda: workspace.events("run.started"))
        serving.kill()
    until(lambda: "ended" in (workspace.root / ".routinectl/run/keeper.jsonl").read_text())

    (line,) = ledger(workspace, "sleeper")
    assert (line["outcome"], line["exit_code"]) == ("failed", 7)


def test_an_edited_file_is_in_force_at_once(workspace):
    path = workspace.define("tick", ECHO.format(every="1h"))
    with workspace.serving() as serving:
        path.write_text(ECHO.format(every="1s"))
        serving.wait_for("routine.updated")
        serving.wait_for("succeeded")

    assert workspace.events("run.claimed")


def test_a_broken_file_is_named_and_the_others_go_on(workspace):
    workspace.define("tick", ECHO.format(every="1s"))
    broken = workspace.define("broken", ECHO.format(every="1s"))
    with workspace.serving() as serving:
        broken.write_text("triggers: [{evry: 1s}]\naction: {command: [echo, hello]}\n")
        serving.wait_for("unknown key 'evry'")
        before = len(workspace.events("run.claimed", "broken"))
        serving.wait_for("succeeded", serving.text.count("succeeded") + 3)
        after = len(workspace.events("run.claimed", "broken"))
        status = workspace.ok("status", "--json").data
        broken.write_text(ECHO.format(every="1s"))
        serving.wait_for("broken  routine.updated")

    assert after - before <= 1
    assert [item["id"] for item in status["broken"]] == ["broken"]
    assert status["broken"][0]["problems"][0]["where"] == "routines/broken/ROUTINE.yaml:1:13"
    assert [event["data"]["reason"] for event in workspace.events("slot.skipped", "broken")] == ["invalid"]


def test_a_pause_skips_its_slots_with_one_line_and_resume_fires_again(workspace):
    workspace.define("tick", ECHO.format(every="1s"))
    with workspace.serving() as serving:
        serving.wait_for("succeeded")
        workspace.ok("pause", "tick", "--reason", "lunch")
        paused = workspace.events("routine.paused")
        until(lambda: time.time() > datetime.fromisoformat(paused[0]["time"]).timestamp() + 2.5)
        workspace.ok("resume", "tick")
        serving.wait_for("succeeded", serving.text.count("succeeded") + 1)

    (skip,) = workspace.events("slot.skipped")
    assert skip["data"]["reason"] == "paused"
    assert skip["data"]["count"] >= 2


def test_downtime_is_answered_by_one_run_for_the_newest_slot(workspace):
    workspace.define("tick", ECHO.format(every="1s") + "misfire: {grace: 1s}\n")
    with workspace.serving() as serving:
        serving.wait_for("succeeded")
    stopped = time.time()
    until(lambda: time.time() > stopped + 4)
    with workspace.serving() as serving:
        serving.wait_for("succeeded")

    (collapsed,) = [event["data"]["collapsed"] for event in workspace.events("run.claimed") if "collapsed" in event["data"]]
    assert collapsed["count"] >= 2


def test_once_fires_what_is_due_and_leaves(workspace):
    at = (datetime.now(UTC) + timedelta(seconds=2)).replace(microsecond=0).isoformat()
    workspace.define("soon", f'triggers: [{{at: "{at}"}}]\naction: {{command: [echo, once]}}\n')
    workspace.ok("serve", "--once")
    until(lambda: datetime.now(UTC) > datetime.fromisoformat(at))
    workspace.ok("serve", "--once")
    until(lambda: ledger(workspace, "soon"))

    (line,) = ledger(workspace, "soon")
    assert line["outcome"] == "succeeded"
    assert workspace.ok("list", "--json").data[0]["status"] == "completed"


def test_until_idle_leaves_when_nothing_will_fire(workspace):
    at = (datetime.now(UTC) + timedelta(seconds=2)).replace(microsecond=0).isoformat()
    workspace.define("soon", f'triggers: [{{at: "{at}"}}]\naction: {{command: [echo, once]}}\n')

    workspace.ok("serve", "--until-idle")

    assert [line["outcome"] for line in ledger(workspace, "soon")] == ["succeeded"]


def test_capacity_queues_and_never_drops(workspace):
    (workspace.root / "routinectl.yaml").write_text("timezone: UTC\nlimits: {min_interval: 1s, max_concurrent_runs: 1}\n")
    at = (datetime.now(UTC) + timedelta(seconds=3)).replace(microsecond=0).isoformat()
    for name in ("a", "b", "c"):
        workspace.define(name, f'triggers: [{{at: "{at}"}}]\naction: {{command: [sleep, "0.3"]}}\n')
    with workspace.serving() as serving:
        serving.wait_for("succeeded", 3)

    claims = workspace.events("run.claimed")
    assert [event["subject"] for event in claims] == ["a", "b", "c"]
    assert [event["data"]["reason"] for event in claims] == ["on_time", "capacity", "capacity"]
    ends = [event["seq"] for event in workspace.events("run.ended")]
    assert claims[1]["seq"] > ends[0]
    assert claims[2]["seq"] > ends[1]


def test_runs_of_the_same_second_are_never_taken_for_each_other(workspace):
    # Hashes of these names begin alike: a run's id has to say more of its routine than that.
    at = (datetime.now(UTC) + timedelta(seconds=2)).isoformat(timespec="seconds")
    for name in ("r064", "r881"):
        workspace.define(name, f'triggers: [{{at: "{at}"}}]\naction: {{command: [sleep, "0.5"]}}\n')
    with workspace.serving():
        ended = until(lambda: (found := workspace.events("run.ended")) and len(found) == 2 and found)
    assert {event["subject"] for event in ended} == {"r064", "r881"}
    assert len({event["data"]["run"] for event in ended}) == 2


def test_a_disabled_machine_fires_nothing_and_says_so(workspace):
    workspace.define("tick", ECHO.format(every="1s"))
    with workspace.serving(env={"ROUTINECTL_ENABLED": "false"}) as serving:
        serving.wait_for("disabled_here")

    assert not workspace.events("run.claimed")


def test_sighup_reads_the_settings_again(workspace):
    with workspace.serving() as serving:
        (workspace.root / "routinectl.yaml").write_text("timezone: Europe/Berlin\n")
        serving.process.send_signal(signal.SIGHUP)
        serving.wait_for("read again")

    assert serving.process.returncode == 0


def test_logs_as_json_are_one_object_a_line(workspace):
    workspace.configure("notify: {targets: {ops: {command: ['false']}}}")
    workspace.define("tick", ECHO.format(every="1s"))
    workspace.define("bad", "timeout: 1m\ntriggers: [{every: 1s}]\naction: {command: ['false']}\n")
    with workspace.serving("--log-format", "json", "--http", "127.0.0.1:0") as serving:
        for word in ("run.ended", "HTTP on", "notice to ops failed"):
            serving.wait_for(word)

    lines = [json.loads(line) for line in serving.text.splitlines() if line.endswith("}")]
    assert {"ready", "event", "note"} <= {line["kind"] for line in lines}
    assert not [line for line in serving.text.splitlines()[:-1] if not line.startswith("{")]


def test_serve_elsewhere_is_refused(workspace):
    (workspace.root / "routinectl.yaml").write_text("timezone: UTC\nserve_on: [another-machine]\n")
    result = workspace.run("serve")

    assert result.code == 78
    assert f"serve_on: [another-machine, {os.uname().nodename}]" in result.err


def test_a_swapped_lock_file_stops_firing(workspace):
    workspace.define("tick", ECHO.format(every="1s"))
    with workspace.serving() as serving:
        serving.wait_for("succeeded")
        (workspace.root / ".routinectl/locks/serve.lock").unlink()
        serving.wait_for("was replaced")
        serving.process.wait(timeout=30)

    assert serving.process.returncode == 1


def test_sd_notify_hears_ready_and_stopping(workspace, tmp_path):
    import socket

    listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listener.bind(str(tmp_path / "notify"))
    with workspace.serving(env={"NOTIFY_SOCKET": str(tmp_path / "notify")}):
        first = listener.recv(4096).decode()
    said = [first, listener.recv(4096).decode()]
    listener.close()

    assert "READY=1" in said[0]
    assert "STOPPING=1" in said[1]


def test_git_clean_spares_the_journal(workspace):
    workspace.run("init")
    workspace.define("tick", ECHO.format(every="1s"))
    with workspace.serving() as serving:
        serving.wait_for("succeeded")
    before = workspace.events()
    subprocess.run(["git", "clean", "-fdxq"], cwd=workspace.root, env=workspace.env, check=True)

    assert workspace.events() == before


def test_a_ledger_that_cannot_be_written_stops_nobody(workspace):
    """P7: somebody has made a folder where x's ledger should be."""
    for name in ("x", "y"):
        workspace.define(name, ECHO.format(every="1s"))
    (workspace.root / "routines/x/history.jsonl").mkdir()
    with workspace.serving() as serving:
        serving.wait_for("fall behind")
        ran = len(workspace.events("run.claimed"))
        until(lambda: len(workspace.events("run.claimed")) >= ran + 4)
        until(lambda: "succeeded" in (workspace.root / "routines/y/history.jsonl").read_text())
        workspace.ok("list")
        (workspace.root / "routines/x/history.jsonl").rmdir()
        until((workspace.root / "routines/x/history.jsonl").is_file)
