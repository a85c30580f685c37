"""What is lost, doubted or out of reach: a lost journal, a full disk, a suspect clock, slots for review, a dead keeper."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from conftest import ECHO, keepers_of, until
from needs import need

from routinectl import clock
from routinectl.core.recovery import Evidence, judge
from routinectl.files.layout import Layout
from routinectl.files.lock import is_held, try_lock
from routinectl.process import proc


@pytest.mark.parametrize(
    ("evidence", "fate"),
    [
        pytest.param(Evidence(True, False, False, True, True), "ended", id="an exit record"),
        pytest.param(Evidence(False, True, True, True, True), "wait", id="the keeper minds it"),
        pytest.param(Evidence(False, True, False, True, True), "watch", id="alive without its keeper"),
        pytest.param(Evidence(False, False, False, False, True), "start", id="never begun"),
        pytest.param(Evidence(False, False, False, True, True), "interrupted", id="begun, and its end not seen"),
        pytest.param(Evidence(False, False, False, False, False), "interrupted", id="another boot"),
    ],
)
def test_what_became_of_a_run(evidence, fate):
    assert judge(evidence) == fate


def test_a_run_whose_keeper_is_killed_is_interrupted_when_it_ends(workspace):
    workspace.define("x", "timeout: 1m\naction: {command: [sleep, '5']}\n")
    with workspace.serving() as serving:
        workspace.ok("run-now", "x")
        started = until(lambda: workspace.events("run.started"))
        parent = int(Path(f"/proc/{started[0]['data']['pid']}/stat").read_text().rpartition(")")[2].split()[1])
        os.kill(parent, signal.SIGKILL)
        serving.wait_for("interrupted")

    assert [event["data"]["outcome"] for event in workspace.events("run.ended")] == ["interrupted"]
    assert not is_held(workspace.root / ".routinectl/locks/x.0.lock")


@pytest.mark.parametrize("known", ["to the journal", "to the log of the keeper", "to nobody but itself"])
def test_a_run_whose_leftovers_may_stay_is_not_started_beside_itself_when_all_who_minded_it_are_killed(workspace, known):
    workspace.define("k", "triggers: [{every: 1s}]\nleftovers: keep\ntimeout: 1m\naction: {command: 'exec sleep 5'}\n")
    with workspace.serving() as serving:
        (started,) = until(lambda: workspace.events("run.started"))
        serving.kill()
    for pid in keepers_of(workspace.root):
        os.kill(pid, signal.SIGKILL)
    if known != "to the journal":  # it had not been told, or what it was told is lost
        (segment,) = (workspace.root / ".routinectl/journal").glob("*.jsonl")
        lines = segment.read_bytes().splitlines(keepends=True)
        segment.write_bytes(b"".join(lines[: next(at for at, line in enumerate(lines) if b"run.started" in line)]))
    if known == "to nobody but itself":
        (workspace.root / ".routinectl/run/keeper.jsonl").write_bytes(b"")
    with workspace.serving() as serving:
        assert proc.is_alive(started["data"]["pid"], started["data"]["start_time"])
        serving.wait_for("interrupted")
        until(lambda: len(workspace.events("run.claimed")) == 2)
    order = [event["type"] for event in workspace.events(subject="k") if event["type"] in ("run.claimed", "run.ended")]

    assert order[:3] == ["run.claimed", "run.ended", "run.claimed"]
    assert not proc.is_alive(started["data"]["pid"], started["data"]["start_time"])


def test_what_may_stay_does_not_keep_its_routine_from_running_again(workspace):
    workspace.define("k", "triggers: [{every: 1s}]\nleftovers: keep\ntimeout: 1m\naction: {command: 'setsid sleep 300 & echo $!'}\n")
    try:
        with workspace.serving() as serving:
            serving.wait_for("succeeded", 3)
        workspace.ok("run-now", "k", "--wait")
        pids = [int(path.read_text()) for path in workspace.root.glob(".routinectl/runs/k/*/out")]
        outcomes = {line["outcome"] or line["reason"] for line in workspace.ok("history", "k", "--json").data}
        alive = [pid for pid in pids if proc.run_id_of(pid)]
        running, held = workspace.ok("status", "--running", "--json").data, is_held(workspace.root / ".routinectl/locks/k.0.lock")
    finally:
        for path in workspace.root.glob(".routinectl/runs/k/*/out"):
            with contextlib.suppress(ProcessLookupError, ValueError):
                os.kill(int(path.read_text()), signal.SIGKILL)

    assert len(pids) >= 4
    assert alive == pids
    assert outcomes == {"succeeded"}
    assert (running, held) == ([], False)


def test_serve_goes_on_after_its_keeper_was_killed(workspace):
    workspace.define("tick", ECHO.format(every="1s"))
    with workspace.serving() as serving:
        serving.wait_for("succeeded")
        keepers = keepers_of(workspace.root)
        for pid in keepers:
            os.kill(pid, signal.SIGKILL)
        serving.wait_for("succeeded", serving.text.count("succeeded") + 2)

    assert keepers


def test_a_lost_journal_starts_nothing_as_new(workspace):
    workspace.define("x", "triggers: [{daily: '09:00'}]\ntimeout: 1m\naction: {command: [echo, hi]}\n")
    workspace.ok("run-now", "x", "--wait")
    state = workspace.root / "routines/x/state.json"
    plain = json.loads(state.read_text())
    plain["position"]["time"] = (datetime.now(UTC) - timedelta(days=3)).isoformat()
    state.write_text(json.dumps(plain))
    shutil.rmtree(workspace.root / ".routinectl")
    (waiting,) = workspace.ok("review", "--json").data

    assert waiting["reason"] == "journal_lost"
    assert waiting["slot"].endswith("T09:00:00Z")


class TestReview:
    @pytest.fixture
    def held(self, workspace):
        at = (datetime.now(UTC) + timedelta(seconds=2)).replace(microsecond=0)
        workspace.define(
            "x",
            f'triggers: [{{at: "{at.isoformat()}"}}]\ntimeout: 1m\nmisfire: {{window: 1s, grace: 0s}}\naction: {{command: [echo, hi]}}\n',
        )
        workspace.ok("list")
        until(lambda: datetime.now(UTC) > at + timedelta(seconds=2))
        workspace.ok("serve", "--once")
        return workspace

    def test_a_slot_older_than_the_window_waits(self, held):
        (waiting,) = held.ok("review", "--json").data

        assert waiting["reason"] == "review"
        assert "older than the window" in held.ok("why", "x", "--at", waiting["slot"]).out
        assert held.ok("status", "--json").data["held"][0]["id"] == "x"

    def test_run_has_it_run(self, held):
        held.ok("review", "x", "--run")
        with held.serving() as serving:
            serving.wait_for("succeeded")

        assert [event["data"]["reason"] for event in held.events("run.claimed")] == ["review"]
        assert held.ok("review", "--json").data == []

    def test_dismiss_answers_it(self, held):
        held.ok("review", "x", "--dismiss")

        assert [event["data"]["reason"] for event in held.events("slot.skipped")] == ["dismissed"]
        assert held.run("review", "x", "--run").code == 3


def test_a_journal_ahead_of_the_clock_decides_nothing_until_a_person_accepts(workspace):
    if clock.synchronised():
        pytest.skip("a time service keeps the clock of this machine, so it is believed")
    workspace.define("tick", ECHO.format(every="1s"))
    with workspace.serving() as serving:
        serving.wait_for("succeeded")
    (path,) = (workspace.root / ".routinectl/journal").glob("*.jsonl")
    age(path, workspace.root / ".routinectl/checkpoint")
    with workspace.serving() as serving:
        serving.wait_for("clock suspect")
        before = len(workspace.events("run.claimed"))
        until(lambda: "clock suspect" in workspace.ok("status").out)
        workspace.ok("doctor", "--accept-clock")
        serving.wait_for("the clock is believed again")

    assert before == len([event for event in workspace.events("run.claimed") if event["time"] > "2027"])


def age(journal, checkpoint) -> None:
    """Rewrite a journal as if it had been written in two days."""
    from routinectl.core.event import decode, encode

    events = [decode(line) for line in journal.read_bytes().splitlines()]
    for event in events:
        event.time = (datetime.fromisoformat(event.time) + timedelta(days=400)).isoformat().replace("+00:00", "Z")
    journal.write_bytes(b"".join(map(encode, events)))
    checkpoint.unlink(missing_ok=True)


def test_a_clock_that_is_set_and_a_night_of_sleep_are_told_apart():
    before = clock.Reading(datetime(2026, 1, 1, tzinfo=UTC), 100.0, 100.0)
    later = datetime(2026, 1, 1, 8, tzinfo=UTC)

    asleep = clock.compare(before, clock.Reading(later, 100.0 + 8 * 3600, 160.0))
    assert (asleep.step, asleep.asleep) == (0.0, 8 * 3600 - 60.0)
    stepped = clock.compare(before, clock.Reading(later, 160.0, 160.0))
    assert (stepped.step, stepped.asleep) == (8 * 3600 - 60.0, 0.0)


def test_waiting_hears_of_a_descriptor_whatever_its_number():
    reading, writing = os.pipe()
    os.write(writing, b"x")
    assert clock.wait([reading], 5) == [reading]
    assert clock.wait([os.pipe()[0]], 0.01) == []
    os.close(reading)
    os.close(writing)


def test_a_full_disk_starts_nothing_and_serve_goes_on_when_there_is_room(workspace, tmp_path):
    """On a small file system of its own; needs root to mount it."""
    import subprocess

    image, mount = tmp_path / "image", tmp_path / "mount"
    mount.mkdir()
    image.write_bytes(b"\0" * 12_000_000)
    need("mkfs.ext4")
    mkfs = shutil.which("mkfs.ext4", path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    made = subprocess.run([mkfs, "-q", "-F", str(image)], capture_output=True, check=False)
    if (
        os.getuid() != 0
        or made.returncode
        or subprocess.run(["mount", "-o", "loop", str(image), str(mount)], capture_output=True, check=False).returncode
    ):
        pytest.skip("need to mount a file system (as root, with loop devices)")
    try:
        shutil.copytree(workspace.root, mount / "w")
        workspace.root = mount / "w"
        workspace.define("tick", ECHO.format(every="1s"))
        with workspace.serving() as serving:
            serving.wait_for("succeeded")
            with open(mount / "filler", "wb") as filler, pytest.raises(OSError, match="No space"):
                while True:
                    filler.write(b"x" * 65536)
                    filler.flush()
            serving.wait_for("nothing starts until it can")
            (mount / "filler").unlink()
            serving.wait_for("can be written again")
            serving.wait_for("succeeded", serving.text.count("succeeded") + 1)
        claims = [event["data"]["slot"] for event in workspace.events("run.claimed")]
        assert len(claims) == len(set(claims))
    finally:
        until(lambda: subprocess.run(["umount", str(mount)], capture_output=True, check=False).returncode == 0)


def test_locks_of_a_layout_are_private(tmp_path):
    layout = Layout(tmp_path)
    layout.make()
    held = try_lock(layout.lock("x"))
    assert try_lock(layout.lock("x")) is None
    held.close()
    assert not is_held(layout.lock("x"))


def test_a_disk_that_fails_makes_nobody_forgotten(workspace, monkeypatch):
    from routinectl.core.settings import Settings
    from routinectl.engine.engine import Engine

    engine = Engine(Layout(workspace.root), Settings())

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(engine, "record", full)
    with pytest.raises(OSError, match="No space"):
        engine.settle([f"r{number}" for number in range(30)], datetime.now(UTC))

    assert engine.world.dirty == {f"r{number}" for number in range(30)}


def test_an_edit_that_two_processes_see_counts_once(workspace):
    """Serve and a command both read the changed file; what it means is decided once, and so are the slots before it."""
    from datetime import UTC, datetime

    from routinectl.core.settings import Settings
    from routinectl.engine.engine import Engine
    from routinectl.files.layout import Layout

    workspace.define("x", "triggers: [{daily: '09:00'}]\naction: {command: ['true']}\n")
    first, second = (Engine(Layout(workspace.root), Settings()) for _ in range(2))
    first.layout.make()
    monday, thursday = (datetime(2026, 3, day, 12, tzinfo=UTC) for day in (2, 5))
    for engine in (first, second):
        engine.world.load()
        engine.revise(engine.revisions.look(engine.world, monday), monday)
    workspace.define("x", "triggers: [{daily: '10:00'}]\naction: {command: ['true']}\n")
    seen = [(engine, engine.revisions.look(engine.world, thursday)) for engine in (first, second)]
    for engine, found in seen:
        engine.revise(found, thursday)

    assert [event["type"] for event in workspace.events(subject="x")] == ["routine.created", "slot.missed", "routine.updated"]
    assert workspace.events("slot.missed")[0]["data"]["count"] == 3


def test_a_backfill_that_was_claimed_and_never_begun_is_started_for_its_own_slot(workspace):
    """Its claim alone must say for which slot it makes up; the request is answered by it, and gone."""
    from routinectl.core.event import Event
    from routinectl.core.settings import Settings
    from routinectl.core.units import to_iso
    from routinectl.engine.engine import Engine
    from routinectl.engine.recover import recover

    workspace.define("x", "triggers: [{daily: '09:00'}]\ntimeout: 1m\naction: {command: 'echo made up for $ROUTINE_SLOT'}\n")
    first, second = (Engine(Layout(workspace.root), Settings()) for _ in range(2))
    first.layout.make()
    now = datetime.now(UTC)
    first.world.load()
    first.revise(first.revisions.look(first.world, now), now)
    asked = {"at": to_iso(now), "request": "q1", "by": "me", "mode": "backfill", "for_slot": "2026-03-02T09:00:00Z"}
    first.append([Event("run.requested", "x", asked)], now)
    for item in first.fire(["x"], now):
        item.lock.close()  # it dies here
    second.world.load()
    recover(second, now)
    second.keeping.close()

    out = workspace.root / ".routinectl/runs/x/q1/out"
    assert until(lambda: out.exists() and out.read_text()) == "made up for 2026-03-02T09:00:00Z\n"
